"""How a search decided, drawn for its report: how sure it was of each decision, and what it thought likeliest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from renascent.core.files import Json
from renascent.costs.scaling import is_size_space
from renascent.reports.figures import Line, bands, chart, short
from renascent.reports.sizefigures import heat
from renascent.results.record import Record

Drawing = tuple[Markup, Markup]
"""A figure and what stands below it."""

FEW = 12
"""More decisions than this have no curves of their own, but rows of colour."""


def beliefs(result: Record, epochs: Sequence[Json], styles: Mapping[object, str]) -> list[Drawing]:
    """Draw how sure the strategy was of each decision, and the likeliest option; of sizes, the expected one."""
    told = [e for e in epochs if "entropy" in e]
    if not told or undecided(result, told):
        return []
    names = list(told[0]["entropy"])
    first = _curves(result, told, names) if len(names) <= FEW else _shades(result, told, names)
    if is_size_space(result.space):
        return [first, *_sizes(result, told)]
    archs = [result.space.space.parse(e["likeliest"]) for e in told]
    rows = {n: [a[n] for a in archs] for n in names if all(n in a for a in archs)}
    title = "likeliest option of each decision in each epoch"
    return [first, (bands(rows, [e["epoch"] for e in told], styles, title), _legend(styles))]


def spent(epochs: Sequence[Json]) -> list[Drawing]:
    """Draw what the strategy's belief costs on average, beside the budget; nothing where there was none."""
    told = [e for e in epochs if e.get("costs")]
    if not told:
        return []
    lines = [
        Line(name, [(e["epoch"], e["costs"][name]) for e in told], f"s{k % 6}")
        for k, name in enumerate(told[0]["costs"])
    ]
    title = "expected cost in each epoch, in times the budget"
    drawn = chart(lines, title=title, unit="expected cost / budget", references={"the budget": 1.0}, base=0.0)
    caption = "What a network drawn by the strategy's chances costs on average. The result is inside the budget."
    return [(drawn, Markup(caption))]


def undecided(result: Record, told: Sequence[Json]) -> bool:
    """Return whether all options of all decisions stayed equally likely: one unchanging entropy, ln(options)."""
    counts = _options(result)
    pairs = {(counts.get(n, 0), nats) for e in told for n, nats in e["entropy"].items()}
    even = all(abs(nats - math.log(max(n, 1))) < 1e-5 for n, nats in pairs)
    return bool(pairs) and even and len(pairs) == len(dict(pairs))


def _curves(result: Record, told: Sequence[Json], names: Sequence[str]) -> Drawing:
    lines = [Line(n, [(e["epoch"], e["entropy"][n]) for e in told], f"s{k % 6}") for k, n in enumerate(names)]
    known = _options(result)
    counts = sorted({known.get(n, 0) for n in names} - {0, 1})
    even = {f"ln {n}: all {n} options alike": math.log(n) for n in counts}
    # from zero, unless all that happens is close to undecided
    base = 0.0 if min(y for line in lines for _, y in line.points) < max(even.values(), default=0.0) / 2 else None
    title, height = "entropy of each decision in each epoch", max(236.0, 15.0 * len(names) + 64)
    drawn = chart(lines, title=title, unit="entropy (nats)", base=base, references=even, height=height)
    return drawn, Markup("Entropy of each decision: 0 is settled, the dashed line is undecided.")


def _shades(result: Record, told: Sequence[Json], names: Sequence[str]) -> Drawing:
    counts = _options(result)
    rows = {name: [e["entropy"][name] / math.log(max(counts.get(name, 0), 2)) for e in told] for name in names}
    title = "entropy of each decision in each epoch, as a share of its largest"
    drawn = heat(rows, [e["epoch"] for e in told], high=1.0, unit="entropy / ln(options)", title=title)
    return drawn, Markup("How undecided each decision was: pale is settled, dark is all options alike.")


def _sizes(result: Record, told: Sequence[Json]) -> list[Drawing]:
    """Draw the expected size of each decision, and its standard deviation, in times the reference's."""
    known = [e for e in told if e.get("sizes")]
    if not known:
        return []
    reference = {name: float(str(value)) for name, value in (result.space.reference or {}).items()}
    epochs, names = [e["epoch"] for e in known], [n for n in known[0]["sizes"] if n in reference]
    drawings: list[Drawing] = []
    for place, (what, floor, caption) in enumerate(_MOMENTS):
        rows = {n: [e["sizes"][n][place] / reference[n] for e in known] for n in names}
        high = max(floor, max(max(values) for values in rows.values()))
        title = f"{what} of each decision in each epoch, in times the reference's"
        drawings.append((heat(rows, epochs, high=high, unit=f"{what} / reference", title=title), Markup(caption)))
    return drawings


_MOMENTS = (
    ("expected size", 1.0, "How large each was on average, by the strategy's chances: 1 is as in the reference."),
    ("spread of the size", 0.1, "How far each spread around that (standard deviation): 0 is settled."),
)


def _legend(styles: Mapping[object, str]) -> Markup:
    key = Markup(' <span class="key"><i class="{}"></i>{}</span>')
    return Markup("Likeliest option of each decision:") + Markup("").join(
        key.format(style, short(option)) for option, style in styles.items()
    )


def _options(result: Record) -> dict[str, int]:
    """Return how many options each decision has; 0 for one of another kind."""
    return {name: len(getattr(decision, "options", ())) for name, decision in result.space.space.decisions.items()}
