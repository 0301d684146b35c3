"""The drawing system of all reports: matplotlib, in the colours of the page's style sheet.

A figure is SVG that stands in a page, with text as text and colours as the style sheet's variables, so that it follows
light and dark; and the same as PNG where a page lays its figures beside it. Images and points of large scatters are
pixels in both. The same numbers give the same bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup, escape

if TYPE_CHECKING:  # it takes half a second to load, so that only drawing loads it
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER, INK, SOFT, RULE = "#fdfcfa", "#1c2126", "#626970", "#dedbd4"

HUES = ("#8a8f96", "#2a8c84", "#1f5f99", "#b07d1e", "#8a5a9e", "#a8503f", "#5e7a2e", "#4d5a8f")
"""The colours --c0 to --c7 of the style sheet."""

COLOURS = tuple(HUES[k] for k in (2, 3, 1, 4, 5, 6))
"""Colours and dashes of curves, in order; the dashes help readers who see fewer colours."""

DASHES: dict[str, Any] = dict(
    zip(
        COLOURS,
        ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (7, 2, 1.5, 2)), (0, (4, 1, 1, 1, 1, 1)), (0, (1, 1))),
        strict=True,
    )
)

CLOUDS = ("#4f8fc9", "#c08f35", "#3f9f97", "#a173b5")
"""Of what is pixels: light enough for a dark page, dark enough for a light one."""

VARIABLES = {PAPER: "--paper", INK: "--ink", SOFT: "--soft", RULE: "--rule"} | {
    c: f"--c{k}" for k, c in enumerate(HUES)
}
"""Colour -> variable of the page's style sheet."""

WIDTH, LETTERS = 360, 10.5
"""Of every figure and its letters, in units: 72 are an inch, and one is a pixel where a page is 390 pixels wide."""

STYLE: dict[Any, Any] = {
    **dict.fromkeys(("font.size", "axes.labelsize"), LETTERS),
    **dict.fromkeys(("text.color", "axes.titlecolor"), INK),
    **dict.fromkeys(("axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), SOFT),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
    **dict.fromkeys(("axes.grid", "axes.axisbelow"), True),
    "axes.titlesize": 11.0,
    "axes.titlelocation": "left",
    "axes.titlepad": 9.0,
    "axes.facecolor": "none",
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "svg.fonttype": "none",
}


@dataclass(frozen=True)
class Picture:
    """A figure. svg: to stand in a page, as which a template takes it."""

    title: str
    svg: Markup
    figure: Figure = field(repr=False, compare=False)

    def __html__(self) -> str:
        return self.svg

    @property
    def name(self) -> str:
        """The name of its file, without an ending."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")

    @property
    def png(self) -> bytes:
        """The same on paper, for everything but a page."""
        with _settings(self.title):
            self.figure.savefig(
                target := io.BytesIO(), format="png", dpi=200, facecolor=PAPER, metadata={"Software": None}
            )
        return target.getvalue()


@dataclass(frozen=True)
class Line:
    """One curve. points: (x, y), x increasing."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: str = SOFT


def draw(title: str, paint: Callable[[Axes], object], *, height: float = 240, head: str | None = None) -> Picture:
    """Return what `paint` draws.

    title: what it shows, for those who cannot see it.  head: what stands above it; its title if not given.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, ScalarFormatter, StrMethodFormatter

    with _settings(title):
        figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72, facecolor="none", layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(title if head is None else head, color=INK if head is None else SOFT)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        paint(axes)
        for axis in (axes.xaxis, axes.yaxis):
            if isinstance(axis.get_major_formatter(), ScalarFormatter):  # neither names nor powers of ten
                axis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
        figure.set_dpi(156)  # of what is pixels; unlike `savefig`, what follows draws once
        canvas: Any = FigureCanvasSVG(figure)  # its methods have no types
        canvas.print_svg(svg := io.StringIO(), metadata={"Date": None})
        figure.set_layout_engine("none")  # each drawing after this one would move things a little
    return Picture(title, _embedded(svg.getvalue(), title), figure)


def chart(
    lines: Sequence[Line], title: str, unit: str, *, base: float | None = None, known: Mapping[str, float] | None = None
) -> Picture:
    """Draw curves over epochs, each named at its end.

    unit: of the upright axis, and its name.  base: where it starts.  known: label -> value of a dashed line across.
    """
    xs, ys = zip(*(point for line in lines for point in line.points), strict=True)
    ys += (*(known or {}).values(), *(() if base is None else (base,)))

    def paint(axes: Axes) -> None:
        for line in lines:
            dash, mark = DASHES.get(line.colour, "-"), "o" if len(line.points) == 1 else ""  # one epoch makes no line
            points = zip(*line.points, strict=True)
            axes.plot(*points, marker=mark, color=line.colour, linestyle=dash, linewidth=1.6, gid=tip(line.name))
        low, high = room(ys, flat=0.01)
        axes.set_ylim(low if base is None else base, high)
        epoch_axis(axes, min(xs), max(xs))
        levels(axes, known or {})
        ends(axes, lines)

    return draw(title, paint, height=max(190, 13 * len(lines) + 62), head=unit)


def tip(words: str) -> str:
    """Return what an element's `gid` must be for a page to show these words beside it."""
    return f"tip {words}"


def room(values: Sequence[float], *, flat: float = 0.0) -> tuple[float, float]:
    """Return the limits of an axis. flat: a spread below this share is rounding, and is not blown up.

    >>> room([90.0, 100.0]), room([2.0, 2.0]), room([])
    ((89.4, 100.6), (1.9, 2.1), (-0.06, 1.06))
    """
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    pad = 0.06 * (high - low) if high - low > flat * abs(high) else 0.05 * abs(high) or 1.0
    return low - pad, high + pad


def epoch_axis(axes: Axes, first: float, last: float, margin: float = 0.0) -> None:
    """Mark the lower axis with whole epochs, the first among them."""
    from matplotlib.ticker import MaxNLocator

    marks = MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]).tick_values(first, last)
    axes.set_xticks([first, *(m for m in marks if (last - first) / 12 < m - first <= last - first)])
    if last > first or margin:
        axes.set_xlim(first - margin, last + margin)
    axes.set_xlabel("epoch")


def levels(axes: Axes, known: Mapping[str, float]) -> None:
    """Draw dashed lines across, named at their beginning."""
    for label, value in known.items():
        axes.axhline(value, color=SOFT, linewidth=1, linestyle=(0, (3, 3)))
        axes.text(0.01, value, label, color=SOFT, va="bottom", transform=axes.get_yaxis_transform())


def bare(axes: Axes, names: Sequence[str], places: Sequence[float] = ()) -> None:
    """Name rows without a frame, the first on top. places: of the names, where not each row has one."""
    axes.set_yticks(list(places) or range(len(names)), names)
    axes.set_ylim(*sorted(axes.get_ylim(), reverse=True))
    axes.grid(visible=False)
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)


def ends(axes: Axes, lines: Sequence[Line]) -> None:
    """Name every curve at its last point, names that would touch moved apart."""
    bottom, top = axes.get_ylim()
    known = [(line, last[-1]) for line in lines if (last := [p for p in line.points if np.isfinite(p[1])])]
    gap = (LETTERS + 2) / axes.bbox.height
    places = spread([(y - bottom) / (top - bottom) for _, (_, y) in known], gap, 0.0, 1.0)
    for (line, end), place in zip(known, places, strict=True):
        axes.annotate(
            line.name,
            xy=end,
            xytext=(1.03, place),
            textcoords="axes fraction",
            color=line.colour,
            va="center",
            arrowprops={"arrowstyle": "-", "color": line.colour, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 0},
        )


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


@contextmanager
def _settings(title: str) -> Iterator[None]:
    """Draw by our settings and by none of the user's; leave theirs as they were."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        # ids in the SVG are hashes: salted by the title, those of two figures in a page differ
        matplotlib.rcParams.update({**STYLE, "svg.hashsalt": f"renascent {title}"})
        yield


def _embedded(svg: str, title: str) -> Markup:
    """Return a drawing as an element of a page: its colours are the page's, and it says what it shows."""
    drawing = svg[svg.index("<svg") :]
    # its own style sheet would hold for the whole page
    drawing = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r"font-family: [^;\"]*", "font-family: inherit", drawing)
    drawing = re.sub(r'<g id="tip ([^"]*)">', r"<g><title>\1</title>", re.sub(r"\n\s*", " ", drawing))
    # places to a hundredth are enough; numbers that are read stay as they are
    drawing = re.sub(r'="[^"]*"', lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), drawing)
    used = set(re.findall(r"#(\w+)", drawing))
    drawing = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", drawing)
    for colour, variable in VARIABLES.items():
        drawing = drawing.replace(colour, f"var({variable}, {colour})")
    about = f'role="img" aria-label="{escape(title)}" stroke-linejoin="round"'
    return Markup(drawing.replace("<svg ", f"<svg {about} ", 1))
