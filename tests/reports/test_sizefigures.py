"""Drawings of sizes hold the numbers, and stay small however many there are."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from renascent.reports.sizefigures import BINS, Dots, Size, bars, heat, plane, profile

pytestmark = pytest.mark.renders

SIZES = [Size("stem", 16, 8), Size("stage1.a", 16, 24), Size("stage1.b", 16, None), Size("stage2.a", 32, 32)]


def tall(box: tuple[float, float, float, float]) -> float:
    return box[3] - box[1]


@pytest.mark.parametrize("share", [False, True])
def test_columns_are_as_high_as_sizes(share: bool, drawing: Any) -> None:
    seen = drawing(profile(SIZES, unit="width", title="t", share=share).svg)
    told = {"stem": "16, now 8", "stage1.a": "16, now 24", "stage1.b": "16, now left out", "stage2.a": "32, now 32"}
    columns = {name: [seen.box(group) for group in seen[f"{name}: {words}"]] for name, words in told.items()}
    unit = {s.name: s.before if share else 1.0 for s in SIZES}
    scale = tall(columns["stem"][0]) / (16 / unit["stem"])
    for size in SIZES:
        shown = [size.before, *([] if size.after is None else [size.after])]
        highs = [tall(box) for box in columns[size.name]]
        assert highs == pytest.approx([scale * value / unit[size.name] for value in shown], abs=0.2)
    # all stand on the axis
    assert len({round(box[3], 1) for boxes in columns.values() for box in boxes}) == 1
    assert {"stage1", "stage2", "width"} <= set(seen.words)


def test_bars_across_say_both_numbers(drawing: Any) -> None:
    seen = drawing(bars([Size("depth1", 3, 2), Size("resolution", 32, 48)], "t").svg)
    assert {"2 of 3", "48 of 32", "depth1", "resolution"} <= set(seen.words)
    wide = [seen.box(group)[2] - seen.box(group)[0] for tip in ("3", "2", "32", "48") for group in seen[tip]]
    assert wide[1] / wide[0] == pytest.approx(2 / 3, abs=0.01)
    assert wide[3] / wide[2] == pytest.approx(1.5, abs=0.01)


def shades(svg: str) -> NDArray[Any]:
    """Return the opacity of every decision and bin of epochs."""
    first, _key = re.findall(r'"data:image/png;base64,\s*([^"]*)"', svg)
    with Image.open(io.BytesIO(base64.b64decode(first))) as image:
        return np.asarray(image.convert("RGBA"))[..., 3] / 255


def test_the_larger_the_darker(drawing: Any) -> None:
    rows = {"a": [0.0, 0.5, 1.0], "b": [1.0, 1.0, 1.0]}
    svg = heat(rows, [1, 2, 3], high=1.0, unit="u", title="t").svg
    assert shades(svg) == pytest.approx(np.array([[0.04, 0.5, 1.0], [1.0, 1.0, 1.0]]), abs=0.01)
    assert {"a", "b", "epoch", "u", "0", "1", "2", "3"} <= set(drawing(svg).words)
    assert drawing(svg).mark("a")[1] < drawing(svg).mark("b")[1]


def test_hundreds_of_epochs_and_of_decisions_stay_small(drawing: Any) -> None:
    rng = np.random.default_rng(0)
    names = [f"stage{k // 60}.block{k % 60}.conv1" for k in range(170)]
    rows = {name: rng.random(600).tolist() for name in names}
    svg = heat(rows, list(range(1, 601)), high=1.0, unit="u", title="t").svg
    assert len(svg) < 40_000
    assert shades(svg).shape == (170, BINS)
    seen = drawing(svg)
    assert {"stage0", "stage1", "stage2"} <= set(seen.words)
    assert seen.height < 520


def test_neighbouring_epochs_are_drawn_as_their_mean() -> None:
    values = [0.0, 1.0] * BINS
    svg = heat({"a": values}, list(range(2 * BINS)), high=1.0, unit="u", title="t").svg
    assert shades(svg) == pytest.approx(0.5, abs=0.01)


def test_images_have_the_size_of_their_rows(drawing: Any) -> None:
    """A browser draws an image as large as its element says, whatever it holds."""
    svg = heat({"a": [0.0, 0.5], "b": [1.0, 1.0]}, [1, 2], high=1.0, unit="u", title="t").svg
    image = next(e for e in drawing(svg).root.iter() if e.tag.endswith("image"))
    a, _, _, d, x, y = (float(v) for v in re.findall(r"-?[\d.]+", image.get("transform", "")))
    right, bottom = x + a * float(image.get("width", "0")), y + d * float(image.get("height", "0"))
    assert 150 < abs(right - x) < 360
    assert min(y, bottom) < drawing(svg).mark("a")[1] < drawing(svg).mark("b")[1] < max(y, bottom) + 1


def seen_plane(drawing: Any, **about: Any) -> Any:
    series = [
        Dots("scaled", [(1e6, 50.0), (4e6, 70.0)], names=["small", "whole"], joined=True),
        Dots("found", [(2e6, 65.0)]),
    ]
    return drawing(plane(series, title="t", x_unit="MACs", y_unit="accuracy (%)", **about).svg)


def test_points_are_where_the_numbers_are(drawing: Any) -> None:
    seen = seen_plane(drawing, limit=3e6)
    (x1, y1), (x2, y2) = seen.dot("small: 1M, 50.00"), seen.dot("whole: 4M, 70.00")
    x3, y3 = seen.dot("found: 2M, 65.00")
    assert (x3 - x1) / (x2 - x1) == pytest.approx(1 / 3, abs=0.01)
    assert (y3 - y1) / (y2 - y1) == pytest.approx(0.75, abs=0.01)
    [[(x, _), _]] = seen.dashed
    assert (x - x1) / (x2 - x1) == pytest.approx(2 / 3, abs=0.01)
    assert {"found", "scaled", " budget", "MACs", "accuracy (%)"} <= set(seen.words)


def test_without_a_budget_and_with_one_point(drawing: Any) -> None:
    assert seen_plane(drawing).dashed == []
    alone = drawing(plane([Dots("found", [(2e6, 65.0)])], title="t", x_unit="MACs", y_unit="a").svg)
    assert [tip for tip, _ in alone.tips] == ["found: 2M, 65.00"]
