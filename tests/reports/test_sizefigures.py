"""Drawings of sizes hold the numbers, and stay small however many there are."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from renascent.reports.sizefigures import BINS, Dots, Size, across, heat, profile, scatter


def drawn(svg: str) -> ElementTree.Element:
    root = ElementTree.fromstring(svg)
    _, _, width, height = map(float, root.get("viewBox", "").split())
    for e in root.iter():
        if e.tag.endswith("text"):
            assert 0 <= float(e.get("x", "-1")) <= width
            assert 0 < float(e.get("y", "-1")) < height
        if e.tag.endswith("rect"):
            assert 0 <= float(e.get("x", "-1")) <= float(e.get("x", "-1")) + float(e.get("width", "-1")) <= width + 0.1
    return root


def classed(root: ElementTree.Element, *wanted: str) -> list[ElementTree.Element]:
    return [e for e in root.iter() if set(wanted) <= set((e.get("class") or "").split())]


def number(e: ElementTree.Element, name: str) -> float:
    return float(e.get(name, "nan"))


def words(root: ElementTree.Element) -> list[str]:
    return [str(e.text) for e in root.iter() if e.tag.endswith("text")]


SIZES = [Size("stem", 16, 8), Size("stage1.a", 16, 24), Size("stage1.b", 16, None), Size("stage2.a", 32, 32)]


@pytest.mark.parametrize("share", [False, True])
def test_columns_are_as_high_as_sizes(share: bool) -> None:
    root = drawn(profile(SIZES, unit="width", title="t", share=share))
    before, after = classed(root, "before"), classed(root, "after")
    highs = [number(e, "height") for e in before]
    unit = [s.before if share else 1.0 for s in SIZES]
    scale = highs[0] / (16 / unit[0])
    assert highs == pytest.approx([scale * s.before / u for s, u in zip(SIZES, unit, strict=True)], abs=0.2)
    there = [(s.after, u) for s, u in zip(SIZES, unit, strict=True) if s.after is not None]
    assert [number(e, "height") for e in after] == pytest.approx([scale * a / u for a, u in there], abs=0.2)
    assert len(classed(root, "gone")) == 1
    # all stand on the axis
    assert len({round(number(e, "y") + number(e, "height"), 1) for e in before + after}) == 1
    tips = [e.text for e in root.iter() if e.tag.endswith("title")]
    assert "stage1.b: 16, now left out" in tips
    assert "stage1.a: 16, now 24" in tips


def test_bars_across_say_both_numbers() -> None:
    root = drawn(across([Size("depth1", 3, 2), Size("resolution", 32, 48)], "t"))
    assert {"2 of 3", "48 of 32", "depth1", "resolution"} <= set(words(root))
    before, after = classed(root, "before"), classed(root, "after")
    ratios = [number(a, "width") / number(b, "width") for a, b in zip(after, before, strict=True)]
    assert ratios == pytest.approx([2 / 3, 1.5], abs=0.01)


def shades(root: ElementTree.Element) -> dict[tuple[float, float], float]:
    """Return the opacity at the start of every run of colour below the key."""
    found = {}
    for path in classed(root, "heat"):
        for x, y in re.findall(r"M([\d.]+),([\d.]+)h", path.get("d", "")):
            if float(y) > 20:
                found[float(x), float(y)] = number(path, "stroke-opacity")
    return found


def test_the_larger_the_darker() -> None:
    rows = {"a": [0.0, 0.5, 1.0], "b": [1.0, 1.0, 1.0]}
    root = drawn(heat(rows, [1, 2, 3], high=1.0, unit="u", title="t"))
    found = shades(root)
    ys = sorted({y for _, y in found})
    assert [found[key] for key in sorted(key for key in found if key[1] == ys[0])] == [0.04, 0.5, 1.0]
    # what looks the same is one run
    assert [found[key] for key in found if key[1] == ys[1]] == [1.0]
    assert {"a", "b", "epoch"} <= set(words(root))


def test_hundreds_of_epochs_and_of_decisions_stay_small() -> None:
    rng = np.random.default_rng(0)
    names = [f"stage{k // 60}.block{k % 60}.conv1" for k in range(170)]
    rows = {name: rng.random(600).tolist() for name in names}
    svg = heat(rows, list(range(1, 601)), high=1.0, unit="u", title="t")
    assert len(svg) < 170 * BINS * 16
    root = drawn(svg)
    assert {"stage0", "stage1", "stage2"} <= set(words(root))
    assert number(root.find("."), "width") != 0
    _, _, width, height = map(float, root.get("viewBox", "").split())
    assert (width, height < 520) == (430, True)


def test_neighbouring_epochs_are_drawn_as_their_mean() -> None:
    values = [0.0, 1.0] * BINS
    root = drawn(heat({"a": values}, list(range(2 * BINS)), high=1.0, unit="u", title="t"))
    assert set(shades(root).values()) == {0.5}


def plane(**about: Any) -> ElementTree.Element:
    series = [
        Dots("scaled", [(1e6, 50.0), (4e6, 70.0)], "train", ["small", "whole"], joined=True),
        Dots("found", [(2e6, 65.0)], "val"),
    ]
    return drawn(scatter(series, title="t", x_unit="MACs", y_unit="accuracy (%)", **about))


def test_points_are_where_the_numbers_are() -> None:
    root = plane(limit=3e6)
    (x1, y1), (x2, y2), (x3, y3) = [(number(e, "cx"), number(e, "cy")) for e in classed(root, "dot")]
    assert (x3 - x1) / (x2 - x1) == pytest.approx(1 / 3, abs=0.01)
    assert (y3 - y1) / (y2 - y1) == pytest.approx(0.75, abs=0.01)
    (line,) = classed(root, "reference")
    assert (number(line, "x1") - x1) / (x2 - x1) == pytest.approx(2 / 3, abs=0.01)
    assert {"found", "scaled", "budget", "MACs"} <= set(words(root))
    assert "whole: 4M, 70.00" in [e.text for e in root.iter() if e.tag.endswith("title")]


def test_without_a_budget_and_with_one_point() -> None:
    root = plane()
    assert classed(root, "reference") == []
    alone = drawn(scatter([Dots("found", [(2e6, 65.0)], "val")], title="t", x_unit="MACs", y_unit="a"))
    assert len(classed(alone, "dot")) == 1
