"""Latency predicted from a few measured networks of a space: what a budget uses where there is no table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls
from torch import Tensor, nn

from renascent.core import SpaceConfig
from renascent.costs.latency import measure
from renascent.costs.named import COSTS, cost_of
from renascent.costs.sized import Sized, memory_access_in
from renascent.errors import UserError
from renascent.gates import Gates
from renascent.nets.layers import Amount, Layer, SizedSpace
from renascent.nets.resolution import input_shape
from renascent.space import Arch

Shape = tuple[int, int, int]


class FittedLatency:
    """Milliseconds as a sum of counted costs, each times a weight of at least 0. Called with gates: expected.

    Fitted to networks measured on this device, by the relative error. weights: (1 + costs,), the constant first.
    error: median relative error on the measured networks, each predicted by a fit without it.
    """

    def __init__(self, costs: Sequence[object], weights: NDArray[np.float64], error: float) -> None:
        self.costs, self.weights, self.error = list(costs), weights, error

    def __call__(self, gates: Gates) -> Tensor:
        """Return the expected latency, a float64 scalar with gradient."""
        terms = [cost(gates) * float(w) for cost, w in zip(self.costs, self.weights[1:], strict=True)]  # type: ignore[operator]
        return torch.stack(terms).sum() + float(self.weights[0])

    def exact(self, indices: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return the latency (n,) predicted for architectures given as option indices (n, decisions)."""
        return _features(self.costs, indices) @ self.weights


def fitted_latency(
    config: SpaceConfig,
    shape: Shape,
    classes: int,
    *,
    networks: int = 40,
    seed: int = 0,
    device: torch.device | str = "cpu",
    runtime: str = "eager",
    milliseconds: Callable[[nn.Module, Shape], float] | None = None,
) -> FittedLatency:
    """Measure random networks of a space, of all sizes, and fit a latency to them.

    networks: how many.  runtime: what runs them, as in `measure`.
    milliseconds: measures one; the median of a few dozen passes unless given.
    Raises UserError when the device measures nothing usable.
    """
    rng = np.random.default_rng([seed, 3])
    archs = list(dict.fromkeys(_spread_out(config, rng, networks)))
    about = {"repeats": 30, "warmup": 5, "runtime": runtime}
    timed = milliseconds or (lambda net, size: measure(net.to(device), size, **about).median_ms)  # type: ignore[arg-type]
    found = [timed(config.network(a, shape[0], classes).eval(), input_shape(a, shape)) for a in archs]
    costs = _costs(config, shape, classes)
    rows = _features(costs, np.stack([config.space.indices(arch) for arch in archs]))
    seen = np.array(found)
    if not (np.isfinite(seen).all() and (seen > 0).all()):
        raise UserError(f"latency could not be measured on {device}: give a table by --latency-table instead")
    left_out = [_fit(np.delete(rows, k, 0), np.delete(seen, k)) for k in range(len(seen))]
    errors = [abs(float(rows[k] @ w) / seen[k] - 1) for k, w in enumerate(left_out)]
    return FittedLatency(costs, _fit(rows, seen), float(np.median(errors)))


def restored(config: SpaceConfig, shape: Shape, classes: int, held: Mapping[str, Any]) -> FittedLatency:
    """Return a fitted latency from the weights and the error of an earlier fit."""
    return FittedLatency(_costs(config, shape, classes), np.array(held["weights"]), float(held["error"]))


def _spread_out(config: SpaceConfig, rng: np.random.Generator, count: int) -> list[Arch]:
    """Return architectures from the smallest to the largest: drawn around a share of the options that varies."""
    found = []
    counts = [len(decision.options) for decision in config.space.decisions.values()]  # type: ignore[union-attr]
    for share in np.linspace(0, 1, count):
        middle = np.clip(share + 0.25 * rng.standard_normal(len(counts)), 0, 1)
        found.append(config.space.from_indices(np.floor(middle * (np.array(counts) - 1e-9)).astype(int)))
    return found


def _costs(config: SpaceConfig, shape: Shape, classes: int) -> list[object]:
    if isinstance(config, SizedSpace):
        bytes_moved = Sized(config, shape, classes, memory_access_in)
        return [cost_of("macs", config, shape, classes), bytes_moved, Sized(config, shape, classes, _there)]
    return [cost_of(name, config, shape, classes) for name in COSTS[:2]]


def _there(layer: Layer) -> Amount:
    """Return whether a layer is there: starting an operation has a price of its own."""
    return 1.0 * layer.share


def _features(costs: Sequence[object], indices: NDArray[np.integer]) -> NDArray[np.float64]:
    columns = [cost.exact(indices) for cost in costs]  # type: ignore[attr-defined]
    return np.stack([np.ones(len(indices)), *columns], axis=1)


def _fit(rows: NDArray[np.float64], seen: NDArray[np.float64]) -> NDArray[np.float64]:
    # by relative error, and every column on one scale
    scale = np.maximum(rows.max(0), 1e-12)
    weights, _ = nnls(rows / scale / seen[:, None], np.ones(len(seen)))
    return np.asarray(weights / scale)
