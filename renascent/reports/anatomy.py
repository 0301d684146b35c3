"""The page about a benchmark's own anatomy: its numbers in words, tables and figures."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from renascent.bench.analysis import LEAST, View, front, ranks, shared
from renascent.core.files import Json
from renascent.core.text import number
from renascent.reports.bench import Listing, Section, arch_cell
from renascent.reports.benchfigures import matrix, rankings, scatter
from renascent.reports.plots import Picture

SHOWN = 15
"""Architectures of a Pareto front that the page lists; the JSON file has all."""

NAMES = {"params": "parameters", "macs": "MACs"}

MILLION = 1e6


def sections(seen: Sequence[View], facts: Json) -> list[Section]:
    """Return the parts of the page: `facts` of `analysis.anatomy`, and figures of its `views`."""
    parts = [_overview(seen, facts), *_against_cost(seen, facts)]
    if facts["ranking"]:
        parts.append(_across(seen, facts))
    parts += [_correlations(facts), *_predictors(seen, facts)]
    if facts["about"]:
        parts.append(Section("The table", [f"{name}: {text}" for name, text in facts["about"].items()]))
    return parts


def _overview(seen: Sequence[View], facts: Json) -> Section:
    recorded = facts["problems"]
    columns: list[tuple[str, Callable[[Json], str]]] = [
        ("architectures", lambda p: number(p["rows"])),
        ("mean (%)", lambda p: number(p["mean"], places=2)),
        ("deviation", lambda p: number(p["std"], places=2)),
        ("best (%)", lambda p: number(p["best"]["accuracy"], places=2)),
        ("best architecture", lambda p: arch_cell(p["best"]["arch"])),
    ]
    if any(p["seed_std"] is not None for p in recorded.values()):
        columns.insert(3, ("deviation between seeds", lambda p: number(p["seed_std"], places=2)))
    rows = [(name, *(cell(p) for _, cell in columns)) for name, p in recorded.items()]
    results = "; ".join(f"{view.name}: {view.columns['result']}" for view in seen)
    words = f"The result is the column by which an architecture is judged: {results}."
    return Section("What is in it", [words, *facts["notes"]], [Listing(("data set", *(n for n, _ in columns)), rows)])


def _against_cost(seen: Sequence[View], facts: Json) -> Iterator[Section]:
    for view in seen:
        fronts = facts["problems"][view.name]["pareto"]
        if fronts:
            yield Section(
                f"Accuracy against cost: {view.name}",
                ["On the Pareto front, nothing cheaper is as accurate."],
                list(_front_tables(fronts)),
                [_front_figure(view, metric) for metric in fronts],
            )


def _front_figure(view: View, metric: str) -> Picture:
    known = np.flatnonzero(view.known & ~np.isnan(view.costs[metric]))
    on = np.isin(known, front(view, metric))
    across, up = view.costs[metric][known], view.result[known]
    title = f"Accuracy against {NAMES[metric]}: {view.name}"
    if across.max() < MILLION / 2:
        return scatter(across, up, NAMES[metric], "result (%)", title, front=on)
    return scatter(across / MILLION, up, f"{NAMES[metric]} (millions)", "result (%)", title, front=on)


def _front_tables(fronts: Mapping[str, Sequence[Json]]) -> Iterator[Listing]:
    """List every front, and once those of the same architectures."""
    recorded: dict[tuple[int, ...], list[str]] = {}
    for metric, entries in fronts.items():
        recorded.setdefault(tuple(e["row"] for e in entries), []).append(metric)
    for metrics in recorded.values():
        entries = fronts[metrics[0]]
        places = np.unique(np.linspace(0, len(entries) - 1, min(SHOWN, len(entries))).round().astype(int))
        some = [entries[k] for k in places]
        rows = [
            (arch_cell(e["arch"]), *(number(e[metric]) for metric in fronts), number(e["accuracy"], places=2))
            for e in some
        ]
        names = " and against ".join(NAMES[metric] for metric in metrics)
        how = f"{len(rows)} of {len(entries)}, " if len(rows) < len(entries) else ""
        caption = f"Pareto front of accuracy against {names} ({how}cheapest first)"
        yield Listing(("architecture", *(NAMES[metric] for metric in fronts), "result (%)"), rows, caption)


def _across(seen: Sequence[View], facts: Json) -> Section:
    rows = shared(seen)
    places = {view.name: ranks(view.result[rows]) for view in seen}
    names = list(places)
    table = [
        (recorded["best_on"], arch_cell(recorded["arch"]), *(number(recorded["ranks"][name]) for name in names))
        for recorded in facts["ranking"]
    ]
    words = f"Ranks by result among the {len(rows):,} architectures that all data sets know; 1 is the best."
    return Section(
        "Ranking across data sets",
        [words],
        [Listing(("best on", "architecture", *(f"rank on {name}" for name in names)), table)],
        [rankings(names[0], places, "Ranking across data sets")],
    )


def _correlations(facts: Json) -> Section:
    recorded = facts["correlations"]
    words: list[str] = []
    if recorded["missing"]:
        words.append(
            f"Left out, lacking one of these numbers: {recorded['missing']:,} of {facts['rows']:,} architectures."
        )
    if len(recorded["slices"]) > 1:
        words.append(f"The top slices are the best by {recorded['by']}.")
    if recorded["left_out"]:
        listed = ", ".join(f"{_slice(part)} ({part['rows']})" for part in recorded["left_out"])
        words.append(f"Left out, having fewer than {LEAST} architectures: {listed}.")
    drawn = [
        matrix(
            recorded["names"],
            part[kind],
            f"{kind.capitalize()} correlation: {_slice(part)} ({part['rows']:,})",
        )
        for part in recorded["slices"]
        for kind in ("spearman", "kendall")
    ]
    return Section("What agrees with what", words, figures=drawn)


def _slice(part: Json) -> str:
    return "all" if part["top_percent"] == 100 else f"top {part['top_percent']} %"


def _predictors(seen: Sequence[View], facts: Json) -> Iterator[Section]:
    """Show how well validation, and what a search may look at, tell the result."""
    validated = [view for view in seen if view.validation is not None]
    if validated:
        words = "Validation accuracy after the same schedule as the result."
        figures = [_told(view, view.validation, "validation", "Validation against test") for view in validated]
        yield Section("Validation against test", [words], [_judged(validated, facts, "validation")], figures)
    # where the signal is the validation accuracy above, or the result itself, there is nothing more to show
    signalled = [v for v in seen if v.columns["signal"] not in (v.columns["result"], v.columns.get("validation"))]
    if signalled:
        words = "The signal is what a search may look at; its best architecture is what an endless search would return."
        figures = [_told(view, view.signal, "signal", "Signal against result") for view in signalled]
        yield Section("Signal against result", [words], [_judged(signalled, facts, "signal")], figures)


def _told(view: View, by: Any, what: str, title: str) -> Picture:
    rows = np.flatnonzero(view.known & ~np.isnan(by))
    across, up = by[rows], view.result[rows]
    marked = {"best by it": int(across.argmax()), "optimum": int(up.argmax())} if len(rows) else {}
    return scatter(across, up, f"{view.columns[what]} (%)", "result (%)", f"{title}: {view.name}", marked=marked)


def _judged(seen: Sequence[View], facts: Json, what: str) -> Listing:
    rows = []
    for view in seen:
        recorded = facts["problems"][view.name][what]
        best = recorded["best"]
        agree = [number(recorded[kind], places=3) for kind in ("spearman", "kendall")]
        reached = [number(v, places=2) for v in (best["accuracy"], recorded["below_best"])] if best else ["-", "-"]
        rows.append((view.name, number(recorded["rows"]), *agree, *reached, arch_cell(best["arch"]) if best else ""))
    header = ("data set", "architectures", "Spearman", "Kendall", "result of its best (%)", "below the optimum")
    return Listing((*header, "its best"), rows)
