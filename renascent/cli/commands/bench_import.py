"""`renascent bench import`: a published benchmark as a table."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from renascent.bench.importers import import_table
from renascent.bench.importers.sources import KNOWN
from renascent.cli.commands.command import Command, Outcome, Output
from renascent.cli.flags import Part
from renascent.cli.progress import Counted
from renascent.core.errors import UserError

ABOUT = f"""Import a published benchmark into one table file, which every `renascent bench` command reads.

SOURCE is {KNOWN}."""


@dataclass(frozen=True, kw_only=True)
class ImportFlags:
    """Where to.

    out: the table's file to write, such as nb201.safetensors.
    resume: go on with an import of the authors' releases that was stopped.
    """

    out: str | None = None
    resume: bool = False


def command(words: Sequence[str]) -> Command:
    """Return the command; its flags depend on nothing."""
    part = Part("Import", ImportFlags())
    run = functools.partial(_run, part)
    return Command(ABOUT, [part, Part("Output", Output())], run, "source", "What to import: a file or a folder.")


def _run(part: Part[ImportFlags], word: str | None, values: Mapping[str, Any]) -> Outcome:
    flags = part.build(values)
    if word is None:
        raise UserError(f"which benchmark? write `renascent bench import SOURCE --out TABLE`; SOURCE is {KNOWN}")
    if flags.out is None:
        raise UserError("--out is missing: give the file to write, such as --out nb201.safetensors")
    began = time.monotonic()
    with Counted() as bar:
        show = functools.partial(bar.show, "architectures")
        table = import_table(word, flags.out, resume=flags.resume, show=show)
    seconds, size = time.monotonic() - began, Path(flags.out).stat().st_size
    facts = {
        "table": flags.out,
        "name": table.name,
        "rows": len(table),
        "columns": list(table.columns),
        "problems": list(table.problems),
        "seconds": round(seconds, 3),
        "bytes": size,
    }
    posed = f"problems {', '.join(table.problems)}" if table.problems else "no search problem"
    counts = f"{len(table):,} architectures, {len(table.columns)} columns, {posed}"
    lines = [f"{flags.out}: {table.name}, {counts}", f"{size:,} bytes, {seconds:.1f} s"]
    return Outcome(facts, "\n".join(lines))
