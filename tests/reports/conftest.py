"""What the tests of reports have in common: a drawing, read back from its SVG; and what is known of a search."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest

Element = ElementTree.Element
SVG = "{http://www.w3.org/2000/svg}"

FOUND: dict[str, Any] = {
    "seed": 7,
    "task": "digits",
    "channels": 1,
    "size": [8, 8],
    "classes": 10,
    "search_score": 0.9125,
    "search_seconds": 60.0,
    "params": 12345,
    "macs": 678901,
    "latency_ms": {"median_ms": 1.234, "p10_ms": 1.1, "p90_ms": 1.5, "runtime": "torch eager, cpu"},
}
"""What arch.json says of a search, but for its space, strategy and architecture."""


class Drawing:
    """What can be seen in an SVG: its words, and by the words that appear over them, its lines, bars and dots."""

    def __init__(self, svg: str) -> None:
        self.root = ElementTree.fromstring(svg)
        self.title = self.root.get("aria-label", "")
        self.words = [str(text.text) for text in self.root.iter(f"{SVG}text")]
        self.tips = [
            (title.text or "", group) for group in self.root.iter(f"{SVG}g") for title in group.findall(f"{SVG}title")
        ]
        self.width, self.height = map(float, self.root.get("viewBox", "").split()[2:])
        for text in self.root.iter(f"{SVG}text"):
            x, y = self.place(text)
            assert 0 <= x <= self.width and 0 < y <= self.height, text.text

    def __getitem__(self, tip: str) -> list[Element]:
        """Return the groups over which these words appear."""
        return [group for words, group in self.tips if words == tip]

    def line(self, tip: str) -> list[tuple[float, float]]:
        """Return the points of the only path with this tip."""
        [group] = self[tip]
        [path] = group.iter(f"{SVG}path")
        return points(path)

    def box(self, group: Element) -> tuple[float, float, float, float]:
        """Return left, top, right and bottom of a bar."""
        xs, ys = zip(*points(next(group.iter(f"{SVG}path"))), strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    def dot(self, tip: str) -> tuple[float, float]:
        [group] = self[tip]
        [use] = group.iter(f"{SVG}use")
        return float(use.get("x", "nan")), float(use.get("y", "nan"))

    def mark(self, word: str) -> tuple[float, float]:
        """Return where a word stands."""
        return self.place(next(text for text in self.root.iter(f"{SVG}text") if text.text == word))

    def place(self, text: Element) -> tuple[float, float]:
        if text.get("x"):
            return float(text.get("x", "")), float(text.get("y", ""))
        x, y = re.findall(r"-?[\d.]+", re.findall(r"translate\((.*?)\)", text.get("transform", ""))[0])
        return float(x), float(y)

    @property
    def dashed(self) -> list[list[tuple[float, float]]]:
        """Points of the dashed lines that mark a level: a reference, or a budget."""
        paths = [p for p in self.root.iter(f"{SVG}path") if "stroke-dasharray: 3,3" in (p.get("style") or "")]
        return [points(path) for path in paths]


def points(path: Element) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML] (\S+) (\S+)", path.get("d", ""))]


@pytest.fixture
def drawing() -> type[Drawing]:
    return Drawing
