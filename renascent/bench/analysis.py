"""The anatomy of a benchmark table in numbers: accuracy and cost, what predicts what, and how data sets agree."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from renascent.bench.tables.columns import Column, Problem
from renascent.bench.tables.objectives import pareto
from renascent.bench.tables.table import Table
from renascent.core.errors import UserError
from renascent.core.files import Json

Floats = NDArray[np.float64]

COSTS = ("params", "macs")
"""What accuracy is set against."""

TOPS = (100, 10, 5, 1)
"""Slices of the table in which columns are correlated: the best so many percent."""

LEAST = 20
"""Architectures below which a correlation says too little."""


@dataclass(frozen=True)
class View:
    """One search problem of a table, a number for each row, (rows,); NaN where nothing is known.

    validation: accuracy on validation images after the schedule of the result; None where the table has none.
    costs: by metric.  columns: what each of these is -> its column.
    """

    name: str
    result: Floats
    signal: Floats
    validation: Floats | None
    costs: Mapping[str, Floats]
    columns: Mapping[str, str]

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which rows have a result."""
        return ~np.isnan(self.result)


def views(table: Table) -> list[View]:
    """Return every problem of a table of which some result is known. Raises UserError when there is none."""
    found = [_view(table, problem) for problem in table.problems.values()]
    some = [view for view in found if view.known.any()]
    if not some:
        raise UserError(
            f"table '{table.name}' poses no problem with a known result: nothing to analyse; "
            f"problems: {', '.join(table.problems) or 'none'}; its columns are {', '.join(table.columns) or 'none'}"
        )
    return some


def _view(table: Table, problem: Problem) -> View:
    signal, result = table.find(problem.signal), table.find(problem.result)
    columns = {"result": result.key, "signal": signal.key}
    # some benchmarks keep what they validated under a name of its own, which is then the signal's
    homes = (result.data, signal.data, "")
    for metric in COSTS:
        if cost := _first(table, homes, metric=metric):
            columns[metric] = cost.key
    if result.metric == "test_accuracy" and (
        seen := _first(table, homes[:2], metric="val_accuracy", epochs=result.epochs)
    ):
        columns["validation"] = seen.key
    held = {what: np.asarray(table.values(key), dtype=np.float64) for what, key in columns.items()}
    costs = {metric: held[metric] for metric in COSTS if metric in held}
    return View(problem.name, held["result"], held["signal"], held.get("validation"), costs, columns)


def _first(table: Table, homes: Sequence[str], **wanted: Any) -> Column | None:
    """Return the column of these properties, of the first data set that has one."""
    fits = [c for c in table.columns.values() if all(getattr(c, name) == value for name, value in wanted.items())]
    return next((column for data in homes for column in fits if column.data == data), None)


def anatomy(table: Table, seen: Sequence[View]) -> Json:
    """Return all numbers as JSON values; None stands for one that there is not."""
    return {
        "table": table.name,
        "rows": len(table),
        "about": dict(table.about),
        "problems": {view.name: _problem(table, view) for view in seen},
        "ranking": _ranking(table, seen),
        "correlations": correlations(seen),
        "notes": list(_notes(table, seen)),
    }


def _problem(table: Table, view: View) -> Json:
    result = view.result[view.known]
    return {
        "columns": dict(view.columns),
        "rows": len(result),
        "missing": int((~view.known).sum()),
        "best": _entry(table, view, int(np.nanargmax(view.result))),
        "mean": _number(result.mean()),
        "std": _number(result.std(ddof=1)) if len(result) > 1 else None,
        "seed_std": _between_seeds(table.array(view.columns["result"]), table.find(view.columns["result"])),
        "pareto": {metric: [_entry(table, view, row) for row in front(view, metric)] for metric in view.costs},
        "signal": _judged(table, view, view.signal),
        "validation": None if view.validation is None else _judged(table, view, view.validation),
    }


def _entry(table: Table, view: View, row: int) -> Json:
    costs = {metric: None if np.isnan(values[row]) else round(values[row]) for metric, values in view.costs.items()}
    return {"row": row, "arch": table.space.format(table.arch(row)), "accuracy": _number(view.result[row]), **costs}


def _between_seeds(values: NDArray[Any], column: Column) -> float | None:
    """Return the deviation between trainings of one architecture, from all that have several; None if none has."""
    if not column.seeds:
        return None
    last = np.asarray(values[..., -1] if column.at else values, dtype=np.float64)
    freedom = (~np.isnan(last)).sum(1) - 1
    several = freedom > 0
    if not several.any():
        return None
    return math.sqrt(np.average(np.nanvar(last[several], axis=1, ddof=1), weights=freedom[several]))


def front(view: View, metric: str) -> list[int]:
    """Return the rows on the Pareto front of a cost and the result, cheapest first."""
    costs = view.costs[metric]
    rows = np.flatnonzero(pareto(np.stack([-costs, view.result], 1)))
    return [int(row) for row in rows[np.argsort(costs[rows], kind="stable")]]


def _judged(table: Table, view: View, by: Floats) -> Json:
    """Say how well a column predicts the result, and what choosing by it gives."""
    rows = np.flatnonzero(view.known & ~np.isnan(by))
    facts: Json = {"rows": len(rows), "missing": len(by) - len(rows)}
    facts |= dict.fromkeys(("best", "spearman", "kendall", "below_best"))
    if not len(rows):
        return facts
    top = rows[by[rows] == by[rows].max()]
    accuracy = float(view.result[top].mean())
    facts["best"] = {**_entry(table, view, int(top[0])), "accuracy": accuracy, "value": float(by[top[0]])}
    # architectures that tie for the best are chosen equally often
    facts["ties"] = len(top)
    facts["below_best"] = float(np.nanmax(view.result)) - accuracy
    if len(rows) >= LEAST:
        pair = np.stack([by[rows], view.result[rows]], 1)
        facts |= {"spearman": _number(spearman(pair)[0, 1]), "kendall": _number(kendall(pair)[0, 1])}
    return facts


def ranks(values: ArrayLike) -> NDArray[np.int64]:
    """Return the rank of each value, (n,): 1 for the highest, equal values in their order.

    >>> ranks([10.0, 30.0, 20.0]).tolist()
    [3, 1, 2]
    """
    order = np.argsort(-np.asarray(values), kind="stable")
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(1, len(order) + 1)
    return places


def shared(seen: Sequence[View]) -> NDArray[np.intp]:
    """Return the rows of which every problem knows the result."""
    return np.flatnonzero(np.all([view.known for view in seen], axis=0))


def _ranking(table: Table, seen: Sequence[View]) -> list[Json]:
    """Return the best of each data set, and its rank on all; nothing for one data set."""
    rows = shared(seen)
    if len(seen) < 2 or not len(rows):
        return []
    places = {view.name: ranks(view.result[rows]) for view in seen}
    facts = []
    for view in seen:
        at = int(np.argmin(places[view.name]))
        row, held = int(rows[at]), {name: int(rank[at]) for name, rank in places.items()}
        arch = table.space.format(table.arch(row))
        facts.append({"best_on": view.name, "row": row, "arch": arch, "ranks": held})
    return facts


def correlations(seen: Sequence[View]) -> Json:
    """Return Spearman's and Kendall's correlations between results and signals, over all rows and the top ones.

    The best are those by the first problem's result; rows that lack a number are left out, and so are slices of fewer
    than `LEAST` rows.
    """
    columns = {f"{view.name} result": view.result for view in seen}
    columns |= {f"{view.name} signal": view.signal for view in seen if view.columns["signal"] != view.columns["result"]}
    held = np.stack(list(columns.values()), 1)
    whole = held[~np.isnan(held).any(1)]
    order = np.argsort(-whole[:, 0], kind="stable")
    facts: Json = {"names": list(columns), "by": next(iter(columns)), "missing": len(held) - len(whole)}
    facts |= {"slices": [], "left_out": []}
    for percent in TOPS:
        rows = order[: len(whole) * percent // 100]
        part: Json = {"top_percent": percent, "rows": len(rows)}
        if len(rows) < LEAST:
            facts["left_out"].append(part)
        else:
            part |= {"spearman": _matrix(spearman(whole[rows])), "kendall": _matrix(kendall(whole[rows]))}
            facts["slices"].append(part)
    return facts


def spearman(values: Floats) -> Floats:
    """Return Spearman's rank correlations (k, k) between columns (n, k), ties sharing ranks; NaN with a constant one.

    >>> spearman(np.array([[1.0, 1.0], [2.0, 4.0], [3.0, 9.0]])).round(6).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    return _pairwise("spearmanr", values)


def kendall(values: Floats) -> Floats:
    """Return Kendall's tau-b (k, k) between columns (n, k); NaN with a constant one."""
    return _pairwise("kendalltau", values)


def _pairwise(statistic: str, values: Floats) -> Floats:
    from scipy import stats  # only here: it takes a second to load

    found = np.full((values.shape[1], values.shape[1]), np.nan)
    moving = np.flatnonzero(np.ptp(values, axis=0) > 0)
    found[moving, moving] = 1.0
    for i, j in itertools.combinations(moving, 2):
        found[i, j] = found[j, i] = getattr(stats, statistic)(values[:, i], values[:, j]).statistic
    return found


def _notes(table: Table, seen: Sequence[View]) -> Iterator[str]:
    """Say what is left out, and why."""
    names = {view.name for view in seen}
    for name in table.problems:
        if name not in names:
            yield f"{name} is left out: no result is known."
    for view in seen:
        if missing := int((~view.known).sum()):
            yield f"{view.name}: {missing:,} of {len(table):,} architectures have no result and are left out."
        for metric in COSTS:
            if metric not in view.costs:
                yield f"{view.name}: the table has no column of {metric}, so accuracy is not set against it."
        if view.validation is None:
            yield f"{view.name}: the table has no validation accuracy beside {view.columns['result']}."
    if len(seen) == 1:
        yield f"{seen[0].name} is the only data set, so there is no ranking across data sets."


def _matrix(values: Floats) -> list[list[float | None]]:
    return [[_number(value) for value in row] for row in values]


def _number(value: float) -> float | None:
    """Return a number as JSON can hold it."""
    return float(value) if math.isfinite(value) else None
