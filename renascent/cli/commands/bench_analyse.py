"""`renascent bench analyse`: the anatomy of a benchmark table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from renascent.cli.commands.bench_query import TABLE, TableFlags
from renascent.cli.commands.command import Command, Outcome
from renascent.cli.flags import Part
from renascent.core.errors import UserError
from renascent.core.fields import settings
from renascent.core.files import Json, write_json, writing
from renascent.core.text import aligned

ABOUT = """Draw the anatomy of a benchmark table: accuracy against cost with the Pareto front, ranking across data sets,
correlations over all architectures and over the best, validation against test.

Writes DIR/report.html, its figures as PNG files, and all numbers in DIR/analysis.json."""


@settings
class AnalyseFlags:
    """Where the page goes.

    Args:
        out: folder for the page, the figures and the numbers; made if it is not there.
    """

    out: str | None = None


def _check(flags: AnalyseFlags, words: Sequence[str | None], values: Mapping[str, Any]) -> None:
    if Path(str(flags.out)).is_file():
        raise UserError(f"--out {flags.out} is a file, and the page needs a folder: name another")


COMMAND = Command(
    run="renascent.cli.commands.bench_analyse:run",
    parts={"where": TABLE, "flags": Part("Analyse", AnalyseFlags())},
    needs={"out": "--out is missing: give a folder for the page, as in: renascent bench analyse --out anatomy"},
    check=_check,
)


def run(*, where: TableFlags, flags: AnalyseFlags) -> Outcome:
    """Draw a table's anatomy."""
    from renascent.bench.analysis import anatomy, views
    from renascent.bench.importers import open_table
    from renascent.reports.anatomy import sections
    from renascent.reports.bench import write_page

    folder, table = Path(str(flags.out)), open_table(where.table)
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
