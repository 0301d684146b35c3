"""What `renascent bench compare` does."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from renascent.bench.compare import Contest, check, compare, evaluator, jobs_of
from renascent.bench.importers import open_table
from renascent.bench.stopping import stoppable
from renascent.bench.tables.table import Table
from renascent.bench.unfinished import Unfinished
from renascent.cli.commands.bench_compare import CompareFlags
from renascent.cli.commands.bench_query import TableFlags
from renascent.cli.commands.command import Outcome
from renascent.core.environment import environment
from renascent.core.errors import Interrupted, RenascentError, UserError
from renascent.core.files import Json
from renascent.core.processes import cores
from renascent.core.text import aligned
from renascent.experiment.comparison import Comparison
from renascent.reports.live import Counted
from renascent.strategies.trials.protocol import Trials

DEFAULT_TRIALS = 100
"""Average trials whose seconds are the budget of a run if none is given; a quarter of the table if that is less."""


def run(*, where: TableFlags, flags: CompareFlags, **strategies: Trials[Any]) -> Outcome:
    """Run every strategy many times, and write what came out."""
    folder, table = Path(str(flags.out)), open_table(where.table)
    contests = _contests(flags, where.table, table)
    total, ended = flags.runs * len(strategies) * len(contests), [0]
    for contest in contests:
        check(contest)
    settings = _settings(flags, table, contests, strategies)
    identity = {key: value for key, value in settings.items() if key != "environment"}
    jobs = jobs_of(strategies, contests, runs=flags.runs, seed=flags.seed)
    held = Unfinished(folder, identity, jobs, resume=flags.resume)
    with Counted() as bar, stoppable():

        def heard(problem: str, strategy: str, runs: int) -> None:
            ended[0] += runs
            bar.show("runs", ended[0], total, f"  {strategy} on {problem}")

        how = {"runs": flags.runs, "seed": flags.seed, "processes": flags.processes or cores()}
        try:
            found = compare(strategies, contests, **how, heard=heard, done=held.parts, keep=held.keep)
            comparison = Comparison(found, strategies, contests, settings)
            page, facts = comparison.report(folder, held.remove), comparison.standings
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted after {ended[0]} of {total} runs; to go on") from None
        except RenascentError:
            held.give_up()
            raise
    return Outcome({"table": table.name, "report": str(page), "results": facts}, _text(facts, page))


def _contests(flags: CompareFlags, path: str | None, table: Table) -> list[Contest]:
    trials = math.inf if flags.trials is None else flags.trials
    limits = trials, flags.constraints or (), flags.objectives or (), flags.workers
    return [Contest(path, problem, seconds, *limits) for problem, seconds in _budgets(flags, table).items()]


def _settings(flags: CompareFlags, table: Table, contests: Sequence[Contest], strategies: Mapping[str, Any]) -> Json:
    limits = {c.problem: c.seconds if c.seconds < math.inf else None for c in contests}
    left_out = ("out", "resume", "budget_seconds", "processes", "strategies")
    return {
        "table": table.name,
        "values_sha256": {c.problem: evaluator(c).sha256 for c in contests},
        "budget_seconds": limits,
        **{key: value for key, value in asdict(flags).items() if key not in left_out},
        "strategies": {name: asdict(strategy) for name, strategy in strategies.items()},
        "environment": environment(flags.seed),
    }


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
