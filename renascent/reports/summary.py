"""What a user sees: progress on standard error, and the final table."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev
from typing import TYPE_CHECKING

from renascent.core.text import aligned, number, percent
from renascent.costs.budget import LATENCY

if TYPE_CHECKING:
    from renascent.core.files import Json
    from renascent.results.record import Record


def summary(result: Record) -> str:
    """Return the final table: the cell, its accuracy, what it costs, and what finding it cost."""
    facts = result.facts
    title = f"{facts['space']}, found by {facts['strategy']} on {facts['task']} (seed {facts['seed']})"
    cost, folder = ("search cost", _search_cost(result)), ("folder", str(result.folder))
    rows = [*_accuracies(result), *_costs(result), cost, folder]
    cell = [f"  {line}" for line in result.space.draw(result.arch).splitlines()]
    bounds = [""] * bool(costs := facts.get("costs", {})) + budget_table(costs)
    return "\n".join([title, "", *cell, "", facts["arch"], "", aligned(rows), *bounds])


def _accuracies(result: Record) -> list[tuple[str, str]]:
    inside = percent(result.facts["search_score"])
    rows = [("accuracy in the search", f"{inside} (shared weights, one validation batch)"), *_truth(result)]
    fitted = result.fitted
    if fitted is None:
        return rows
    how = f"trained alone, {_count(fitted['settings']['epochs'], 'epoch')}{schooling(fitted)}"
    if not fitted.get("same_data", True):
        how += f"; on other data than the search's: {fitted['task']}"
    for split, score in fitted["scores"].items():
        name = "test accuracy" if split == "test" else f"accuracy on {split}"
        rows.append((name, f"{percent(score)} ({how})"))
        if others := [cell[split] for cell in fitted["random_cells"]]:
            what = "random architectures" if fitted.get("random_within") else "random cells"
            rows.append((what, _compared(score, others, company(fitted))))
        if reference := fitted.get("reference"):
            origin = "as it was given" if reference.get("given") else "from fresh weights, untaught"
            rows.append(("reference network", f"{percent(reference['scores'][split])} ({origin})"))
    return rows


def schooling(fitted: Json) -> str:
    """Return in one phrase where the weights of a training began and who taught it; nothing for a plain training.

    >>> schooling({"init": "shared", "teacher": None})
    ", from the search's weights"
    """
    starts = {"shared": "the search's weights", "reference": "the reference's leading weights"}
    init, teacher = fitted.get("init", "fresh"), fitted.get("teacher")
    parts = [] if init == "fresh" else [f"from {starts.get(init, 'the leading weights of a network given')}"]
    if teacher:
        d = fitted["distillation"]
        squared = " T^2" if d["temperature_squared"] else ""
        loss = f"{d['label_weight']:g} label + {d['soft_weight']:g}{squared} soft, T = {d['temperature']:g}"
        parts.append(f"taught by {teacher['name']} ({loss})")
    return "".join(f", {part}" for part in parts)


def company(fitted: Json, kind: str = "") -> str:
    """Return what the found network is compared with, and how that was trained. kind: put before the word.

    >>> company({"random_cells": [{}, {}], "init": "shared", "random_init": "fresh"}, "random ")
    '2 random cells trained alike, but from fresh weights'
    """
    count, init = len(fitted["random_cells"]), fitted.get("init", "fresh")
    if budget := fitted.get("random_within"):
        promised = " (latency as predicted)" if LATENCY in budget else ""
        what = f"{_count(count, f'{kind}architecture')} inside the budget{promised},"
    else:
        what = _count(count, f"{kind}cell")
    same = fitted.get("random_init", init) == init
    return f"{what} trained alike{'' if same else ', but from ' + fitted['random_init'] + ' weights'}"


def _truth(result: Record) -> list[tuple[str, str]]:
    """Return what a benchmark table knows of the chosen architecture, if the search was given one."""
    told = result.facts.get("truth")
    if told is None:
        return []
    of = f"{told['problem']} of {told['table']}: best {told['best']:.2f} %, mean of all {told['mean']:.2f} %"
    value = told["accuracy"]
    return [("accuracy in the table", f"{'not known' if value is None else f'{value:.2f} %'} ({of})")]


def _compared(score: float, others: Sequence[float], company: str) -> str:
    spread = f" +- {100 * stdev(others):.2f}" if len(others) > 1 else ""
    gap = 100 * (score - mean(others))
    return f"{100 * mean(others):.2f}{spread} % ({company}; the found one is {gap:+.2f} points from their mean)"


def _costs(result: Record) -> list[tuple[str, str]]:
    latency = result.latency
    spread = f"{latency.p10_ms:.2f} to {latency.p90_ms:.2f} ms in 8 of 10 passes"
    return [
        ("parameters", number(result.facts["params"])),
        ("MACs", f"{number(result.facts['macs'])} an image"),
        ("latency", f"{latency.median_ms:.2f} ms an image ({spread}; {latency.runtime})"),
    ]


def budget_table(costs: Json) -> list[str]:
    """Return lines that say of each bounded cost what it may be, was promised to be, and is; none without a budget.

    >>> budget_table({"macs": {"limit": 2e6, "promised": 1.5e6, "measured": None}})
    ['budget    allowed   promised  measured', 'macs    2,000,000  1,500,000         -']
    """
    rows = [(name, *(number(cost[key]) for key in ("limit", "promised", "measured"))) for name, cost in costs.items()]
    return aligned([("budget", "allowed", "promised", "measured"), *rows], "<>").splitlines() if rows else []


def _search_cost(result: Record) -> str:
    seconds, fitted = result.facts["search_seconds"], result.fitted
    if fitted is None or not fitted["seconds"]:
        return f"{seconds:.1f} s"
    times = seconds / fitted["seconds"]
    return f"{seconds:.1f} s, {times:.2f} times training the found network once ({fitted['seconds']:.1f} s)"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
