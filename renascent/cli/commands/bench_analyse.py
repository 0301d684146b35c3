"""`renascent bench analyse`: the anatomy of a benchmark table."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from renascent.bench.importers import open_table
from renascent.cli.commands.bench_query import TableFlags
from renascent.cli.commands.command import Command, Outcome, Output
from renascent.cli.flags import Part
from renascent.core.errors import UserError
from renascent.core.files import Json, write_json, writing
from renascent.core.text import aligned

ABOUT = """Draw the anatomy of a benchmark table: accuracy against cost with the Pareto front, ranking across data sets,
correlations over all architectures and over the best, validation against test.

Writes DIR/report.html, its figures as PNG files, and all numbers in DIR/analysis.json."""


@dataclass(frozen=True, kw_only=True)
class AnalyseFlags:
    """Where the page goes.

    out: folder for the page, the figures and the numbers; made if it is not there.
    """

    out: str | None = None


def command(words: Sequence[str]) -> Command:
    """Return the command; its flags depend on nothing."""
    where, what = Part("Table", TableFlags()), Part("Analyse", AnalyseFlags())
    return Command(ABOUT, [where, what, Part("Output", Output())], functools.partial(_run, where, what))


def _run(where: Part[TableFlags], what: Part[AnalyseFlags], word: str | None, values: Mapping[str, Any]) -> Outcome:
    # only here: both take a second to load, and every command line makes all commands
    from renascent.bench.analysis import anatomy, views
    from renascent.reports.anatomy import sections
    from renascent.reports.bench import write_page

    out = what.build(values).out
    if out is None:
        raise UserError("--out is missing: give a folder for the page, as in: renascent bench analyse --out anatomy")
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out {folder} is a file, and the page needs a folder: name another")
    table = open_table(where.build(values).table)
    seen = views(table)
    facts = anatomy(table, seen)
    parts = sections(seen, facts)  # all is drawn before anything is written
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "analysis.json", facts)
    remark = f"{len(table):,} architectures of {table.space.name}, on {', '.join(facts['problems'])}"
    page = write_page(folder / "report.html", f"The anatomy of {table.name}", parts, remark=remark)
    return Outcome({**facts, "report": str(page)}, _text(facts, page))


def _text(facts: Json, page: Path) -> str:
    rows = []
    for name, told in facts["problems"].items():
        best, signal = told["best"], told["signal"]["best"]
        chosen = f"; the best by signal reaches {signal['accuracy']:.2f}" if signal else ""
        rows.append((name, f"mean {told['mean']:.2f} %, best {best['accuracy']:.2f} %{chosen}"))
    title = f"{facts['table']}, {facts['rows']:,} architectures"
    return "\n".join([title, "", aligned(rows), "", *facts["notes"], f"report: {page}"])
