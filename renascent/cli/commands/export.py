"""`renascent export`: a file that other programs can run."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from renascent.cli.commands.command import Command, Outcome, Output, finished
from renascent.cli.flags import Part
from renascent.core.errors import UserError, unknown
from renascent.experiment.result import Result

FORMATS = ("onnx", "pt2")

ABOUT = """Export the network that a search found, checked against the original before the file is accepted.

After `renascent fit` it is the trained one; before, the one with the weights of the search."""


@dataclass(frozen=True, kw_only=True)
class ExportFlags:
    """What to write.

    to: onnx (needs the extra renascent[onnx]) or pt2 (torch.export).
    path: the file to write; DIR/model.onnx or DIR/model.pt2 if not given.
    """

    to: str | None = None
    path: str | None = None


def command(words: Sequence[str]) -> Command:
    """Return the command; its flags depend on nothing."""
    parts: list[Part[Any]] = [Part("Export", ExportFlags()), Part("Output", Output())]
    return Command(ABOUT, parts, functools.partial(_run, parts[0]), "dir", "The folder of a finished search.")


def _run(part: Part[ExportFlags], word: str | None, values: Mapping[str, Any]) -> Outcome:
    flags = part.build(values)
    folder = finished(word, "export")
    if flags.to not in FORMATS:
        raise unknown("format", flags.to, FORMATS) if flags.to else UserError("--to is missing: give onnx or pt2")
    path = Path(flags.path) if flags.path else folder / f"model.{flags.to}"
    if path.suffix != f".{flags.to}":
        raise UserError(f"--path {path} does not end in .{flags.to}: name it {path.with_suffix('.' + flags.to)}")
    result = Result.load(folder)
    written = result.export(path)
    weights = "fit" if result.fitted else "search"
    facts = {"path": str(written), "to": flags.to, "weights": weights, "bytes": written.stat().st_size}
    return Outcome(facts, f"{written}: {facts['bytes']:,} bytes, with the weights of the {weights}, run and compared")
