"""The text summary of a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from statistics import mean, stdev
from typing import TYPE_CHECKING

from renascent.core.errors import UserError
from renascent.core.text import aligned, counted, number, percent, short
from renascent.reports.by_class import class_line
from renascent.reports.entropy import Entropy, policy_entropy, replaced
from renascent.reports.gain import gain_table
from renascent.reports.trainings import comparison_table
from renascent.reports.uniform import pruned_score, uniform_score, uniform_table
from renascent.reports.verdict import baseline_description, multiple, searched, verdict

if TYPE_CHECKING:
    from renascent.results.facts import Cost, Training, Truth
    from renascent.results.record import Record


def summary(result: Record) -> str:
    """Return the final table: the cell, its accuracy, what it costs, and what finding it cost."""
    about = result.about
    how = "found" if searched(result) else "scaled, without a search,"
    title = f"{about.space}, {how} by {about.strategy} on {about.task} (seed {about.seed})"
    cost, training = f"{about.search_seconds:.1f} s", result.training
    if training and training.searched_epochs:
        cost += f", and {training.seconds:.1f} s of training behind it"
    elif training and (times := multiple(result)):
        cost += f", {times} ({training.seconds:.1f} s)"
    moved = _entropy(result)
    policy = [("policy entropy", str(moved))] if moved else []
    rows = [*_accuracies(result), *_costs(result), *policy, ("search cost", cost), ("folder", str(result.folder))]
    cell = [f"  {line}" for line in result.space.draw(result.arch).splitlines()]
    gained = gain_table(result)
    gained += [""] * bool(gained)
    bounds = [""] * bool(about.costs) + budget_table(about.costs)
    busy = ["", result.latency.busy] if result.latency.busy else []
    beside = uniform_table(result)
    bounds += [""] * bool(beside) + beside
    said = [verdict(result), moved.undecided if moved else "", replaced(result)]
    notes = [line for sentence in said if sentence for line in ("", sentence)]
    several = comparison_table(result)
    several = [""] * bool(several) + several
    return "\n".join([title, "", *cell, "", about.arch, "", *gained, aligned(rows), *several, *bounds, *busy, *notes])


def _entropy(result: Record) -> Entropy | None:
    with suppress(UserError):  # a result can be told where the log of its search cannot be read; the page says so
        return policy_entropy(result)
    return None


def _accuracies(result: Record) -> list[tuple[str, str]]:
    inside = score_text(result.about.search_score, result.about.scored_by)
    where, weights = inside_score(result)
    rows = [(where, f"{inside} ({weights}, one validation batch)")]
    if told := result.about.truth:
        rows.append(("accuracy in the table", "{} ({})".format(*table_accuracy(told))))
    training = result.training
    if training is None:
        return rows
    how = training_description(training) + elsewhere(result, "; ")
    for split, score in training.scores.items():
        name = "test accuracy" if split == "test" else f"accuracy on {split}"
        rows += [(name, f"{percent(score)} ({how})"), *class_line(training, split)]
        if others := [cell.scores[split] for cell in training.random_cells]:
            what = "random architectures" if training.random_within else "random cells"
            rows.append((what, _compared(score, others, baseline_description(training))))
        if beside := uniform_score(result, training, split):
            rows.append(("uniform scaling", beside))
        if beside := pruned_score(training, split):
            rows.append(("magnitude pruning", beside))
        if reference := training.reference:
            origin = "as it was given" if reference.given else "from fresh weights, without a teacher"
            rows.append(("reference network", f"{percent(reference.scores[split])} ({origin})"))
    return rows


def inside_score(result: Record) -> tuple[str, str]:
    """Return what the score of a result before its training is called, and with which weights it was."""
    if searched(result):
        agreed = result.about.scored_by == "agreement"
        name = "agreement with the model as given" if agreed else "accuracy in the search"
        return name, "shared weights"
    return "accuracy before training", "the weights that it starts from"


def score_scale(scored_by: str) -> tuple[str, float]:
    """Return the unit that scores inside a supernet are shown in, and the factor to it."""
    return ("nats", 1.0) if scored_by == "agreement" else ("%", 100.0)


def score_text(score: float, scored_by: str) -> str:
    """Write a score inside a supernet.

    >>> score_text(0.91256, "accuracy"), score_text(-0.123456, "agreement")
    ('91.26 %', '-0.1235 nats')
    """
    unit, factor = score_scale(scored_by)
    return percent(score) if unit == "%" else f"{factor * score:.4f} {unit}"


def elsewhere(result: Record, between: str) -> str:
    """Say a training's name, and what it did otherwise than the search: data, network. between: put before each."""
    training, about = result.training, result.about
    assert training is not None
    found = [f"named '{result.training_name}'"] if result.training_name else []
    found += [] if training.same_data else [f"on other data than the search's: {training.task}"]
    if other := training.network:
        changed = {k: v for k, v in other.space_config.items() if v != about.space_config.get(k)}
        words = ", ".join(f"{name.replace('_', ' ')} {short(value)}" for name, value in changed.items()) or "other data"
        found.append(f"in a network of {words}: {training.params:,} parameters, {training.macs:,} MACs")
    return "".join(f"{between}{each}" for each in found)


def training_description(training: Training) -> str:
    """Describe a training in one phrase: its epochs, its initial weights and its teacher.

    >>> from types import SimpleNamespace as Some
    >>> plain = {"settings": Some(epochs=1), "init": "shared", "teacher": None, "distillation": None}
    >>> training_description(Some(**plain, searched_epochs=0))
    "trained alone, 1 epoch, from the search's weights"
    >>> training_description(Some(**plain, searched_epochs=3))
    "trained alone, 1 epoch behind 3 of the search on one schedule, from the search's weights"
    """
    starts = {"shared": "the search's weights", "reference": "the reference's leading weights"}
    init, teacher, d = training.init, training.teacher, training.distillation
    searched = training.searched_epochs
    behind = f" behind {searched} of the search on one schedule" if searched else ""
    parts = ["trained alone", counted(training.settings.epochs, "epoch") + behind]
    if init != "fresh":
        parts.append(f"from {starts.get(init, 'the leading weights of a network given')}")
    if teacher and d:
        squared = " T^2" if d.temperature_squared else ""
        loss = f"{d.label_weight:g} label + {d.soft_weight:g}{squared} soft, T = {d.temperature:g}"
        parts.append(f"taught by {teacher.name} ({loss})")
    return ", ".join(parts)


def table_accuracy(told: Truth) -> tuple[str, str]:
    """Return what a benchmark table knows of the chosen architecture, and beside what."""
    known = "not known" if told.accuracy is None else f"{told.accuracy:.2f} %"
    return known, f"{told.problem} of {told.table}: best {told.best:.2f} %, mean of all {told.mean:.2f} %"


def _compared(score: float, others: Sequence[float], baselines: str) -> str:
    spread = f" +- {100 * stdev(others):.2f}" if len(others) > 1 else ""
    gap = 100 * (score - mean(others))
    return f"{100 * mean(others):.2f}{spread} % ({baselines}; the result is {gap:+.2f} points from their mean)"


def _costs(result: Record) -> list[tuple[str, str]]:
    latency = result.latency
    spread = f"{latency.p10_ms:.2f} to {latency.p90_ms:.2f} ms in 8 of 10 passes"
    return [
        ("parameters", number(result.about.params)),
        ("MACs", f"{number(result.about.macs)} an image{not_counted(result)}"),
        ("latency", f"{latency.median_ms:.2f} ms an image ({spread}; {latency.runtime})"),
    ]


def not_counted(result: Record) -> str:
    """Return what is not among the multiply-accumulates; nothing where all is."""
    unknown = result.about.not_counted
    return f" (not counted: {', '.join(unknown):.200})" if unknown else ""


def budget_table(costs: Mapping[str, Cost]) -> list[str]:
    """Return a table of each bounded cost: limit, predicted, measured; no lines without a budget.

    >>> from renascent.results.facts import Cost
    >>> budget_table({"macs": Cost(limit=2e6, promised=1.5e6, measured=None)})
    ['budget      limit  predicted  measured', 'macs    2,000,000  1,500,000         -']
    """
    rows = [(name, *map(number, (cost.limit, cost.promised, cost.measured))) for name, cost in costs.items()]
    return aligned([("budget", "limit", "predicted", "measured"), *rows], "<>").splitlines() if rows else []
