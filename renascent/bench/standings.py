"""Standings of a comparison: means, standard deviations, ranks, and significance of differences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import stats

from renascent.bench.compare import Array, Runs


def standings(runs: Mapping[str, Runs]) -> dict[str, dict[str, Any]]:
    """Return what the runs of one data set say: strategy -> its figures.

    mean, std, ci95 (half width of the mean's 95 % interval): of the judged accuracy, %.
    rank: mean over runs, 1 the best, equals sharing.  trials: mean number evaluated.
    paired: other strategy -> mean difference to it, its standard error, and the p-value of a paired t-test.
    """
    results = np.array([result.results for result in runs.values()])
    ranks = stats.rankdata(-results, axis=0).mean(1)
    found = {}
    for k, (name, result) in enumerate(runs.items()):
        n = len(result.results)
        std = float(result.results.std(ddof=1)) if n > 1 else None
        found[name] = {
            "mean": float(result.results.mean()),
            "std": std,
            "runs": n,
            "ci95": float(stats.t.ppf(0.975, n - 1)) * std / math.sqrt(n) if std is not None else None,
            "rank": float(ranks[k]),
            "trials": float(result.trials.mean()),
            "paired": {other: _paired(results[k], results[j]) for j, other in enumerate(runs) if j != k},
        }
        if len(result.hypervolumes):
            found[name]["hypervolume"] = float(result.hypervolumes.mean())
    return found


def _paired(mine: Array, other: Array) -> dict[str, float | None]:
    gap = mine - other
    error = float(gap.std(ddof=1)) / math.sqrt(len(gap)) if len(gap) > 1 else 0.0
    p = 2 * float(stats.t.sf(abs(gap.mean()) / error, len(gap) - 1)) if error > 0 else None
    return {"difference": float(gap.mean()), "standard_error": error, "p": p}
