"""Drawings of sizes: before and after, over a search, and what they cost; SVG as text, as in `figures`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from renascent.reports.figures import (
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Frame,
    epoch_axis,
    spread,
    svg,
    text,
    ticks,
    upright,
)

NARROW = 12.0
"""Right margin of drawings without labels there."""

LABEL = 20
"""Letters of a decision's name that a drawing has room for."""

SHADES, BINS = 10, 48
"""Depths of colour in a heat map, and columns at most: neighbouring epochs come together."""

ROWS = 26
"""More rows than this have no names of their own."""


@dataclass(frozen=True)
class Size:
    """One decision. before: of the reference.  after: of what was found; None where it is not there any more."""

    name: str
    before: float
    after: float | None


@dataclass(frozen=True)
class Dots:
    """Points (x, y) of one kind. style: its class in the style sheet.  names: beside each point.  joined: by a line."""

    name: str
    points: Sequence[tuple[float, float]]
    style: str
    names: Sequence[str] = ()
    joined: bool = False


def profile(sizes: Sequence[Size], *, unit: str, title: str, share: bool = False) -> Markup:
    """Draw sizes layer by layer as columns: pale before, full after; only pale where a layer is not there any more.

    share: in times the size before.
    """
    rows = [Size(s.name, 1.0, s.after and s.after / s.before) for s in sizes] if share else sizes
    high = max(max(row.before, row.after or 0) for row in rows)
    frame = Frame(0, 1, 0, 1.04 * high, 236.0, right=NARROW)
    wide = (WIDTH - LEFT - NARROW) / len(rows)
    parts = upright(frame, unit)
    for k, (row, size) in enumerate(zip(rows, sizes, strict=True)):
        now = "left out" if size.after is None else f"{size.after:g}"
        bars = [_column(frame, k, wide, row.before, "before" + (" gone" if row.after is None else ""))]
        bars += [] if row.after is None else [_column(frame, k, wide, row.after, "after")]
        tip = f"<title>{escape(size.name)}: {size.before:g}, now {now}</title>"
        parts.append(f"<g>{tip}{''.join(bars)}</g>")
    y = frame.height - BOTTOM
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - NARROW}" y1="{y:.1f}" y2="{y:.1f}"/>')
    return svg([*parts, *_stages([s.name for s in sizes], y, wide)], frame.height, title)


def across(sizes: Sequence[Size], title: str) -> Markup:
    """Draw a few sizes, such as depths, as bars across: pale before, full after."""
    left, right, gap = 130.0, 96.0, 26.0
    parts = []
    for k, size in enumerate(sizes):
        y, after = 8 + gap * k, size.after or 0
        unit = (WIDTH - left - right) / max(size.before, after)
        parts.append(text(left - 8, y + 13, _named(size.name), "tick end"))
        for style, value in (("before", size.before), ("after", after)):
            parts.append(
                f'<rect class="{style}" x="{left}" y="{y:.1f}" width="{max(unit * value, 0.1):.1f}" height="18"/>'
            )
        parts.append(text(WIDTH - right + 8, y + 13, f"{after:g} of {size.before:g}", "tick"))
    return svg(parts, gap * len(sizes) + 10, title)


def heat(rows: Mapping[str, Sequence[float]], epochs: Sequence[int], *, high: float, unit: str, title: str) -> Markup:
    """Draw a number of each decision (a row) at each epoch, the larger the darker. high: of the darkest.

    Of hundreds of epochs, neighbouring ones are drawn as their mean; so are shades a few.
    """
    left = 150.0 if len(rows) <= ROWS else 84.0
    tall = 14.0 if len(rows) <= ROWS else max(2.4, 364.0 / len(rows))
    height = TOP + tall * len(rows) + 6 + BOTTOM
    frame = Frame(epochs[0] - 0.5, epochs[-1] + 0.5, 0, 1, height, left=left, right=56.0)
    shades: dict[int, list[str]] = {}
    edges = _edges(epochs)
    for k, (name, values) in enumerate(rows.items()):
        assert len(values) == len(epochs), name
        for shade, start, end in _runs(values, edges, high):
            x, right = frame.x(epochs[start] - 0.5), frame.x(epochs[end - 1] + 0.5)
            shades.setdefault(shade, []).append(f"M{x:.1f},{TOP + tall * (k + 0.5):.1f}h{right - x:.1f}")
    parts = [text(0, 12, unit, "tick"), *_key(high)]
    for shade, runs in sorted(shades.items()):
        style = f'stroke-width="{tall:.2f}" stroke-opacity="{max(shade / SHADES, 0.04):.2f}"'
        parts.append(f'<path class="heat" {style} d="{"".join(runs)}"/>')
    parts += _names(list(rows), left, tall)
    return svg([*parts, *epoch_axis(frame, epochs[0], epochs[-1])], height, title)


def scatter(series: Sequence[Dots], *, title: str, x_unit: str, y_unit: str, limit: float | None = None) -> Markup:
    """Draw points in a plane. limit: where a dashed line goes upright."""
    xs = [x for dots in series for x, _ in dots.points] + ([] if limit is None else [limit])
    ys = [y for dots in series for _, y in dots.points]
    pad = 0.1 * (max(ys) - min(ys)) or 1.0
    frame = Frame(0, 1.04 * max(xs), min(ys) - pad, max(ys) + pad, 260.0)
    parts = [*upright(frame, y_unit), *_across_axis(frame, x_unit)]
    if limit is not None:
        x = frame.x(limit)
        parts.append(
            f'<line class="reference" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{frame.height - BOTTOM:.1f}"/>'
            + text(x + 4, TOP + 2, "budget", "tick")
        )
    for dots in series:
        places = [(frame.x(x), frame.y(y)) for x, y in dots.points]
        if dots.joined and len(places) > 1:
            line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            parts.append(f'<polyline class="curve thin {dots.style}" points="{line}"/>')
        for k, (x, y) in enumerate(places):
            tip = dots.names[k] if dots.names else dots.name
            tip = f"<title>{escape(tip)}: {_short(dots.points[k][0])}, {dots.points[k][1]:.2f}</title>"
            parts.append(f'<circle class="dot {dots.style}" cx="{x:.1f}" cy="{y:.1f}" r="4">{tip}</circle>')
    return svg([*parts, *_legend(frame, series)], frame.height, title)


def _column(frame: Frame, k: int, wide: float, value: float, style: str) -> str:
    thick = wide * (0.84 if wide > 4 else 1.0)
    x, y = LEFT + wide * k + (wide - thick) / 2, frame.y(value)
    tall = frame.height - BOTTOM - y
    return f'<rect class="{style}" x="{x:.2f}" y="{y:.1f}" width="{thick:.2f}" height="{tall:.1f}"/>'


def _stages(names: Sequence[str], y: float, wide: float) -> Iterator[str]:
    """Name runs of decisions that begin alike, where there is room."""
    at = 0
    for stage, run in itertools.groupby(names, key=lambda name: name.partition(".")[0]):
        count = len(list(run))
        x, right = LEFT + wide * at, LEFT + wide * (at + count)
        yield f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{y:.1f}" y2="{y + 4:.1f}"/>'
        if right - x > 7 * len(stage):
            yield text((x + right) / 2, y + 17, stage, "tick middle")
        at += count


def _names(names: Sequence[str], left: float, tall: float) -> Iterator[str]:
    """Name every row; where there are many, runs of them that begin alike."""
    if len(names) <= ROWS:
        for k, name in enumerate(names):
            yield text(left - 7, TOP + tall * (k + 0.5) + 4, _named(name), "tick end")
        return
    at, free = 0, TOP
    for stage, run in itertools.groupby(names, key=lambda name: name.partition(".")[0]):
        count = len(list(run))
        middle = TOP + tall * (at + count / 2)
        if middle - 6 >= free:
            yield text(left - 7, middle + 4, _named(stage, 12), "tick end")
            free = middle + 7
        at += count


def _named(name: str, most: int = LABEL) -> str:
    return name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-most // 2 :]}"


def _edges(epochs: Sequence[int]) -> list[int]:
    """Return where bins of epochs begin, and the end of the last."""
    count = min(BINS, len(epochs))
    return [len(epochs) * k // count for k in range(count + 1)]


def _runs(values: Sequence[float], edges: Sequence[int], high: float) -> Iterator[tuple[int, int, int]]:
    """Return (shade, first, end) of neighbouring bins that look the same."""
    bins = [values[a:b] for a, b in itertools.pairwise(edges)]
    shades = [min(SHADES, max(0, round(SHADES * sum(b) / len(b) / high))) for b in bins]
    at = 0
    for shade, run in itertools.groupby(shades):
        count = len(list(run))
        yield shade, edges[at], edges[at + count]
        at += count


def _key(high: float) -> Iterator[str]:
    wide, x = 9.0, WIDTH - 56 - 9.0 * (SHADES + 1)
    yield text(x - 5, 12, "0", "tick end")
    for shade in range(SHADES + 1):
        style = f'stroke-width="10" stroke-opacity="{max(shade / SHADES, 0.04):.2f}"'
        yield f'<path class="heat" {style} d="M{x + wide * shade:.1f},8h{wide:.1f}"/>'
    yield text(WIDTH - 51, 12, f"{high:.3g}", "tick")


def _across_axis(frame: Frame, unit: str) -> Iterator[str]:
    y = frame.height - BOTTOM
    yield f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
    for mark in ticks(frame.x_low, frame.x_high, 4):
        x = frame.x(mark)
        yield f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{y:.1f}" y2="{y + 4:.1f}"/>'
        yield text(x, y + 17, _short(mark), "tick middle")
    yield text(WIDTH - RIGHT + 15, y + 17, unit, "tick")


def _legend(frame: Frame, series: Sequence[Dots]) -> Iterator[str]:
    """Name each kind at its last point, apart from each other."""
    ends = [(frame.x(dots.points[-1][0]), frame.y(dots.points[-1][1])) for dots in series]
    places = spread([y for _, y in ends], 14.0, frame.top + 4, frame.height - BOTTOM - 4)
    for dots, (x, y), place in zip(series, ends, places, strict=True):
        hair = f'x1="{x + 5:.1f}" y1="{y:.1f}" x2="{WIDTH - RIGHT + 8}" y2="{place:.1f}"'
        yield f'<line class="hair {dots.style}" {hair}/>'
        yield text(WIDTH - RIGHT + 11, place + 4, dots.name, f"end-label {dots.style}")


def _short(value: float) -> str:
    """Write a number in a few letters.

    >>> _short(40813184.0), _short(0.25), _short(0)
    ('40.8M', '0.25', '0')
    """
    for suffix, unit in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= unit:
            return f"{float(f'{value / unit:.3g}'):g}{suffix}"
    return f"{value:.3g}" if math.isfinite(value) else str(value)
