"""How well a latency table with only some of its layers predicts the others."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from renascent.core.errors import UserError
from renascent.costs.latency.config import LayerConfig
from renascent.costs.latency.gp import FEWEST_POINTS, Floats, by_family
from renascent.costs.latency.table import Lut


class Error(NamedTuple):
    """Errors of predictions. kept, left_out: layers.  median, p90: of the relative errors.  spearman: of the ranks.

    within: share of layers whose latency lies within two predicted standard deviations.
    """

    kept: int
    left_out: int
    median: float
    p90: float
    spearman: float
    within: float


def leave_out(table: Lut, keep: float, seed: int = 0) -> tuple[Lut, Error]:
    """Return a table of a random part of the layers of each family, filled, and its error on the others.

    Of a family at least as many are kept as a process needs. Raises UserError unless both parts have some.
    """
    if not 0 < keep < 1:
        raise UserError(f"keep is {keep}: give a share of the layers above 0 and below 1, such as 0.2")
    configs, rng = list(table.layers), np.random.default_rng(seed)
    kept: list[LayerConfig] = []
    for rows in by_family(configs).values():
        count = max(round(keep * len(rows)), min(FEWEST_POINTS, len(rows)))
        kept += [configs[rows[k]] for k in sorted(rng.permutation(len(rows))[:count])]
    held = set(kept)
    left = [config for config in configs if config not in held]
    if len(left) < 2:
        raise UserError(f"the table has {len(configs)} layers, too few to leave any out: measure more")
    sparse = table.only(kept).filled()
    return sparse, _error(sparse, left, np.array([table.layers[config].median_ms for config in left]))


def _error(sparse: Lut, left: list[LayerConfig], truth_ms: Floats) -> Error:
    predicted, spread = np.empty(len(left)), np.empty(len(left))
    for k, config in enumerate(left):
        sizes = np.array([config[6:]])
        predicted[k] = sparse.filler.mean_ms(config.group, sizes)[0]
        spread[k] = sparse.filler.spread(config.group, sizes)[0]
    from scipy.stats import spearmanr  # only here: it takes a second to load

    off = np.abs(predicted / truth_ms - 1)
    within = np.abs(np.log(truth_ms / predicted)) <= 2 * spread
    rank = float(spearmanr(predicted, truth_ms).statistic)
    numbers = (float(np.median(off)), float(np.percentile(off, 90)), rank, float(within.mean()))
    return Error(len(sparse.layers), len(left), *numbers)
