"""`renascent export`: a file that other programs can run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from renascent.cli.commands.command import Command, Outcome, folder_of
from renascent.cli.flags import Part
from renascent.core.errors import UserError
from renascent.core.fields import OneOf, settings
from renascent.results.trainings import NAME

FORMATS = ("onnx", "pt2")

ABOUT = """Export the network that a search found, checked against the original before the file is accepted.

After `renascent fit` it is the trained one; before, the one with the weights of the search. The file says what its
classes are called, and how an image becomes its input."""


@settings
class ExportFlags:
    """What to write.

    Args:
        to: onnx (needs the extra renascent[onnx]) or pt2 (torch.export).
        path: the file to write; DIR/model.onnx or DIR/model.pt2 if not given. A .json of the same name, which says what
            the file takes and returns, is put beside it.
        with_preprocessing: the file takes pictures (batch, height, width, channels) of whole numbers from 0 to 255, of
            the size of the data, and normalises them itself.
        name: of the training, as `renascent fit --name` had it; the one without a name, or the only one, if not given.
        factory: of a search of your own model, package.module:function that makes it; needed only if it was searched
            elsewhere, or its file has changed since.
        space: of a search of a space of your own, package.module:Class; not needed where an installed package adds it.
    """

    to: Annotated[str, OneOf("format", FORMATS)] | None = None
    path: str | None = None
    with_preprocessing: bool = False
    name: Annotated[str, NAME] | None = None
    factory: str | None = None
    space: str | None = None


def _check(flags: ExportFlags, words: Sequence[str | None], values: Mapping[str, Any]) -> None:
    if flags.path and Path(flags.path).suffix != f".{flags.to}":
        better = Path(flags.path).with_suffix(f".{flags.to}")
        raise UserError(f"--path {flags.path} does not end in .{flags.to}: name it {better}")


COMMAND = Command(
    run="renascent.cli.commands.export:run",
    parts={"flags": Part("Export", ExportFlags())},
    check=_check,
    **folder_of("export", to="--to is missing: give onnx or pt2"),
)


def run(folder: str, *, flags: ExportFlags) -> Outcome:
    """Write the network, and compare it with the original."""
    from renascent.cli.work.models import loaded
    from renascent.cli.work.running import weights_of

    result = loaded(folder, flags.factory, flags.space).named(flags.name)
    path = Path(flags.path) if flags.path else Path(folder) / f"model.{flags.to}"
    written = result.export(path, with_preprocessing=flags.with_preprocessing)
    weights, size = weights_of(result), written.stat().st_size
    beside = written.with_suffix(".json") if result.preparation else None
    facts = {
        "path": str(written),
        "to": flags.to,
        "weights": weights,
        "bytes": size,
        "description": beside and str(beside),
    }
    told = f"{beside} says what it takes and returns" if beside else "the run does not say how images were prepared"
    return Outcome(facts, f"{written}: {size:,} bytes, with the weights of the {weights}, run and compared; {told}")
