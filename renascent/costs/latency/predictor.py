"""Latency of whole networks predicted from measurements of whole networks, where single layers cannot be measured.

`fit_predictor` learns from sums over a network's operators (how many, multiply-accumulates, bytes, at which map size),
as the predictors of nn-Meter do for kernels: Zhang et al., nn-Meter, MobiSys 2021. `fit_additive` learns one term for
each option of each decision, which is exact where a device's latency is a sum over blocks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renascent.core.errors import UserError
from renascent.costs.latency.config import family_of, group_of, macs_and_bytes, size_rows
from renascent.nets.sizes.layers import Layer

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

ABSENT = -1
"""Code of an operator that is not there."""

VALIDATION = 0.2
"""Share of the training part on which the regressor is chosen."""


@dataclass(frozen=True)
class Operators:
    """The operators of n networks, every array (n, operators).

    kinds: which one, from 0; `ABSENT` where there is none.  macs, moved: multiply-accumulates, and bytes.
    places: which shape of map it works on, from 0: how often halved, and how wide where that is fixed.
    """

    kinds: Codes
    macs: Floats
    moved: Floats
    places: Codes

    def features(self) -> Floats:
        """Return, for each kind: how many, macs and bytes in millions, how many at each place. (n, features)."""
        found = []
        for kind in range(int(self.kinds.max()) + 1):
            there = self.kinds == kind
            found += [(there * part).sum(1) for part in (np.ones_like(self.macs), self.macs / 1e6, self.moved / 1e6)]
            found += [(there & (self.places == place)).sum(1) for place in range(int(self.places.max()) + 1)]
        table = np.stack(found, axis=1).astype(np.float64)
        return table[:, table.any(axis=0)]


def operators_of(layers: Sequence[Layer], count: int) -> Operators:
    """Return the operators of `count` architectures of a size space, from its `layers` for arrays of values."""
    names: dict[Any, int] = {}
    columns = []
    largest = max(float(np.max(np.asarray(layer.size[0]))) for layer in layers)
    for layer in layers:
        group = group_of(layer)
        there = np.broadcast_to(np.asarray(layer.presence, dtype=bool), count)
        sizes = size_rows(layer, count)
        macs, moved = macs_and_bytes(family_of(group), sizes)
        level = np.round(np.log2(largest / np.maximum(sizes[:, 2], 1))).astype(np.int64)
        kinds = np.where(there, names.setdefault(group, len(names)), ABSENT)
        columns.append((kinds, macs * there, moved * there, level))
    kinds, macs, moved, places = (np.stack(parts, axis=1) for parts in zip(*columns, strict=True))
    return Operators(kinds, macs, moved, places)


@dataclass(frozen=True)
class Predictor:
    """A fitted regressor. name: which was chosen.  scores: root mean square error of each, on validation."""

    name: str
    fitted: Any
    scores: Mapping[str, float]

    def predict(self, features: Floats) -> Floats:
        """Return milliseconds (n,)."""
        return np.asarray(self.fitted.predict(features), dtype=np.float64)


def fit_predictor(features: Floats, latency_ms: Floats, seed: int = 0) -> Predictor:
    """Fit some regressors to a part of (n, features) and (n,), and the one that does best on the rest to all.

    Raises UserError for fewer than 10 networks, or a latency that is none.

    >>> x = np.random.default_rng(0).uniform(1, 2, (60, 3))
    >>> found = fit_predictor(x, x @ np.array([1.0, 2.0, 3.0]))
    >>> bool(np.allclose(found.predict(x), x @ np.array([1.0, 2.0, 3.0]), rtol=1e-2))
    True
    """
    if len(features) < 10 or not (latency_ms > 0).all():
        raise UserError(f"{len(features)} networks of {latency_ms.min():g} ms and more: give 10 or more, above 0 ms")
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped, unused-ignore]

    order = np.random.default_rng(seed).permutation(len(features))
    held, rest = np.split(order, [int(len(order) * VALIDATION)])
    with threadpool_limits(1):
        tried = _regressors()
        scores = {
            name: rmse(one.fit(features[rest], latency_ms[rest]).predict(features[held]), latency_ms[held])
            for name, one in tried.items()
        }
        best = min(scores, key=scores.__getitem__)
        return Predictor(best, tried[best].fit(features, latency_ms), scores)


def _regressors() -> dict[str, Any]:
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-4, 3, 15)))
    return {
        "ridge": ridge,
        "ridge of the logarithm": TransformedTargetRegressor(ridge, func=np.log, inverse_func=np.exp),
        "boosting": HistGradientBoostingRegressor(learning_rate=0.05, max_iter=300, random_state=0),
    }


@dataclass(frozen=True)
class Terms:
    """One term for each option of each decision. base: the rest.  tables: one (options,) a decision, milliseconds.

    covariance: of the base and all terms in a row, (1 + terms, 1 + terms). Only sums over one option a decision are
    known: that of a single term says how it moves against the others.
    """

    base: float
    tables: tuple[Floats, ...]
    covariance: Floats

    def predict(self, codes: Codes) -> Floats:
        """Return milliseconds (n,) of networks given as option indices (n, decisions)."""
        return np.asarray(self.base + sum(table[codes[:, k]] for k, table in enumerate(self.tables)))


def fit_additive(codes: Codes, latency_ms: Floats) -> Terms:
    """Fit a sum of one term a decision to networks given as option indices (n, decisions), by least squares.

    An option that no network has is worth the mean of its decision.

    >>> codes = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> terms = fit_additive(codes, np.array([1.0, 3.0, 2.0, 4.0]))
    >>> terms.predict(np.array([[1, 1]])).round(9).tolist()
    [4.0]
    """
    counts = codes.max(0) + 1
    blocks = [(codes[:, [k]] == np.arange(count)).astype(np.float64) for k, count in enumerate(counts)]
    means = [block.mean(0) for block in blocks]
    design = np.concatenate([np.ones((len(codes), 1)), *(b - m for b, m in zip(blocks, means, strict=True))], axis=1)
    measured = latency_ms.astype(np.float64)
    found, _, ranked, _ = np.linalg.lstsq(design, measured, rcond=None)
    noise = float(((design @ found - measured) ** 2).sum()) / max(len(measured) - ranked, 1)
    # the base is the fitted constant less the mean of every decision's term
    shifted = np.eye(len(found))
    shifted[0, 1:] = -np.concatenate(means)
    parts = np.split(found[1:], np.cumsum(counts)[:-1])
    covariance = noise * shifted @ np.linalg.pinv(design.T @ design, hermitian=True) @ shifted.T
    return Terms(float(shifted[0] @ found), tuple(parts), covariance)


def rmse(predicted: Floats, measured: Floats) -> float:
    """Return the root mean square error, in the unit of both.

    >>> rmse(np.array([1.0, 3.0]), np.array([1.0, 1.0])) ** 2
    2.0000000000000004
    """
    return float(np.sqrt(np.mean((predicted - measured) ** 2)))


def rank(predicted: Floats, measured: Floats) -> float:
    """Return Spearman's rank correlation.

    >>> rank(np.array([1.0, 2.0, 9.0]), np.array([3.0, 4.0, 5.0]))
    1.0
    """
    from scipy.stats import spearmanr

    return float(spearmanr(predicted, measured).statistic)
