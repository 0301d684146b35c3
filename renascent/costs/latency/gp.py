"""A Gaussian process that fills a sparse latency table, and says how sure it is.

One process for each family of layers (kind, kernel, stride) predicts the logarithm of the latency from logarithms of
channels, map size, multiply-accumulates and bytes. It starts from a straight roofline, time = overhead + macs / speed +
bytes / bandwidth, and learns what that leaves. Rasmussen and Williams, Gaussian Processes for Machine Learning, MIT
Press 2006, Algorithm 2.1.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from renascent.core.errors import UserError
from renascent.core.text import short
from renascent.costs.latency.config import Family, Group, LayerConfig, family_name, family_of, macs_and_bytes, sizes_of

if TYPE_CHECKING:
    from sklearn.gaussian_process import GaussianProcessRegressor

Floats = NDArray[np.float64]

MOST_POINTS = 300
"""Most layers that one process is fitted to: its cost grows with their cube."""

FEWEST_POINTS = 4
"""Fewest layers that one process is fitted to; the roofline alone predicts fewer."""

BLOCK = 16
"""Channels that vector units take at a time; what is above a multiple pays for the next one."""

FEATURES = 10
"""What a process sees of a layer."""

AMPLITUDE, LENGTH, NOISE = (1e-4, 10.0), (0.1, 300.0), (1e-6, 0.1)
"""Limits of a process's hyperparameters: of its variance, of each feature's length scale, and of its noise."""

CHUNK = 4096
"""Layers predicted at a time, to bound memory."""


@dataclass(frozen=True)
class Process:
    """One fitted process. roofline: (columns,), milliseconds a unit.  centre, scale: of its features, (features,).

    fitted: on the logarithm of what the roofline leaves; None where there was too little to learn from.
    """

    roofline: Floats
    centre: Floats
    scale: Floats
    fitted: GaussianProcessRegressor | None

    def mean_ms(self, x: Floats, line: Floats) -> Floats:
        """Return milliseconds (n,) for features (n, features) and a roofline's columns (n, columns)."""
        start = line @ self.roofline
        if self.fitted is None:
            return np.asarray(start)
        return np.asarray(start * np.exp(np.concatenate([self.fitted.predict(part) for part in self._parts(x)])))

    def spread(self, x: Floats) -> Floats:
        """Return the standard deviation of the logarithm (a relative one), (n,); infinite where nothing is learnt."""
        if self.fitted is None:
            return np.full(len(x), np.inf)
        return np.concatenate([self.fitted.predict(part, return_std=True)[1] for part in self._parts(x)])

    def _parts(self, x: Floats) -> list[Floats]:
        scaled = (x - self.centre) / self.scale
        return [scaled[k : k + CHUNK] for k in range(0, len(x), CHUNK)]


def fit_process(x: Floats, line: Floats, latency_ms: Floats, theta: Sequence[float] | None = None) -> Process:
    """Fit a process to latencies (n,) of features (n, features), from a roofline of columns (n, columns).

    theta: its hyperparameters (logarithms), where they are known already; searched by likelihood if not.
    """
    from scipy.optimize import nnls  # only here, as the others: they take a second to load
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped, unused-ignore]

    roofline, _ = nnls(line / latency_ms[:, None], np.ones(len(line)))
    centre, scale = x.mean(0), np.maximum(x.std(0), 1e-9)
    if len(x) < FEWEST_POINTS:
        return Process(roofline, centre, scale, None)
    left = np.log(latency_ms / (line @ roofline))
    with threadpool_limits(1), warnings.catch_warnings():
        # a length that wants to be infinite stays at its bound: the feature does not matter
        warnings.simplefilter("ignore", ConvergenceWarning)
        return Process(roofline, centre, scale, _regressor(x.shape[1], theta).fit((x - centre) / scale, left))


@dataclass(frozen=True)
class Filler:
    """The processes of a table, one a family of layers.

    >>> known = [LayerConfig("conv", 3, 1, 1, True, True, 8, width, 16, 16) for width in range(8, 68, 4)]
    >>> filler = fit_filler(known, np.array([1e-3 * layer.outputs for layer in known]))
    >>> abs(float(filler.mean_ms(known[0].group, np.array([[8, 30, 16, 16]]))[0]) - 0.030) < 0.002
    True
    """

    processes: Mapping[Family, Process]

    def mean_ms(self, group: Group, sizes: NDArray[np.int64]) -> Floats:
        """Return milliseconds (n,) of layers of a group; sizes: inputs, outputs, h, w, (n, 4).

        Raises UserError for a family of which no layer was measured.
        """
        return self._process(group).mean_ms(features(group, sizes), rooflines(group, sizes))

    def spread(self, group: Group, sizes: NDArray[np.int64]) -> Floats:
        """Return the relative standard deviation of what `mean_ms` returns, (n,)."""
        return self._process(group).spread(features(group, sizes))

    def thetas(self) -> dict[str, list[float]]:
        """Return the hyperparameters by family, so that a filler is fitted again without a search."""
        return {
            family_name(family): [float(t) for t in process.fitted.kernel_.theta]
            for family, process in self.processes.items()
            if process.fitted is not None
        }

    def _process(self, group: Group) -> Process:
        if (family := family_of(group)) not in self.processes:
            known = ", ".join(map(family_name, self.processes))
            raise UserError(
                f"the table has no layer {family_name(family)}, only {known or 'none'}: measure one for this space"
            )
        return self.processes[family]


def fit_filler(
    configs: Sequence[LayerConfig], latency_ms: Floats, thetas: Mapping[str, Sequence[float]] | None = None
) -> Filler:
    """Fit a process to each family of layers. thetas: their hyperparameters by family, where they are known.

    A family of more than `MOST_POINTS` layers is fitted to some that are spread well.
    """
    found = {}
    for family, rows in by_family(configs).items():
        if len(rows) > MOST_POINTS:
            rows = [rows[k] for k in spread_out([configs[row] for row in rows], MOST_POINTS)]
        kept = [configs[row] for row in rows]
        line = rooflines(kept[0].group, sizes_of(kept))
        found[family] = fit_process(all_features(kept), line, latency_ms[rows], (thetas or {}).get(family_name(family)))
    return Filler(found)


def by_family(configs: Sequence[LayerConfig]) -> dict[Family, list[int]]:
    """Return the places of the layers of each family."""
    found: dict[Family, list[int]] = {}
    for place, config in enumerate(configs):
        found.setdefault(config.family, []).append(place)
    return found


def rooflines(group: Group, sizes: NDArray[np.int64]) -> Floats:
    """Return what a roofline is linear in: 1, macs in millions, bytes in millions, (n, 3)."""
    macs, moved = macs_and_bytes(family_of(group), sizes)
    return np.stack([np.ones(len(sizes)), macs / 1e6, moved / 1e6], axis=1)


def features(group: Group, sizes: NDArray[np.int64]) -> Floats:
    """Return what a process sees of layers, (n, features): logarithms, and how full the last block of channels is."""
    inputs, outputs, h, w = sizes.T
    macs, moved = macs_and_bytes(family_of(group), sizes)
    pixels = np.ceil(h / group[2]) * np.ceil(w / group[2])
    logs = [np.log(np.maximum(a, 1)) for a in (inputs, outputs, pixels, macs, moved)]
    blocks = [np.log(np.ceil(a / BLOCK) * BLOCK / a) for a in (inputs, outputs, pixels)]
    flags = np.broadcast_to(np.array(group[4:6], dtype=np.float64)[:, None], (2, len(sizes)))
    return np.stack([*logs, *blocks, *flags], axis=1)


def all_features(configs: Sequence[LayerConfig]) -> Floats:
    """Return the features of layers of one family, (n, features)."""
    found = features(configs[0].group, sizes_of(configs))
    found[:, -2:] = [config[4:6] for config in configs]
    return found


def spread_out(configs: Sequence[LayerConfig], count: int) -> list[int]:
    """Return `count` places, each the farthest from those before it, so that the first few are spread well, too."""
    x = all_features(configs)
    x = (x - x.mean(0)) / np.maximum(x.std(0), 1e-9)
    chosen = [int(np.argmin((x**2).sum(1)))]
    distance = ((x - x[chosen[0]]) ** 2).sum(1)
    while len(chosen) < min(count, len(configs)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, ((x - x[chosen[-1]]) ** 2).sum(1))
    return chosen


def check_theta(family: str, theta: Sequence[float]) -> None:
    """Raise ValueError for what cannot be the hyperparameters of a family's process: logarithms within their limits."""
    low, high = np.log(np.array([AMPLITUDE, *[LENGTH] * FEATURES, NOISE])).T
    if len(theta) != len(low):
        raise ValueError(f"thetas of {family} are {len(theta)} numbers, not {len(low)}")
    if strange := [value for value, a, b in zip(theta, low, high, strict=True) if not a - 1e-6 <= value <= b + 1e-6]:
        raise ValueError(f"thetas of {family} hold {short(strange[0])}, outside of its limits")


def _regressor(count: int, theta: Sequence[float] | None) -> Any:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    lengths = Matern(np.full(count, 3.0), LENGTH, nu=2.5)
    kernel = ConstantKernel(0.1, AMPLITUDE) * lengths + WhiteKernel(1e-3, NOISE)
    if theta is not None:
        kernel = kernel.clone_with_theta(np.asarray(theta))
    return GaussianProcessRegressor(kernel, optimizer=None if theta is not None else "fmin_l_bfgs_b", random_state=0)
