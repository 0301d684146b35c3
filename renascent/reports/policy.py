"""Figures of a search for its report: curves over epochs, the entropy of each decision, and the policy's mode."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from renascent.core.thin import has_subsets
from renascent.costs.scaling import is_size_space
from renascent.reports.cell import short
from renascent.reports.entropy import counts, most, subsets
from renascent.reports.plots import COLOURS, HUES, RULE, SOFT, Line, Picture, bare, chart, draw, epoch_axis, tip
from renascent.reports.sizefigures import heat
from renascent.results.epochs import Epoch, SearchEpoch
from renascent.results.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Drawing = tuple[Picture, Markup]
"""A figure and what stands below it."""

FEW = 12
"""More decisions than this have no curves of their own, but rows of colour."""

METRICS = {"loss": ("loss", 1.0), "score": ("accuracy (%)", 100.0)}
"""What is drawn over epochs: its axis, and the factor to the axis's unit."""

SPLITS = {"train": ("train", SOFT), "val": ("validation", COLOURS[0])}
"""Of which data, and in which colour."""


def curves(epochs: Sequence[Epoch], what: str) -> list[Picture]:
    """Draw loss and accuracy over epochs; what a strategy does not measure is left out."""
    drawn = []
    for metric, (unit, factor) in METRICS.items():
        lines = []
        for split, (name, colour) in SPLITS.items():
            key = f"{split}_{metric}"
            if points := [(e.epoch, factor * e.metrics[key]) for e in epochs if key in e.metrics]:
                lines.append(Line(name, points, colour))
        if lines:
            drawn.append(chart(lines, f"{unit} in each epoch of {what}", unit))
    return drawn


def policy_figures(result: Record, epochs: Sequence[SearchEpoch], styles: Mapping[object, str]) -> list[Drawing]:
    """Draw the entropy of each decision, and its mode; for sizes, their mean and standard deviation."""
    if not epochs or undecided(result, epochs):
        return []
    names = list(epochs[0].entropy)
    first = _curves(result, epochs, names) if len(names) <= FEW else _shades(result, epochs, names)
    if is_size_space(result.space):
        return [first, *_sizes(result, epochs)]
    archs, at = [result.space.space.parse(e.likeliest) for e in epochs], [e.epoch for e in epochs]
    rows = {n: [a[n] for a in archs] for n in names if all(n in a for a in archs)}
    kept = {n: rows.pop(n) for n in list(rows) if isinstance(rows[n][0], tuple)}
    found = [first]
    if kept:
        found.append(_kept(kept, at, counts(result)))
    if rows:
        title = "mode of each decision in each epoch"
        found.append((_strips(rows, at, styles, title), _legend(styles)))
    return found


def expected_cost_figure(result: Record, epochs: Sequence[SearchEpoch]) -> list[Drawing]:
    """Draw the expected cost under the policy, or of what subsets keep, beside the budget; nothing without a budget."""
    recorded = [e for e in epochs if e.costs]
    if not recorded:
        return []
    lines = [
        Line(name, [(e.epoch, e.costs[name]) for e in recorded], COLOURS[k % 6])
        for k, name in enumerate(recorded[0].costs)
    ]
    what, of = "expected cost", "an architecture sampled from the policy"
    if has_subsets(result.space.space):
        what, of = "cost", "what the policy's mode keeps"
    title = f"{what} in each epoch, in times the budget"
    drawn = chart(lines, title, f"{what} / budget", known={"the budget": 1.0}, base=0.0)
    return [(drawn, Markup(f"{what.capitalize()} of {of}. The result is inside the budget."))]


def _kept(rows: Mapping[str, Sequence[Any]], at: Sequence[int], counts: Mapping[str, int]) -> Drawing:
    """Draw how many options the mode of each subset (a row) keeps at each epoch, as a share of all it has."""
    shares = {name: [len(value) / counts[name] for value in kept] for name, kept in rows.items()}
    title = "share of the options of each decision that the mode keeps in each epoch"
    drawn = heat(shares, at, high=1.0, unit="kept / options", title=title)
    return drawn, Markup("Share of its options that the mode of each decision keeps: pale is none, dark is all.")


def undecided(result: Record, recorded: Sequence[SearchEpoch]) -> bool:
    """Return whether the policy stayed uniform: every decision has its largest entropy in every epoch."""
    largest = most(result)
    pairs = {(largest.get(n, 0.0), nats) for e in recorded for n, nats in e.entropy.items()}
    even = all(abs(nats - largest) < 1e-5 for largest, nats in pairs)
    return bool(pairs) and even and len(pairs) == len(dict(pairs))


def _strips(
    rows: Mapping[str, Sequence[object]], epochs: Sequence[int], styles: Mapping[object, str], title: str
) -> Picture:
    """Draw which option each decision (a row) preferred at each epoch, as strips of colour.

    styles: the class of each option in the style sheet, o0 to o7 or none.
    """

    def paint(axes: Axes) -> None:
        for k, (name, options) in enumerate(rows.items()):
            at = 0
            for option, run in itertools.groupby(options):
                n, style = len(list(run)), styles.get(option, "")
                colour = HUES[int(style[1:])] if style.startswith("o") else RULE if style else SOFT
                span = f"epoch {epochs[at]}" if n == 1 else f"epochs {epochs[at]} to {epochs[at + n - 1]}"
                said = tip(f"{name}: {short(option)}, {span}")
                axes.barh(k, epochs[at + n - 1] - epochs[at] + 1, 0.8, left=epochs[at] - 0.5, color=colour, gid=said)
                at += n
            axes.text(1.03, k, short(options[-1]), va="center", transform=axes.get_yaxis_transform())
        bare(axes, list(rows))
        epoch_axis(axes, epochs[0], epochs[-1], margin=0.5)

    return draw(title, paint, height=18 * len(rows) + 50, head="")


def _curves(result: Record, recorded: Sequence[SearchEpoch], names: Sequence[str]) -> Drawing:
    lines = [Line(n, [(e.epoch, e.entropy[n]) for e in recorded], COLOURS[k % 6]) for k, n in enumerate(names)]
    known = counts(result)
    sizes = sorted({known.get(n, 0) for n in names if n not in subsets(result)} - {0, 1})
    even = {f"ln {n}: all {n} options equally likely": math.log(n) for n in sizes}
    if several := sorted({known[n] for n in names if n in subsets(result)}):
        even |= {f"{n} ln 2: each of {n} options as likely kept as not": n * math.log(2) for n in several}
    # from zero, unless all that happens is close to undecided
    base = 0.0 if min(y for line in lines for _, y in line.points) < max(even.values(), default=0.0) / 2 else None
    title = "entropy of each decision in each epoch"
    drawn = chart(lines, title, "entropy (nats)", base=base, known=even)
    return drawn, Markup("Entropy of each decision: 0 is settled, the dashed line is uniform.")


def _shades(result: Record, recorded: Sequence[SearchEpoch], names: Sequence[str]) -> Drawing:
    largest = most(result)
    rows = {name: [e.entropy[name] / (largest.get(name) or math.log(2)) for e in recorded] for name in names}
    title = "entropy of each decision in each epoch, as a share of its largest"
    drawn = heat(
        rows,
        [e.epoch for e in recorded],
        high=1.0,
        unit="entropy / its largest" if subsets(result) else "entropy / ln(options)",
        title=title,
    )
    return drawn, Markup("Entropy of each decision: pale is settled, dark is uniform.")


def _sizes(result: Record, recorded: Sequence[SearchEpoch]) -> list[Drawing]:
    """Draw mean and standard deviation of each size under the policy, in times the reference's."""
    known = [e for e in recorded if e.sizes]
    if not known:
        return []
    reference = {name: float(str(value)) for name, value in (result.space.reference or {}).items()}
    epochs, names = [e.epoch for e in known], [n for n in known[0].sizes if n in reference]
    drawings: list[Drawing] = []
    for place, (what, floor, caption) in enumerate(_MOMENTS):
        rows = {n: [e.sizes[n][place] / reference[n] for e in known] for n in names}
        high = max(floor, max(max(values) for values in rows.values()))
        title = f"{what} of each decision in each epoch, in times the reference's"
        unit = f"{what.partition(' of')[0]} / reference"
        drawings.append((heat(rows, epochs, high=high, unit=unit, title=title), Markup(caption)))
    return drawings


_MOMENTS = (
    ("expected size", 1.0, "Expected size of each decision under the policy: 1 is as in the reference."),
    ("spread of the size", 0.1, "Standard deviation of each size under the policy: 0 is settled."),
)


def _legend(styles: Mapping[object, str]) -> Markup:
    key = Markup(' <span class="key"><i class="{}"></i>{}</span>')
    return Markup("Mode of each decision:") + Markup("").join(
        key.format(style, short(option)) for option, style in styles.items()
    )
