"""Drawings for the report: SVG as text, coloured by the page's style sheet, so that they follow light and dark."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

WIDTH = 430.0
LEFT, RIGHT, TOP, BOTTOM = 38.0, 96.0, 26.0, 36.0
NODE, MARGIN = 15.0, 54.0

SHORT = {
    "skip_connect": "skip",
    "nor_conv_1x1": "conv 1x1",
    "nor_conv_3x3": "conv 3x3",
    "avg_pool_3x3": "avg pool 3x3",
}
"""Names of operations as a drawing has room for them."""


METRICS = {"loss": ("loss", 1.0), "score": ("accuracy (%)", 100.0)}
"""What is drawn over epochs: its axis, and the factor to the axis's unit."""

SPLITS = {"train": "train", "val": "validation"}


@dataclass(frozen=True)
class Line:
    """One curve. points: (x, y), x increasing.  style: its class in the style sheet."""

    name: str
    points: Sequence[tuple[float, float]]
    style: str


def short(option: object) -> str:
    """Return an option as a drawing writes it.

    >>> short("nor_conv_3x3"), short("dil_conv"), short(32)
    ('conv 3x3', 'dil conv', '32')
    """
    return SHORT.get(str(option), str(option).replace("_", " "))


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about `count` round numbers within low to high; one where both are the same.

    >>> ticks(0.0, 1.61), ticks(1, 12), ticks(3, 3)
    ([0.0, 0.5, 1.0, 1.5], [2.0, 4.0, 6.0, 8.0, 10.0, 12.0], [3])
    """
    if high <= low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= rough * 0.75)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move places apart to at least `gap`, in order, within low to high where there is room.

    >>> spread([10.0, 10.0, 40.0], 12.0, 0.0, 50.0)
    [4.0, 16.0, 40.0]
    """
    order = sorted(range(len(places)), key=lambda k: places[k])
    groups: list[list[float]] = []  # centre, members
    for k in order:
        groups.append([places[k], 1])
        while len(groups) > 1 and groups[-1][0] - groups[-2][0] < gap * (groups[-1][1] + groups[-2][1]) / 2:
            (b, m), (a, n) = groups.pop(), groups.pop()
            groups.append([(a * n + b * m) / (n + m), n + m])
        half = gap * (groups[-1][1] - 1) / 2
        groups[-1][0] = min(max(groups[-1][0], low + half), max(high - half, low + half))
    moved = [centre + gap * (i - (n - 1) / 2) for centre, n in groups for i in range(int(n))]
    return [place for _, place in sorted(zip(order, moved, strict=True))]


def chart(
    lines: Sequence[Line],
    *,
    title: str,
    unit: str,
    base: float | None = None,
    references: Mapping[str, float] | None = None,
    height: float = 236.0,
) -> Markup:
    """Draw curves over epochs, each labelled at its end.

    title: for those who cannot see it.  unit: name and unit of the upright axis.  base: a value the axis starts at.
    references: label -> value of a dashed line across.
    """
    levels = dict(references or {})
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points] + list(levels.values()) + ([] if base is None else [base])
    low, high = min(ys), max(ys)
    # curves that are flat but for rounding are not blown up
    pad = 0.06 * (high - low) if high - low > 0.01 * abs(high) else 0.05 * abs(high) or 1.0
    frame = Frame(min(xs), max(xs), low if base is not None else low - pad, high + pad, height)
    parts = [*_axes(frame, unit), *_references(frame, levels), *map(frame.curve, lines), *_ends(frame, lines)]
    return svg(parts, height, title)


def curves(epochs: Sequence[Mapping[str, Any]], what: str) -> list[Markup]:
    """Draw loss and accuracy over epochs; what a strategy does not measure is left out."""
    drawn = []
    for metric, (unit, factor) in METRICS.items():
        names = {split: f"{split}_{metric}" for split in SPLITS}
        points = {s: [(e["epoch"], factor * e[n]) for e in epochs if n in e] for s, n in names.items()}
        lines = [Line(SPLITS[s], p, s) for s, p in points.items() if p]
        if lines:
            drawn.append(chart(lines, title=f"{unit} in each epoch of {what}", unit=unit))
    return drawn


def bands(
    rows: Mapping[str, Sequence[object]], epochs: Sequence[int], styles: Mapping[object, str], title: str
) -> Markup:
    """Draw which option each decision (a row) preferred at each epoch, as bands of colour."""
    height = 20.0 * len(rows) + 8 + BOTTOM
    frame = Frame(epochs[0] - 0.5, epochs[-1] + 0.5, 0, 1, height, top=6)
    parts = []
    for k, (name, options) in enumerate(rows.items()):
        y = 6 + 20.0 * k
        parts.append(text(LEFT - 7, y + 12, name, "tick end"))
        at = 0
        for option, run in itertools.groupby(options):
            n = len(list(run))
            x, right = frame.x(epochs[at] - 0.5), frame.x(epochs[at + n - 1] + 0.5)
            span = f"epoch {epochs[at]}" if n == 1 else f"epochs {epochs[at]} to {epochs[at + n - 1]}"
            tip = f"<title>{escape(name)}: {escape(short(option))}, {span}</title>"
            box = f'x="{x:.1f}" y="{y}" width="{right - x:.1f}" height="16"'
            parts.append(f'<rect class="band {styles.get(option, "")}" {box}>{tip}</rect>')
            at += n
        parts.append(text(WIDTH - RIGHT + 7, y + 12, short(options[-1]), "end-label"))
    return svg([*parts, *epoch_axis(frame, epochs[0], epochs[-1])], height, title)


def cell(edges: Mapping[tuple[int, int], str], live: Iterable[tuple[int, int]], styles: Mapping[object, str]) -> Markup:
    """Draw a cell: nodes in a row, an arrow for each edge. Operations outside `live` are grey and dashed."""
    nodes, alive = max(target for _, target in edges) + 1, set(live)
    gap = 122.0 if nodes > 2 else 244.0
    width = gap * (nodes - 1) + 2 * (NODE + MARGIN)
    at = [NODE + MARGIN + gap * k for k in range(nodes)]
    above = max((_rise(i, j) for i, j in edges if i % 2 == 0), default=0)
    below = max((_rise(i, j) for i, j in edges if i % 2), default=0)
    y = max(above, NODE) + 22
    height = y + max(below, NODE) + 24
    parts: list[str] = []
    for (i, j), option in sorted(edges.items(), key=lambda edge: edge[1] != "none"):
        style = f"edge {styles.get(option, '')}" + ("" if (i, j) in alive or option == "none" else " dead")
        parts.append(f'<g class="{style}">{_arrow(at[i], at[j], y, _bend(i, j))}</g>')
    for (i, j), option in edges.items():
        dead = option != "none" and (i, j) not in alive
        style = f"label {styles.get(option, '')}{' dead' if dead else ''}"
        label_y = y + _rise(i, j) + 17 if _bend(i, j) > 0 else y - _rise(i, j) - 9
        parts.append(text((at[i] + at[j]) / 2, label_y, short(option), f"{style} middle halo"))
    for k, x in enumerate(at):
        parts.append(f'<circle class="node" cx="{x:.1f}" cy="{y}" r="{NODE}"/>' + text(x, y + 4, k, "number middle"))
    parts += [text(at[0] - NODE - 6, y + 4, "input", "tick end"), text(at[-1] + NODE + 6, y + 4, "output", "tick")]
    said = ", ".join(f"{i} to {j} {short(option)}" for (i, j), option in edges.items())
    return svg(parts, height, f"The chosen cell: {said}", width)


@dataclass(frozen=True)
class Frame:
    """Where numbers are in a drawing: from x_low to x_high between the margins, from y_low to y_high above the axis."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    height: float
    top: float = TOP
    left: float = LEFT
    right: float = RIGHT

    def x(self, value: float) -> float:
        wide = WIDTH - self.left - self.right
        if self.x_high <= self.x_low:
            return self.left + wide / 2
        return self.left + wide * (value - self.x_low) / (self.x_high - self.x_low)

    def y(self, value: float) -> float:
        bottom = self.height - BOTTOM
        return bottom - (bottom - self.top) * (value - self.y_low) / (self.y_high - self.y_low)

    def curve(self, line: Line) -> str:
        places = [(self.x(x), self.y(y)) for x, y in line.points]
        tip = f"<title>{escape(line.name)}</title>"
        if len(places) == 1:  # one epoch makes no line
            [(x, y)] = places
            return f'<circle class="dot {line.style}" cx="{x:.1f}" cy="{y:.1f}" r="3.5">{tip}</circle>'
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        return f'<polyline class="curve {line.style}" points="{path}">{tip}</polyline>'


def _axes(frame: Frame, unit: str) -> list[str]:
    return [*upright(frame, unit), *epoch_axis(frame, frame.x_low, frame.x_high)]


def upright(frame: Frame, unit: str) -> list[str]:
    """Return the upright axis: its name, its marks, and a line across at each."""
    parts = [text(0, 12, unit, "tick")]
    marks = ticks(frame.y_low, frame.y_high)
    places = max((len(f"{mark:g}".partition(".")[2]) for mark in marks), default=0)
    for mark in marks:
        y = frame.y(mark)
        parts.append(f'<line class="grid" x1="{frame.left}" x2="{WIDTH - frame.right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(text(frame.left - 7, y + 4, f"{mark:.{places}f}", "tick end"))
    return parts


def epoch_axis(frame: Frame, first: float, last: float) -> list[str]:
    """Return the lower axis, marked with whole epochs."""
    y = frame.height - BOTTOM
    marks = sorted({first, *(m for m in ticks(first, last) if m == int(m) and m - first > (last - first) / 12)})
    parts = [f'<line class="axis" x1="{frame.left}" x2="{WIDTH - frame.right}" y1="{y:.1f}" y2="{y:.1f}"/>']
    for mark in marks:
        x = frame.x(mark)
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{y:.1f}" y2="{y + 4:.1f}"/>')
        parts.append(text(x, y + 17, f"{mark:g}", "tick middle"))
    return [*parts, text(WIDTH - frame.right + 15, y + 17, "epoch", "tick")]


def _references(frame: Frame, levels: Mapping[str, float]) -> list[str]:
    parts = []
    for label, value in levels.items():
        y = frame.y(value)
        parts.append(f'<line class="reference" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(text(WIDTH - RIGHT, y - 6, label, "tick end"))
    return parts


def _ends(frame: Frame, lines: Sequence[Line]) -> list[str]:
    """Label every curve at its last point, with a hair line to labels that had to move."""
    ends = [(frame.x(line.points[-1][0]), frame.y(line.points[-1][1])) for line in lines]
    places = spread([y for _, y in ends], 14.0, frame.top + 4, frame.height - BOTTOM - 4)
    parts = []
    for line, (x, y), place in zip(lines, ends, places, strict=True):
        hair = f'x1="{x + 3:.1f}" y1="{y:.1f}" x2="{WIDTH - RIGHT + 8}" y2="{place:.1f}"'
        parts.append(f'<line class="hair {line.style}" {hair}/>')
        parts.append(text(WIDTH - RIGHT + 11, place + 4, line.name, f"end-label {line.style}"))
    return parts


def _bend(source: int, target: int) -> float:
    """Return how far, and to which side, an edge leaves the row of nodes: its control points' offset."""
    return 0.0 if target - source == 1 else (-1 if source % 2 == 0 else 1) * 60.0 * (target - source - 1)


def _rise(source: int, target: int) -> float:
    return abs(_bend(source, target)) * 0.75  # a cubic curve reaches three quarters of its control points' offset


def _arrow(x1: float, x2: float, y: float, bend: float) -> str:
    lean = (x2 - x1) * 0.14
    c1, c2 = (x1 + lean, y + bend), (x2 - lean, y + bend)
    length = math.hypot(lean, bend)
    ux, uy = lean / length, bend / length  # the way out of the first node, and mirrored into the second
    sx, sy = x1 + ux * NODE, y + uy * NODE
    tx, ty = x2 - ux * (NODE + 1), y + uy * (NODE + 1)
    bx, by = tx - ux * 8, ty + uy * 8
    line = f'<path d="M{sx:.1f},{sy:.1f} C{c1[0]:.1f},{c1[1]:.1f} {c2[0]:.1f},{c2[1]:.1f} {bx:.1f},{by:.1f}"/>'
    head = f"{tx:.1f},{ty:.1f} {bx + uy * 4:.1f},{by + ux * 4:.1f} {bx - uy * 4:.1f},{by - ux * 4:.1f}"
    return f'{line}<polygon points="{head}"/>'


def text(x: float, y: float, words: object, style: str) -> str:
    """Return words at a place. style: their classes in the style sheet."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}">{escape(words)}</text>'


def svg(parts: Iterable[str], height: float, title: str, width: float = WIDTH) -> Markup:
    """Return a drawing of its parts. title: for those who cannot see it."""
    box = f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(title)}"'
    return Markup(f'<svg xmlns="http://www.w3.org/2000/svg" {box}>{"".join(parts)}</svg>')
