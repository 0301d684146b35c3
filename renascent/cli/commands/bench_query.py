"""`renascent bench query`: what a table says of one architecture."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from renascent.cli.commands.command import Command, Outcome
from renascent.cli.flags import Part
from renascent.core.errors import UserError
from renascent.core.fields import Count, Whole, settings
from renascent.core.files import Json
from renascent.core.text import aligned

if TYPE_CHECKING:
    from renascent.bench.tables.table import Table

ABOUT = """Look up an architecture in a benchmark table: by its exchange string, or by its row."""


@settings
class TableFlags:
    """Which table.

    Args:
        table: file of a table, or nb201.npz as it is; the one that ships with renascent if not given.
    """

    table: str | None = None


TABLE = Part("Table", TableFlags())


@settings
class QueryFlags:
    """What to look up.

    Args:
        column: only this column, such as val_accuracy:cifar10:12; all if not given.
        seed: of one training; the mean over all that are known if not given.
        at: after this epoch; the last one if not given.
    """

    column: str | None = None
    seed: Whole | None = None
    at: Count | None = None


COMMAND = Command(
    run="renascent.cli.commands.bench_query:run",
    words={"arch": "Exchange string, or row."},
    parts={"where": TABLE, "flags": Part("Query", QueryFlags())},
)


def run(word: str | None, *, where: TableFlags, flags: QueryFlags) -> Outcome:
    """Look an architecture up."""
    from renascent.bench.importers import open_table
    from renascent.bench.tables.columns import METRICS

    table = open_table(where.table)
    if word is None:
        example = table.space.format(table.arch(0))
        raise UserError(f"which architecture? give a row from 0 to {len(table) - 1}, or a string such as '{example}'")
    # no number of a row has more digits, and Python reads no more than some thousand
    row = table.row(int(word) if re.fullmatch(r"[0-9]{1,400}", word) else word)
    found = _values(table, row, flags)
    arch = table.space.format(table.arch(row))
    facts = {"table": table.name, "row": row, "arch": arch, "values": found}
    units = {key: METRICS[key.partition(":")[0]] for key in found}
    lines = aligned([(key, "missing" if v is None else f"{v:.10g} {units[key]}") for key, v in found.items()])
    return Outcome(facts, "\n".join([f"{table.name}, row {row}", arch, "", lines]))


def _values(table: Table, row: int, flags: QueryFlags) -> Json:
    """Return the asked number, or all there are; None where one is missing."""
    if flags.column is not None:
        return {table.find(flags.column).key: table.query(row, flags.column, seed=flags.seed, at=flags.at)}
    fitting = [c for c in table.columns.values() if flags.seed is None or flags.seed in c.seeds]
    fitting = [c for c in fitting if flags.at is None or flags.at in (*c.at, c.epochs)]
    if not fitting:
        raise UserError(f"no column of table '{table.name}' has that seed and epoch: leave --seed and --at out")
    numbers = {c.key: float(table.values(c.key, seed=flags.seed, at=flags.at)[row]) for c in fitting}
    return {key: None if math.isnan(value) else value for key, value in numbers.items()}
