"""The page of a comparison: accuracy over time, standings with their significance, and how to repeat it."""

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from renascent.bench.compare import Contest, Runs, evaluator, step_seconds
from renascent.core.files import Json
from renascent.core.source import place_of, references
from renascent.core.text import number
from renascent.reports.bench import Listing, Section
from renascent.reports.benchfigures import bands
from renascent.reports.plots import Picture
from renascent.strategies.trials.protocol import Trials

Strategies = Mapping[str, Trials[Any]]

FAIR = (
    "Every strategy had the same settings on every data set, the same budget, and the same seeds, by which runs are "
    "compared in pairs. The judged accuracy was read after a run had ended and steered nothing."
)


def sections(
    strategies: Strategies, contests: Sequence[Contest], found: Mapping[str, Mapping[str, Runs]], facts: Json
) -> list[Section]:
    """Return the parts of the page. found: the runs.  facts: `standings` of each data set."""
    parts = [_results(contest, found[contest.problem], facts[contest.problem]) for contest in contests]
    return [*parts, Section("How it was done", list(_protocol(strategies, contests))), _sources(strategies)]


def repeat(settings: Json) -> Section:
    """Return the part that says how to have the same numbers again."""
    environment = settings["environment"]
    words = environment["command"]
    command = shlex.join(["renascent", *words[1:]]) if words[0].startswith(("renascent", "__main__")) else ""
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
    facts = [f"Command: {command}"] if command else []
    rows = [(name, ", ".join(f"{k} {v}" for k, v in result.items())) for name, result in settings["strategies"].items()]
    machine = f"{environment['processor']}; Python {environment['python']}; {versions}"
    return Section("How to repeat it", [*facts, machine], [Listing(("strategy", "settings"), rows)])


def _results(contest: Contest, runs: Mapping[str, Runs], rows: Json) -> Section:
    first = next(iter(rows))
    header = ["strategy", "mean (%), 95 % interval", "deviation", "mean rank", "trials"]
    volumes = "hypervolume" in rows[first]
    table = [
        (
            name,
            number(row["mean"], places=2) + (f" ± {row['ci95']:.2f}" if row["ci95"] is not None else ""),
            number(row["std"], places=2),
            number(row["rank"], places=2),
            number(row["trials"], places=0),
            *([number(row["hypervolume"], places=4)] if volumes else []),
        )
        for name, row in rows.items()
    ]
    pairs = [pair for name, row in rows.items() for pair in _pairs(name, row["paired"], list(rows))]
    tables = [Listing([*header, *(["hypervolume"] if volumes else [])], table)]
    if pairs:
        caption = "Difference of the means over the same seeds, its standard error, and a paired t-test"
        tables.append(Listing(("pair", "difference", "standard error", "p, or 0.0001 if less"), pairs, caption))
    return Section(contest.problem, [_budget(contest)], tables, [_figure(contest, runs)])


def _pairs(name: str, paired: Json, order: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """List the pairs that begin with a strategy, each pair once."""
    for other in order[order.index(name) + 1 :]:
        facts = paired[other]
        p = number(facts["p"] and max(facts["p"], 1e-4), places=4)
        yield f"{name} - {other}", f"{facts['difference']:+.3f}", number(facts["standard_error"], places=3), p


def _figure(contest: Contest, runs: Mapping[str, Runs]) -> Picture:
    """Draw the mean over runs of what each would return, and the 95 % interval of that mean."""
    curves = {}
    for name, result in runs.items():
        x = np.arange(result.curves.shape[1]) * step_seconds(contest)
        mean = result.curves.mean(0)  # not known before every run has something
        error = result.curves.std(0) / math.sqrt(max(len(result.curves) - 1, 1))
        curves[name] = (x, mean, mean - 1.96 * error, mean + 1.96 * error)
    allowed = evaluator(contest).result[evaluator(contest).allowed]
    title, best = f"Accuracy over time: {contest.problem}", {"optimum": float(allowed.max())}
    return bands(curves, "simulated seconds", "accuracy of the choice (%)", title, best)


def _budget(contest: Contest) -> str:
    found = evaluator(contest)
    limits = [f"{contest.seconds:,.0f} simulated seconds"] if contest.seconds < math.inf else []
    limits += [f"{contest.trials:,.0f} trials"] if contest.trials < math.inf else []
    words = (
        f"Search by {found.problem.signal}, judged by {found.problem.result}; a run ends after {' or '.join(limits)}"
    )
    words += f", {contest.workers} trials at a time" if contest.workers > 1 else ""
    words += f"; only architectures with {' and '.join(contest.constraints)}" if contest.constraints else ""
    return words + "."


def _protocol(strategies: Strategies, contests: Sequence[Contest]) -> Iterator[str]:
    yield FAIR
    yield "A trial costs its epochs times the table's seconds of one; what ends after the budget counts nothing."
    for name, strategy in strategies.items():
        whole = [c.problem for c in contests if _at_one_length(strategy, c)]
        if whole:
            yield (
                f"On {', '.join(whole)}, {name} trains every architecture for its full number of epochs: the table has "
                "no value after fewer, so nothing is stopped early and only its model is at work."
            )
    if any(contest.objectives for contest in contests):
        yield (
            "The hypervolume is that of all trials of a run, signal against objectives, each scaled to its range in "
            "the table, so that 1 would be the best of each at once."
        )


def _at_one_length(strategy: Trials[Any], contest: Contest) -> bool:
    """Return whether a strategy that would stop trainings early cannot, for lack of values."""
    found = evaluator(contest)
    return hasattr(strategy, "min_epochs") and min(found.places) == found.epochs


def _sources(strategies: Strategies) -> Section:
    rows = [(name, " ".join(references(place_of(type(strategy))))) for name, strategy in strategies.items()]
    return Section("What to cite", tables=[Listing(("strategy", "source"), rows)])
