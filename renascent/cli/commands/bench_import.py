"""`renascent bench import`: a published benchmark as a table."""

import functools
import time
from pathlib import Path

from renascent.cli.commands.command import Command, Outcome
from renascent.cli.flags import Part
from renascent.core.fields import settings
from renascent.core.source import static

KNOWN = static("renascent.bench.importers.sources:KNOWN")

ABOUT = f"""Import a published benchmark into one table file, which every `renascent bench` command reads.

SOURCE is {KNOWN}."""


@settings
class ImportFlags:
    """Where to.

    Args:
        out: the table's file to write, such as nb201.safetensors.
        resume: go on with an import of the authors' releases that was stopped.
    """

    out: str | None = None
    resume: bool = False


COMMAND = Command(
    run="renascent.cli.commands.bench_import:run",
    words={"source": "What to import: a file or a folder."},
    parts={"flags": Part("Import", ImportFlags())},
    needs={
        "source": f"which benchmark? write `renascent bench import SOURCE --out TABLE`; SOURCE is {KNOWN}",
        "out": "--out is missing: give the file to write, such as --out nb201.safetensors",
    },
)


def run(source: str, *, flags: ImportFlags) -> Outcome:
    """Import a benchmark."""
    from renascent.bench.importers.sources import import_table
    from renascent.reports.live import Counted

    began, out = time.monotonic(), str(flags.out)
    with Counted() as bar:
        show = functools.partial(bar.show, "architectures")
        table = import_table(source, out, resume=flags.resume, show=show)
    seconds, size = time.monotonic() - began, Path(out).stat().st_size
    facts = {
        "table": out,
        "name": table.name,
        "rows": len(table),
        "columns": list(table.columns),
        "problems": list(table.problems),
        "seconds": round(seconds, 3),
        "bytes": size,
    }
    posed = f"problems {', '.join(table.problems)}" if table.problems else "no search problem"
    counts = f"{len(table):,} architectures, {len(table.columns)} columns, {posed}"
    lines = [f"{out}: {table.name}, {counts}", f"{size:,} bytes, {seconds:.1f} s"]
    return Outcome(facts, "\n".join(lines))
