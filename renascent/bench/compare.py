"""Comparing multi-trial strategies on a table: many runs of each, paired by seed, and their standings."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from renascent.bench.importers import open_table
from renascent.bench.stopping import shielded
from renascent.bench.tables.objectives import hypervolume, pareto
from renascent.bench.tabular import Constraint, Tabular
from renascent.core.errors import UserError
from renascent.core.processes import check_processes
from renascent.loops.trials import Simulated, Trial, trials
from renascent.strategies.trials.protocol import Trials

Array = NDArray[np.float64]

STEP_SECONDS = 100.0
"""The best architecture so far is looked at this often, in simulated seconds; a hundred times in shorter runs."""

CHUNK = 25
"""Runs that a process takes on at a time."""


@dataclass(frozen=True)
class Contest:
    """One data set of a comparison.

    table: its file, None for the one that ships.  problem: data set.  seconds, trials: when a run ends.
    constraints: that every architecture has to keep.
    objectives: columns to keep small beside a high result; their hypervolume is reported.
    workers: trials under way at a time.
    """

    table: str | None
    problem: str
    seconds: float = math.inf
    trials: float = math.inf
    constraints: tuple[str, ...] = ()
    objectives: tuple[str, ...] = ()
    workers: int = 1


Job = tuple[str, Contest, range]
"""The runs that a process takes on: a strategy's name, the contest, and seeds."""


@dataclass(frozen=True)
class Runs:
    """What the runs of one strategy came to, in the order of their seeds.

    results: the judged accuracy of each run's choice, % (runs,).  trials: each run evaluated, (runs,).
    curves: the same at every step of the clock from zero on, (runs, times); NaN before the first trial ended.
    hypervolumes: of each run's trials, (runs,); empty without objectives.
    """

    results: Array
    trials: Array
    curves: Array
    hypervolumes: Array


def evaluator(contest: Contest) -> Tabular:
    """Return the evaluator of a contest, made once a process for a table's file as it is.

    Raises UserError or BudgetError as `Tabular` does.
    """
    state = None
    if contest.table is not None:
        with suppress(OSError, ValueError):  # which `open_table` tells
            found = Path(contest.table).stat()
            state = found.st_ino, found.st_mtime_ns, found.st_size
    return _evaluator(contest, state)


@functools.lru_cache(maxsize=16)
def _evaluator(contest: Contest, state: tuple[int, ...] | None) -> Tabular:
    constraints = [Constraint.parse(text) for text in contest.constraints]
    return Tabular(open_table(contest.table), contest.problem, constraints, contest.objectives)


def check(contest: Contest) -> Tabular:
    """Return the contest's evaluator. Raises UserError for a budget in which a run might end without a result."""
    found = evaluator(contest)
    dearest = float(np.array(found.seconds)[found.allowed].max()) * found.epochs
    if contest.trials < 1 or contest.seconds < dearest:
        given = f"{contest.seconds:g} seconds" if contest.trials >= 1 else f"{contest.trials:g} trials"
        raise UserError(
            f"the budget of {given} on {contest.problem} is below one trial: the longest takes {dearest:.1f} seconds; "
            "give at least that"
        )
    return found


def step_seconds(contest: Contest) -> float:
    """Return the simulated seconds between two looks at the best architecture so far."""
    found = evaluator(contest)
    expected = contest.trials * float(np.mean(found.seconds)) * found.epochs
    return min(STEP_SECONDS, contest.seconds / 100, expected / 100)


def at_fidelity(strategy: Trials[Any], found: Tabular) -> Trials[Any]:
    """Return the strategy with its shortest and longest trainings, if it has such, those that the table knows.

    Raises UserError where it asks for longer ones, or for none that the table has.
    """
    if not hasattr(strategy, "min_epochs"):
        return strategy
    shortest, longest = max(strategy.min_epochs, min(found.places)), strategy.max_epochs or found.epochs  # type: ignore[attr-defined]
    if not shortest <= longest <= found.epochs:
        raise UserError(
            f"trainings of {strategy.min_epochs} to {longest} epochs are asked for: column '{found.column.key}' has "
            f"them of {min(found.places)} to {found.epochs}; give min_epochs and max_epochs inside that"
        )
    return dataclasses.replace(strategy, min_epochs=shortest, max_epochs=longest)  # type: ignore[type-var]


def run_many(strategy: Trials[Any], contest: Contest, seeds: Sequence[int]) -> Runs:
    """Run a strategy once for each seed."""
    found = evaluator(contest)
    fitting = at_fidelity(strategy, found)
    rows = [_run(fitting, contest, found, seed) for seed in seeds]
    results, counts, curves, volumes = zip(*rows, strict=True)
    kept = np.array([volume for volume in volumes if volume is not None])
    return Runs(np.array(results), np.array(counts, float), stacked(curves), kept)


def _run(strategy: Trials[Any], contest: Contest, found: Tabular, seed: int) -> tuple[float, int, Array, float | None]:
    space, workers = found.table.space, Simulated(found, contest.workers)
    every = trials(strategy, space, workers, seconds=contest.seconds, count=contest.trials, seed=seed)
    done = [trial for trial in every if trial.outcome.feasible]
    ends, rows = incumbents(done, found)
    results = found.result[rows]
    step, end = step_seconds(contest), contest.seconds if contest.seconds < math.inf else done[-1].ended
    times = step * np.arange(1 + math.floor(end / step + 1e-9))
    places = np.searchsorted(ends, times, side="right") - 1
    curve = np.where(places >= 0, results[places], np.nan)
    return float(results[-1]), len(done), curve, _volume(done, found) if contest.objectives else None


def incumbents(done: Sequence[Trial], found: Tabular) -> tuple[Array, NDArray[np.int64]]:
    """Return when the chosen architecture changed, in seconds, and its row from then on.

    A run would choose the best signal among its longest trainings.
    """
    ends, rows, best = [], [], (-1, -math.inf)
    for trial in done:
        epochs = trial.proposal.epochs or found.epochs
        if (epochs, trial.outcome.score) > best:
            best = (epochs, trial.outcome.score)
            ends.append(trial.ended)
            rows.append(found.row(trial.proposal.picks))
    return np.array(ends), np.array(rows)


def _volume(done: Sequence[Trial], found: Tabular) -> float:
    """Return the hypervolume of a run's trials: signal against objectives, each scaled to the table's range.

    That of the signal is of single seeds, as a trial's is: the best of them is above the best mean.
    """
    points = np.array([[t.outcome.score, *(-v for v in t.outcome.metrics.values())] for t in done])
    ends = [curve[-1] for row in found.signal for curve in row]
    ranges = [(min(ends), max(ends)), *((-max(values), -min(values)) for values in found.objectives.values())]
    low, high = np.array(ranges, dtype=np.float64).T
    scaled = (points - low) / np.where(high > low, high - low, 1.0)
    return hypervolume(scaled[pareto(scaled)], np.zeros(points.shape[1]))


def compare(
    strategies: Mapping[str, Trials[Any]],
    contests: Sequence[Contest],
    *,
    runs: int,
    seed: int = 0,
    processes: int = 1,
    heard: Callable[[str, str, int], None] = lambda problem, strategy, runs: None,
    done: Mapping[Job, Runs] = MappingProxyType({}),
    keep: Callable[[Job, Runs], None] = lambda job, runs: None,
) -> dict[str, dict[str, Runs]]:
    """Run every strategy on every contest, `runs` times with the seeds from `seed` on; data set -> strategy -> runs.

    All strategies get the same seeds, so that runs can be compared in pairs. heard: is called with the number of runs
    that ended.  done: of an earlier session.  keep: is called with what is not among those.
    Raises UserError for a budget below one trial, and for what a table cannot answer.
    """
    if runs < 1:
        raise UserError(f"runs is {runs}: give at least 1")
    check_processes("processes", processes)
    for contest in contests:
        found = check(contest)
        for strategy in strategies.values():
            at_fidelity(strategy, found)
    parts, jobs = dict(done), jobs_of(strategies, contests, runs=runs, seed=seed)
    for name, contest, chunk in parts:
        heard(contest.problem, name, len(chunk))
    for job, part in _all([job for job in jobs if job not in parts], strategies, processes):
        keep(job, part)
        parts[job] = part
        heard(job[1].problem, job[0], len(job[2]))
    return {
        contest.problem: {
            name: _joined([parts[job] for job in jobs if job[:2] == (name, contest)]) for name in strategies
        }
        for contest in contests
    }


def jobs_of(strategies: Iterable[str], contests: Sequence[Contest], *, runs: int, seed: int = 0) -> list[Job]:
    """Return how the runs of a comparison are dealt out."""
    chunks = [range(first, min(first + CHUNK, seed + runs)) for first in range(seed, seed + runs, CHUNK)]
    return [(name, contest, chunk) for contest in contests for name in strategies for chunk in chunks]


def _all(jobs: Sequence[Job], strategies: Mapping[str, Trials[Any]], processes: int) -> Iterator[tuple[Job, Runs]]:
    if processes < 2 or not jobs:
        yield from ((job, run_many(strategies[job[0]], job[1], job[2])) for job in jobs)
        return
    with ProcessPoolExecutor(min(processes, len(jobs)), mp_context=get_context("spawn")) as pool:
        with shielded():  # what is started here
            futures = {pool.submit(run_many, strategies[job[0]], job[1], job[2]): job for job in jobs}
        try:
            yield from ((futures[future], future.result()) for future in as_completed(futures))
        except BaseException:
            for process in (pool._processes or {}).values():
                process.kill()  # or the chunks under way would be waited for
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _joined(parts: Sequence[Runs]) -> Runs:
    return Runs(
        np.concatenate([part.results for part in parts]),
        np.concatenate([part.trials for part in parts]),
        stacked([curve for part in parts for curve in part.curves]),
        np.concatenate([part.hypervolumes for part in parts]),
    )


def stacked(curves: Sequence[Array]) -> Array:
    """Return curves as rows, (curves, times), those of runs that ended early going on as they ended."""
    longest = max(map(len, curves))
    return np.array([np.pad(curve, (0, longest - len(curve)), mode="edge") for curve in curves])


def standings(runs: Mapping[str, Runs]) -> dict[str, dict[str, Any]]:
    """Return what the runs of one data set say: strategy -> its figures.

    mean, std, ci95 (half width of the mean's 95 % interval): of the judged accuracy, %.
    rank: mean over runs, 1 the best, equals sharing.  trials: mean number evaluated.
    paired: other strategy -> mean difference to it, its standard error, and the p-value of a paired t-test.
    """
    results = np.array([result.results for result in runs.values()])
    ranks = stats.rankdata(-results, axis=0).mean(1)
    found = {}
    for k, (name, result) in enumerate(runs.items()):
        n = len(result.results)
        std = float(result.results.std(ddof=1)) if n > 1 else None
        found[name] = {
            "mean": float(result.results.mean()),
            "std": std,
            "runs": n,
            "ci95": float(stats.t.ppf(0.975, n - 1)) * std / math.sqrt(n) if std is not None else None,
            "rank": float(ranks[k]),
            "trials": float(result.trials.mean()),
            "paired": {other: _paired(results[k], results[j]) for j, other in enumerate(runs) if j != k},
        }
        if len(result.hypervolumes):
            found[name]["hypervolume"] = float(result.hypervolumes.mean())
    return found


def _paired(mine: Array, other: Array) -> dict[str, float | None]:
    gap = mine - other
    error = float(gap.std(ddof=1)) / math.sqrt(len(gap)) if len(gap) > 1 else None
    p = 2 * float(stats.t.sf(abs(gap.mean()) / error, len(gap) - 1)) if error else None
    return {"difference": float(gap.mean()), "standard_error": error, "p": p}
