"""`renascent bench compare`: multi-trial strategies on a table, many runs of each."""

from __future__ import annotations

import functools
import math
import os
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from renascent.bench.importers import open_table
from renascent.bench.tables.table import Table
from renascent.cli.commands.bench_query import TableFlags
from renascent.cli.commands.command import Command, Outcome, Output
from renascent.cli.flags import Part, glance, keys
from renascent.cli.progress import Counted
from renascent.core.environment import environment
from renascent.core.errors import UserError, unknown
from renascent.core.files import Json, write_json, writing
from renascent.core.text import aligned
from renascent.strategies.trials import MULTITRIAL
from renascent.strategies.trials.protocol import Trials

if TYPE_CHECKING:
    from renascent.bench.compare import Contest

ABOUT = f"""Compare multi-trial strategies on a benchmark table: many runs of each, against the table's own clock.

Strategies: {", ".join(MULTITRIAL)}; and optuna:SAMPLER for any sampler of Optuna (extra renascent[optuna]).

Writes DIR/compare.json, DIR/settings.json and DIR/report.html with its figures."""

DEFAULT_TRIALS = 100
"""Without a budget, a run has the seconds of this many average trials, or of a quarter of the table if that is less."""


@dataclass(frozen=True, kw_only=True)
class CompareFlags:
    """What to compare, and for how long.

    strategies: names, with commas between.
    runs: of each strategy on each data set, with seeds of their own.
    budget_seconds: simulated seconds of a run, one number or DATA=SECONDS with commas between; then only those data.
    trials: of a run; no limit if not given.
    constraints: bounds such as latency_ms:pixel3<=6, with commas between.
    objectives: columns to keep small beside a high accuracy, such as latency_ms:pixel3, with commas between.
    workers: simulated trials under way at a time in a run.
    seed: of the first run; the others follow.
    processes: that share the work; one for each core if not given.
    out: folder for the figures; it must hold no other comparison.
    """

    strategies: tuple[str, ...] = tuple(MULTITRIAL)
    runs: int = 500
    budget_seconds: tuple[str, ...] | None = None
    trials: int | None = None
    constraints: tuple[str, ...] | None = None
    objectives: tuple[str, ...] | None = None
    workers: int = 1
    seed: int = 0
    processes: int | None = None
    out: str | None = None


def command(words: Sequence[str]) -> Command:
    """Return the command, with a group of flags for each strategy that `words` name. Raises UserError for another."""
    _, given = glance(words, ["--help", "-h", "--json"])
    names = given["--strategies"].split(",") if given.get("--strategies") else list(MULTITRIAL)
    where, what = Part("Table", TableFlags()), Part("Compare", CompareFlags())
    plan = {name: _part(name, strategy_named(name)) for name in dict.fromkeys(names)}
    parts: list[Part[Any]] = [where, what, *plan.values(), Part("Output", Output())]
    return Command(ABOUT, parts, functools.partial(_run, where, what, plan))


def strategy_named(name: str) -> Trials[Any]:
    """Return a strategy with its defaults. Raises UserError for an unknown name."""
    if name.startswith("optuna:"):
        from renascent.bench.optuna import OptunaSampler

        return OptunaSampler(sampler=name.partition(":")[2])
    if name not in MULTITRIAL:
        raise unknown("strategy", name, MULTITRIAL)
    return MULTITRIAL[name]()


def _part(name: str, strategy: Trials[Any]) -> Part[Any]:
    # every flag carries the strategy's name: several are given at once
    return Part(f"Strategy {name}", strategy, name.replace(":", "-"), keys(strategy))


def _run(
    where: Part[TableFlags],
    what: Part[CompareFlags],
    plan: Mapping[str, Part[Any]],
    word: str | None,
    values: Mapping[str, Any],
) -> Outcome:
    # only here: statistics and figures take a second to load
    from renascent.bench.compare import compare
    from renascent.bench.standings import standings
    from renascent.reports.bench import write_page
    from renascent.reports.comparison import repeat, sections

    flags, path = what.build(values), where.build(values).table
    folder, table = _folder(flags.out), open_table(path)
    strategies = {name: part.build(values) for name, part in plan.items()}
    contests = _contests(flags, path, table)
    with Counted() as bar:
        heard = _Heard(bar, flags.runs * len(strategies) * len(contests))
        processes = flags.processes or os.cpu_count() or 1
        found = compare(strategies, contests, runs=flags.runs, seed=flags.seed, processes=processes, heard=heard)
    facts = {problem: standings(runs) for problem, runs in found.items()}
    settings = _settings(flags, table, contests, strategies)
    # all is drawn before anything is written
    parts = [*sections(strategies, contests, found, facts), repeat(settings)]
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "settings.json", settings)
    write_json(folder / "compare.json", facts)
    page = write_page(folder / "report.html", f"{len(strategies)} strategies on {table.name}", parts)
    return Outcome({"table": table.name, "report": str(page), "results": facts}, _text(facts, page))


class _Heard:
    """Adds up the runs that ended."""

    def __init__(self, bar: Counted, total: int) -> None:
        self.bar, self.total, self.done = bar, total, 0

    def __call__(self, problem: str, strategy: str, runs: int) -> None:
        self.done += runs
        self.bar.show("runs", self.done, self.total, f"  {strategy} on {problem}")


def _contests(flags: CompareFlags, path: str | None, table: Table) -> list[Contest]:
    from renascent.bench.compare import Contest

    return [
        Contest(
            path,
            problem,
            seconds,
            math.inf if flags.trials is None else flags.trials,
            flags.constraints or (),
            flags.objectives or (),
            flags.workers,
        )
        for problem, seconds in _budgets(flags, table).items()
    ]


def _settings(flags: CompareFlags, table: Table, contests: Sequence[Contest], strategies: Mapping[str, Any]) -> Json:
    limits = {c.problem: c.seconds if c.seconds < math.inf else None for c in contests}
    left_out = ("out", "budget_seconds", "processes", "strategies")
    return {
        "table": table.name,
        "budget_seconds": limits,
        **{key: value for key, value in asdict(flags).items() if key not in left_out},
        "strategies": {name: asdict(strategy) for name, strategy in strategies.items()},
        "environment": environment(flags.seed),
    }


def _folder(out: str | None) -> Path:
    if out is None:
        raise UserError("--out is missing: give a folder, as in: renascent bench compare --out comparison")
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out {folder} is a file, and a comparison needs a folder: name another")
    if (folder / "compare.json").exists():
        raise UserError(f"{folder} already holds a comparison: choose another --out, or remove it")
    return folder


def _budgets(flags: CompareFlags, table: Table) -> dict[str, float]:
    """Return data set -> seconds of a run. Raises UserError for what cannot be read, or is no data set of the table."""
    if not table.problems:
        raise UserError(f"table '{table.name}' poses no search problem: it lacks a signal, its seconds or a result")
    if flags.budget_seconds is None:
        return {name: _default(table, name) if flags.trials is None else math.inf for name in table.problems}
    if len(flags.budget_seconds) == 1 and "=" not in flags.budget_seconds[0]:
        return dict.fromkeys(table.problems, _seconds(flags.budget_seconds[0]))
    pairs = [text.partition("=") for text in flags.budget_seconds]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise UserError(f"--budget-seconds '{wrong[0]}' cannot be read: write DATA=SECONDS, as in cifar10=20000")
    return {table.problem(name).name: _seconds(text) for name, _, text in pairs}


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise UserError(f"--budget-seconds '{text}' cannot be read: give a number above 0, or DATA=SECONDS")
    return seconds


def _default(table: Table, name: str) -> float:
    problem = table.problem(name)
    average = float(table.complete(problem.seconds).mean()) * table.find(problem.signal).epochs
    return math.ceil(average * min(DEFAULT_TRIALS, len(table) / 4))


def _text(facts: Json, page: Path) -> str:
    lines = []
    for problem, rows in facts.items():
        lines.append(f"{problem}: test accuracy (%) of {next(iter(rows.values()))['runs']} runs")
        cells = []
        for name, row in rows.items():
            spread = f" +- {row['std']:.2f}" if row["std"] is not None else ""
            cells.append((name, f"{row['mean']:.2f}{spread}", f"rank {row['rank']:.2f}"))
        lines += [textwrap.indent(aligned(cells), "  "), ""]
    return "\n".join([*lines, f"report: {page}"])
