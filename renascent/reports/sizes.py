"""What the report shows of a network whose sizes were searched: before and after, its budget, and its rivals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from renascent.core.files import Json
from renascent.costs.named import COSTS, cost_of
from renascent.costs.scaling import is_depth, is_size_space
from renascent.nets.sizes.resolution import RESOLUTION
from renascent.reports.beliefs import Drawing
from renascent.reports.sizefigures import Dots, Size, across, profile, scatter
from renascent.reports.summary import amount
from renascent.results.record import Record

UNITS = {"macs": "MACs", "params": "params", "latency_ms": "ms"}
"""Of costs, as an axis has room for them; bytes otherwise."""


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
        drawn.append((across(whole, "depth and resolution, before and after"), Markup("Depths and resolution.")))
    return drawn


def plane(result: Record) -> list[Drawing]:
    """Draw accuracy and cost: in the search beside the reference at several scales, and trained beside what was."""
    points = result.facts.get("plane", [])
    if not points:
        return []
    cost = next(key for key in points[0] if key not in ("name", "score"))
    about: dict[str, Any] = {"x_unit": UNITS.get(cost, "bytes"), "limit": _limit(result, cost)}
    at = {point["name"]: (point[cost], 100 * point["score"]) for point in points}
    scale = sorted((name for name in at if name != "found"), key=lambda name: at[name][0])
    series = [
        Dots("scaled", [at[name] for name in scale], "train", [f"reference, {name}" for name in scale], joined=True),
        Dots("found", [at["found"]], "val"),
    ]
    unit = "accuracy in the search (%)"
    words = "With shared weights, on one validation batch: found, and the reference scaled uniformly."
    drawn = [(scatter(series, title=f"{unit} and {cost}", y_unit=unit, **about), Markup(words))]
    if trained := _trained(result, cost, {name: x for name, (x, _) in at.items()}):
        unit = "accuracy, trained (%)"
        words = "The same networks as far as they were trained alone."
        drawn.append((scatter(trained, title=f"{unit} and {cost}", y_unit=unit, **about), Markup(words)))
    return drawn


def budget(facts: Json) -> list[tuple[str, str, str, str, str]]:
    """List each bounded cost: its name, allowed, promised, measured, and how much of the bound that takes.

    >>> budget({"costs": {"macs": {"limit": 2e6, "promised": 1.5e6, "measured": None}}})
    [('macs', '2,000,000', '1,500,000', '-', '75.0 %')]
    """
    rows = []
    for name, cost in facts.get("costs", {}).items():
        last = cost["promised"] if cost["measured"] is None else cost["measured"]
        shown = [amount(cost[key]) for key in ("limit", "promised", "measured")]
        rows.append((name, shown[0], shown[1], shown[2], f"{100 * last / cost['limit']:.1f} %"))
    return rows


def rivals(result: Record) -> list[tuple[Markup, str, str]]:
    """List random architectures trained alike, the best first: name, cost, score; the found one in bold."""
    fitted = result.fitted or {"random_cells": [], "scores": {}}
    split = next(iter(fitted["scores"]), "")
    others, name = fitted["random_cells"], Markup('<span title="{}">random {}</span>')
    rows = [
        (name.format(cell["arch"], k), _prices(cell.get("costs", {})), float(cell[split]))
        for k, cell in enumerate(others, start=1)
    ]
    if rows:
        own = {key: cost["promised"] for key, cost in result.facts.get("costs", {}).items()}
        found = Markup('<strong title="{}">found</strong>').format(result.facts["arch"])
        rows.append((found, _prices(own), fitted["scores"][split]))
    return [(what, cost, f"{100 * score:.2f} %") for what, cost, score in sorted(rows, key=lambda row: -row[2])]


def _trained(result: Record, cost: str, at: dict[str, float]) -> list[Dots]:
    fitted = result.fitted
    if fitted is None:
        return []
    split = next(iter(fitted["scores"]))
    random = [(x, 100 * cell[split]) for cell in fitted["random_cells"] for x in _price(result, cell, cost)]
    found = [Dots("random", random, "train")] if random else []
    if fitted.get("reference"):
        found.append(Dots("reference", [(at["reference"], 100 * fitted["reference"]["scores"][split])], "s1"))
    return [*found, Dots("found", [(at["found"], 100 * fitted["scores"][split])], "val")]


def _price(result: Record, cell: Json, cost: str) -> Iterator[float]:
    """Give what a random architecture costs, where that is known or can be counted."""
    if cost in cell.get("costs", {}):
        yield cell["costs"][cost]
    elif cost in COSTS and result.space.layered:
        height, width = result.facts["size"]
        priced = cost_of(cost, result.space, (result.facts["channels"], height, width), result.facts["classes"])
        space = result.space.space
        yield float(priced.exact(space.indices(space.parse(cell["arch"]))[None])[0])


def _limit(result: Record, cost: str) -> float | None:
    held = result.facts.get("costs", {}).get(cost)
    return held["limit"] if held else None


def _prices(costs: Json) -> str:
    return ", ".join(f"{amount(value)} {name}" for name, value in costs.items())
