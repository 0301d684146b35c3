"""`renascent latency fit`: keep a part of a table, fill in the rest, and say how well that went."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from renascent.cli.commands.command import Command, table_of
from renascent.cli.flags import Part
from renascent.core.errors import UserError
from renascent.core.fields import NonNegative, Whole, settings

ABOUT = """Keep some layers of a latency table, fill in the others by a Gaussian process, and compare.

It tells how few layers need to be measured: the error is that on the layers that were not kept. `--out` writes the
sparse table, which predicts networks like any other."""


@settings
class FitFlags:
    """What to keep.

    Args:
        keep: share of the layers, drawn at random in each family.
        seed: of that draw.
        out: the file to write; none if not given.
    """

    keep: NonNegative = 0.2
    seed: Whole = 0
    out: str | None = None


def _check(flags: FitFlags, words: Sequence[str | None], values: Mapping[str, Any]) -> None:
    if flags.out is not None and Path(flags.out).resolve() == Path(str(words[0])).resolve():
        raise UserError(f"--out {flags.out} is the table itself, of which layers would be lost: give another file")


COMMAND = Command(
    run="renascent.cli.work.latency:fit",
    parts={"flags": Part("Fit", FitFlags())},
    check=_check,
    **table_of("fit"),
)
