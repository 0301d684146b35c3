"""`renascent bench query`: what a table says of one architecture."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from renascent.bench.importers import open_table
from renascent.bench.tables.columns import METRICS
from renascent.bench.tables.table import Table
from renascent.cli.commands.command import Command, Outcome, Output
from renascent.cli.flags import Part
from renascent.core.errors import UserError
from renascent.core.files import Json
from renascent.core.text import aligned

ABOUT = """Look up an architecture in a benchmark table: by its exchange string, or by its row."""


@dataclass(frozen=True, kw_only=True)
class TableFlags:
    """Which table.

    table: file of a table, or nb201.npz as it is; the one that ships with renascent if not given.
    """

    table: str | None = None


@dataclass(frozen=True, kw_only=True)
class QueryFlags:
    """What to look up.

    column: only this column, such as val_accuracy:cifar10:12; all if not given.
    seed: of one training; the mean over all that are known if not given.
    at: after this epoch; the last one if not given.
    """

    column: str | None = None
    seed: int | None = None
    at: int | None = None


def command(words: Sequence[str]) -> Command:
    """Return the command; its flags depend on nothing."""
    where, what = Part("Table", TableFlags()), Part("Query", QueryFlags())
    run = functools.partial(_run, where, what)
    return Command(ABOUT, [where, what, Part("Output", Output())], run, "arch", "Exchange string, or row.")


def _run(where: Part[TableFlags], what: Part[QueryFlags], word: str | None, values: Mapping[str, Any]) -> Outcome:
    flags = what.build(values)
    table = open_table(where.build(values).table)
    if word is None:
        example = table.space.format(table.arch(0))
        raise UserError(f"which architecture? give a row from 0 to {len(table) - 1}, or a string such as '{example}'")
    row = table.row(int(word) if word.isdigit() else word)
    found = _values(table, row, flags)
    arch = table.space.format(table.arch(row))
    facts = {"table": table.name, "row": row, "arch": arch, "values": found}
    lines = aligned([(key, _shown(key, value)) for key, value in found.items()])
    return Outcome(facts, "\n".join([f"{table.name}, row {row}", arch, "", lines]))


def _values(table: Table, row: int, flags: QueryFlags) -> Json:
    """Return the asked number, or all there are; None where one is missing."""
    if flags.column:
        return {table.find(flags.column).key: table.query(row, flags.column, seed=flags.seed, at=flags.at)}
    fitting = [c for c in table.columns.values() if flags.seed is None or flags.seed in c.seeds]
    fitting = [c for c in fitting if flags.at is None or flags.at in (*c.at, c.epochs)]
    if not fitting:
        raise UserError(f"no column of table '{table.name}' has that seed and epoch: leave --seed and --at out")
    numbers = {c.key: float(table.values(c.key, seed=flags.seed, at=flags.at)[row]) for c in fitting}
    return {key: None if math.isnan(value) else value for key, value in numbers.items()}


def _shown(key: str, value: float | None) -> str:
    return "missing" if value is None else f"{value:.10g} {METRICS[key.partition(':')[0]]}"
