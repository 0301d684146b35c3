"""Figures of benchmark reports: curves with bands, scatters, rankings and correlations, drawn by matplotlib.

Each comes twice: as SVG to stand in a page, coloured by the page's style sheet so that it follows light and dark, and
as PNG to be used elsewhere. Points of large scatters are pixels in both. The same numbers give the same bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import ArrayLike, NDArray

from renascent.reports.figures import spread

if TYPE_CHECKING:  # it takes a second to load, so that only drawing loads it
    from matplotlib.axes import Axes

PAPER, INK, SOFT, RULE = "#fdfcfa", "#1c2126", "#626970", "#dedbd4"

COLOURS = ("#1f5f99", "#b07d1e", "#2a8c84", "#8a5a9e", "#a8503f", "#5e7a2e")
"""Of curves, in their order; the dashes differ as well, for those who see fewer colours."""

DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (7, 2, 1.5, 2)), (0, (4, 1, 1, 1, 1, 1)), (0, (1, 1)))

CLOUDS = ("#4f8fc9", "#c08f35", "#3f9f97", "#a173b5")
"""Of points that are pixels: light enough for a dark page, dark enough for a light one."""

VARIABLES = {
    PAPER: "--paper",
    INK: "--ink",
    SOFT: "--soft",
    RULE: "--rule",
    **dict(zip(COLOURS, ("--c2", "--c3", "--c1", "--c4", "--c5", "--c6"), strict=True)),
}
"""Colour -> variable of the page's style sheet."""

MANY = 2000
"""Points from which on a scatter is drawn as pixels."""

STYLE: dict[Any, Any] = {
    **dict.fromkeys(("font.size", "axes.labelsize"), 11.5),
    **dict.fromkeys(("text.color", "axes.titlecolor"), INK),
    **dict.fromkeys(("axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), SOFT),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
    **dict.fromkeys(("axes.grid", "axes.axisbelow"), True),
    "axes.titlesize": 12.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 10.0,
    "axes.facecolor": "none",
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "svg.fonttype": "none",
}


@dataclass(frozen=True)
class Picture:
    """A figure. svg: to stand in a page.  png: the same on paper, for everything else."""

    title: str
    svg: Markup
    png: bytes

    @property
    def name(self) -> str:
        """The name of its file, without an ending.

        >>> Picture("Accuracy over time: cifar10 (12 epochs)", Markup(), b"").name
        'accuracy-over-time-cifar10-12-epochs'
        """
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


Curve = tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike]
"""x, and at each x the mean, the lower and the upper end of its band; NaN where nothing is known."""


def bands(
    curves: Mapping[str, Curve],
    xlabel: str,
    ylabel: str,
    title: str,
    references: Mapping[str, float] | None = None,
    *,
    log_x: bool = False,
) -> Picture:
    """Draw a mean over time for each name, with a band around it.

    references: label -> value of a dashed line across.  log_x: time in powers of ten.

    The upright axis holds what is there after the first twentieth of the time: the first few trials are much lower,
    and would leave no room for the rest.
    """
    held = {name: [np.asarray(part, dtype=float) for part in curve] for name, curve in curves.items()}
    levels = dict(references or {})

    def paint(axes: Axes) -> None:
        for k, (name, (x, mean, low, high)) in enumerate(held.items()):
            colour = COLOURS[k % len(COLOURS)]
            axes.fill_between(x, low, high, color=colour, alpha=0.14, linewidth=0)
            axes.plot(x, mean, color=colour, linestyle=DASHES[k % len(DASHES)], linewidth=1.8, label=name)
        if log_x:
            axes.set_xscale("log")
        axes.set_xlim(min(np.min(x) for x, *_ in held.values()), max(np.max(x) for x, *_ in held.values()))
        axes.set_ylim(*_settled(list(held.values()), list(levels.values())))
        axes.set(xlabel=xlabel, ylabel=ylabel)
        _references(axes, levels)
        _ends(axes, {name: (x, mean) for name, (x, mean, _, _) in held.items()})

    return _draw(title, paint)


def scatter(
    x: ArrayLike,
    y: ArrayLike,
    xlabel: str,
    ylabel: str,
    title: str,
    *,
    front: NDArray[np.bool_] | None = None,
    marked: Mapping[str, int] | None = None,
    log_x: bool = False,
) -> Picture:
    """Draw a point for each architecture, (n,) each.

    front: those on the Pareto front, joined by steps.  marked: label -> a point to be named.

    An axis leaves out its lowest twentieth where that would take most of the room; the figure says how many these are.
    """
    across, up = np.asarray(x, dtype=float), np.asarray(y, dtype=float)

    def paint(axes: Axes) -> None:
        _cloud(axes, across, up, CLOUDS[0])
        if log_x:
            axes.set_xscale("log")
        hidden = np.zeros(len(up), dtype=bool)
        for values, limit in ((across, axes.set_xlim), (up, axes.set_ylim)):
            if (least := _least(values)) is not None:
                least -= 0.04 * (values.max() - least)
                limit(least)
                hidden |= values < least
        if front is not None and front.any():
            order = np.argsort(across[front], kind="stable")
            points = across[front][order], up[front][order]
            axes.plot(*points, color=COLOURS[4], linewidth=1.3, drawstyle="steps-post")
            axes.plot(*points, "o", color=COLOURS[4], markersize=4, label="Pareto front")
        for k, (label, at) in enumerate((marked or {}).items()):
            colour, shape, size = (COLOURS[3], "D", 10) if k == 0 else (COLOURS[1], "s", 6)
            axes.plot(across[at], up[at], shape, color=colour, markersize=size, markeredgecolor=PAPER, label=label)
        words = f"{xlabel}; {hidden.sum():,} lower points lie outside" if hidden.any() else xlabel
        axes.set(xlabel=words, ylabel=ylabel)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="lower right", handletextpad=0.4)

    return _draw(title, paint)


def rankings(base: str, ranks: Mapping[str, ArrayLike], title: str) -> Picture:
    """Draw the rank of each architecture on some data sets against its rank on another, 1 being the best.

    base: the data set across.  ranks: data set -> rank of each architecture (n,); the same order in all.
    """
    across = np.asarray(ranks[base])
    others = {name: np.asarray(rank) for name, rank in ranks.items() if name != base}

    def paint(axes: Axes) -> None:
        for k, (name, rank) in enumerate(others.items()):
            colour = CLOUDS[k % len(CLOUDS)]
            _cloud(axes, across, rank, colour)
            axes.plot([], [], "o", color=colour, markersize=5, label=name)
        axes.plot([1, len(across)], [1, len(across)], color=INK, linewidth=1, label=base)
        axes.set(xlabel=f"rank on {base}", ylabel="rank on the others")
        axes.set_xlim(1, len(across))
        axes.set_ylim(1, len(across))
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0, handletextpad=0.4, handlelength=1.2)

    return _draw(title, paint)


def matrix(names: Sequence[str], values: ArrayLike, title: str) -> Picture:
    """Draw correlations (n, n) from -1 to 1 as a map with numbers in it; NaN stays empty."""
    from matplotlib.patches import Rectangle

    cells = np.asarray(values, dtype=float)

    def paint(axes: Axes) -> None:
        for (i, j), value in np.ndenumerate(cells):
            if np.isfinite(value):
                colour, alpha = COLOURS[0 if value >= 0 else 4], 0.04 + 0.46 * abs(value) ** 2
                axes.add_patch(Rectangle((j - 0.48, i - 0.48), 0.96, 0.96, color=colour, alpha=alpha, linewidth=0))
            words = f"{value:.3f}" if np.isfinite(value) else "-"
            axes.text(j, i, words, ha="center", va="center", color=INK)
        axes.set_xlim(-0.5, len(names) - 0.5)
        axes.set_ylim(len(names) - 0.5, -0.5)
        lean, side = (30, "right") if len(names) > 3 else (0, "center")
        axes.set_xticks(range(len(names)), names, rotation=lean, ha=side)
        axes.set_yticks(range(len(names)), names)
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)

    return _draw(title, paint, height=min(1.4 + 0.55 * len(names), 5.0))


def _draw(title: str, paint: Callable[[Axes], None], *, height: float = 4.0) -> Picture:
    """Return what `paint` draws, 6 inches wide; 72 units of the SVG are an inch."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, ScalarFormatter, StrMethodFormatter

    svg, png = io.StringIO(), io.BytesIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        # ids in the SVG are hashes: salted by the title, those of two figures in a page differ
        matplotlib.rcParams.update({**STYLE, "svg.hashsalt": f"renascent {title}"})
        figure = Figure(figsize=(6.0, height), dpi=72, facecolor=PAPER, layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(title)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        paint(axes)
        for axis in (axes.xaxis, axes.yaxis):
            if isinstance(axis.get_major_formatter(), ScalarFormatter):  # neither names nor powers of ten
                axis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(svg, format="svg", dpi=130, transparent=True, metadata=nothing)
        figure.savefig(png, format="png", dpi=170, metadata={"Software": None})
    return Picture(title, _embedded(svg.getvalue(), title), png.getvalue())


def _embedded(svg: str, title: str) -> Markup:
    """Return a drawing as an element of a page: its colours are the page's, and it says what it shows."""
    drawing = svg[svg.index("<svg") :]
    # its own style sheet would hold for the whole page
    drawing = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r"font-family: [^;\"]*", "font-family: inherit", drawing)
    used = set(re.findall(r"#(\w+)", drawing))
    drawing = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", drawing)
    for colour, variable in VARIABLES.items():
        drawing = drawing.replace(colour, f"var({variable}, {colour})")
    about = f'role="img" aria-label="{escape(title)}" stroke-linejoin="round"'
    return Markup(drawing.replace("<svg ", f"<svg {about} ", 1))


def _cloud(axes: Axes, x: NDArray[Any], y: NDArray[Any], colour: str) -> None:
    many = len(x) > MANY
    size, alpha = (3.0, 0.25) if many else (14.0, 0.6)
    axes.scatter(x, y, s=size, color=colour, alpha=alpha, linewidths=0, rasterized=many)


def _least(values: NDArray[Any]) -> float | None:
    """Return where an axis is to begin; None where it may begin at the lowest value."""
    if len(values) < 20:
        return None
    bulk = float(np.quantile(values, 0.05))
    return bulk if bulk - values.min() > 0.4 * (values.max() - values.min()) else None


def _settled(curves: Sequence[Sequence[NDArray[Any]]], levels: Sequence[float]) -> tuple[float, float]:
    """Return the limits of the upright axis."""
    seen = list(levels)
    for x, mean, low, high in curves:
        late = x >= x[0] + 0.05 * (x[-1] - x[0])
        told = np.concatenate([part[late & np.isfinite(part)] for part in (mean, low, high)])
        seen += [float(told.min()), float(told.max())] if len(told) else []
    low_end, high_end = (min(seen), max(seen)) if seen else (0.0, 1.0)
    room = 0.06 * (high_end - low_end) or 0.05 * abs(high_end) or 1.0
    return low_end - room, high_end + room


def _references(axes: Axes, levels: Mapping[str, float]) -> None:
    for label, value in levels.items():
        axes.axhline(value, color=SOFT, linewidth=1, linestyle=(0, (3, 3)))
        place = axes.get_yaxis_transform()
        axes.text(0.01, value, label, color=SOFT, va="bottom", transform=place, fontsize=10.5)


def _ends(axes: Axes, lines: Mapping[str, tuple[NDArray[Any], NDArray[Any]]]) -> None:
    """Name every curve at its last point, names that would touch moved apart."""
    bottom, top = axes.get_ylim()
    known = {name: (x[ok], y[ok]) for name, (x, y) in lines.items() if (ok := np.isfinite(y)).any()}
    ends = {name: (float(x[-1]), float(y[-1])) for name, (x, y) in known.items()}
    heights = [(y - bottom) / (top - bottom) for _, y in ends.values()]
    places = spread(heights, 0.065, 0.0, 1.0)
    for (name, end), place in zip(ends.items(), places, strict=True):
        colour = COLOURS[list(lines).index(name) % len(COLOURS)]
        axes.annotate(
            name,
            xy=end,
            xytext=(1.03, place),
            textcoords="axes fraction",
            color=colour,
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 0},
        )
