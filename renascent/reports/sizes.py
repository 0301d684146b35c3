"""Report sections of a size search: sizes before and after, accuracy and cost, and the budget."""

from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from renascent.core.bounds import COSTS
from renascent.core.decisions import is_depth
from renascent.core.text import number
from renascent.costs.counts import cost_of
from renascent.costs.scaling import is_size_space
from renascent.nets.sizes.resolution import RESOLUTION
from renascent.reports.plots import COLOURS, SOFT
from renascent.reports.policy import Drawing
from renascent.reports.sizefigures import Dots, Size, bars, profile
from renascent.reports.sizefigures import plane as plane_figure
from renascent.reports.summary import inside_score, score_scale
from renascent.results.facts import Cell, Cost
from renascent.results.record import Record

UNITS = {"macs": "MACs", "params": "params", "latency_ms": "ms"}
"""Short units of costs for an axis; bytes otherwise."""


def sizes(result: Record) -> list[Size]:
    """List every decision, before and after; nothing where a space is not all sizes, or has no reference."""
    reference = result.space.reference
    if reference is None or not is_size_space(result.space):
        return []
    active = set(result.space.space.active(result.arch))
    return [
        Size(name, float(str(reference[name])), float(str(value)) if name in active else None)
        for name, value in result.arch.items()
    ]


def shapes(result: Record) -> list[Drawing]:
    """Draw widths before and after, layer by layer, in channels and in shares; then depths and resolution."""
    found = sizes(result)
    whole = [size for size in found if is_depth(size.name) or size.name == RESOLUTION]
    widths = [size for size in found if size not in whole]
    drawn: list[Drawing] = []
    if widths:
        left = sum(size.after is None for size in widths)
        words = f" Palest: {left} layers that were left out." if left else ""
        drawn += [
            (
                profile(widths, unit="width", title="width of each layer, before and after"),
                Markup("Widths layer by layer: pale, of the reference; full, of what was found.") + words,
            ),
            (
                profile(widths, unit="width / reference", title="width of each layer, as a share", share=True),
                Markup("The same as shares of the reference's."),
            ),
        ]
    if whole:
        drawn.append((bars(whole, "depth and resolution, before and after"), Markup("Depths and resolution.")))
    return drawn


def plane(result: Record) -> list[Drawing]:
    """Draw accuracy and cost: in the search beside the reference at several scales, and trained beside what was."""
    points = result.about.plane
    if not points:
        return []
    cost = next(iter(points[0].costs))
    held = result.about.costs.get(cost)
    about: dict[str, Any] = {"x_unit": UNITS.get(cost, "bytes"), "limit": held.limit if held else None}
    scale_unit, factor = score_scale(result.about.scored_by)
    at = {point.name: (point.costs[cost], factor * point.score) for point in points}
    scale = sorted((name for name in at if name != "found"), key=lambda name: at[name][0])
    series = [
        Dots("scaled", [at[name] for name in scale], SOFT, [f"reference, {name}" for name in scale], joined=True),
        Dots("found", [at["found"]], COLOURS[0]),
    ]
    where, weights = inside_score(result)
    unit = f"{where} ({scale_unit})"
    words = f"With {weights}, on one validation batch: found, and the reference scaled uniformly."
    drawn = [(plane_figure(series, title=f"{unit} and {cost}", y_unit=unit, **about), Markup(words))]
    if trained := _trained(result, cost, {name: x for name, (x, _) in at.items()}):
        unit = "accuracy, trained (%)"
        words = "The same networks as far as they were trained alone."
        drawn.append((plane_figure(trained, title=f"{unit} and {cost}", y_unit=unit, **about), Markup(words)))
    return drawn


def budget(costs: Mapping[str, Cost]) -> list[tuple[str, str, str, str, str]]:
    """List each bounded cost: its name, limit, predicted and measured value, and the share of the limit that is used.

    >>> budget({"macs": Cost(limit=2e6, promised=1.5e6, measured=None)})
    [('macs', '2,000,000', '1,500,000', '-', '75.0 %')]
    """
    return [
        (name, number(cost.limit), number(cost.promised), number(cost.measured), f"{100 * cost.used:.1f} %")
        for name, cost in costs.items()
    ]


def _trained(result: Record, cost: str, at: dict[str, float]) -> list[Dots]:
    training = result.training
    if training is None:
        return []
    split = next(iter(training.scores))
    random = [(x, 100 * cell.scores[split]) for cell in training.random_cells for x in _price(result, cell, cost)]
    found = [Dots("random", random, SOFT)] if random else []
    if (beside := training.uniform) and cost in beside.costs:
        found.append(Dots("uniform", [(beside.costs[cost], 100 * beside.scores[split])], COLOURS[2]))
    if training.reference:
        found.append(Dots("reference", [(at["reference"], 100 * training.reference.scores[split])], COLOURS[1]))
    return [*found, Dots("found", [(at["found"], 100 * training.scores[split])], COLOURS[0])]


def _price(result: Record, cell: Cell, cost: str) -> Iterator[float]:
    """Give what a random architecture costs, where that is known or can be counted."""
    if cost in cell.costs:
        yield cell.costs[cost]
    elif cost in COSTS and result.space.layered:
        about = result.about
        priced = cost_of(cost, result.space, (about.channels, *about.size), about.classes)
        space = result.space.space
        yield float(priced.exact(space.indices(space.parse(cell.arch))[None])[0])
