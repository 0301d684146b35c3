"""Latency predicted from a few measured networks of a space: what a budget uses where there is no table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls
from torch import Tensor, nn

from renascent.core.bounds import COSTS
from renascent.core.devices import usable_device
from renascent.core.environment import processor_name
from renascent.core.errors import UserError
from renascent.core.gates import Gates
from renascent.core.protocols import Priced, SpaceConfig
from renascent.core.space import Arch, Subset
from renascent.costs.budget import smallest
from renascent.costs.counts import cost_of
from renascent.costs.latency.runtimes import named
from renascent.costs.latency.turns import WATCH, Watch, in_turns
from renascent.nets.sizes.counted import Sized, memory_access_in
from renascent.nets.sizes.resolution import input_shape

Shape = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class FittedLatency:
    """Milliseconds as a sum of counted costs, each times a weight of at least 0. Called with gates: expected.

    Fitted to networks measured on this device, by the relative error. weights: (1 + costs,), the constant first.
    error: median relative error on the measured networks, each predicted by a fit without it.
    reference_ms: what the space's reference took, None where there is none.
    """

    costs: Sequence[Priced]
    weights: NDArray[np.float64]
    error: float
    reference_ms: float | None = None

    def __call__(self, gates: Gates) -> Tensor:
        """Return the expected latency, a float64 scalar with gradient."""
        terms = [cost(gates) * float(w) for cost, w in zip(self.costs, self.weights[1:], strict=True)]
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
    device: torch.device | str = "auto",
    runtime: str = "eager",
    milliseconds: Callable[[nn.Module, Shape], float] | None = None,
    watch: Watch = WATCH,
) -> FittedLatency:
    """Measure random networks of a space, of all sizes, its smallest and its reference, and fit a latency to them.

    networks: how many random ones.  runtime: what runs them, as in `measure`.
    milliseconds: measures one; unless given, some are measured in turns, a few dozen passes each.
    watch: keeps what was measured, shows it, and may refuse a bound once reference and smallest were measured.
    Raises UserError when the device measures nothing usable.
    """
    rng, place = np.random.default_rng([seed, 3]), usable_device(device)
    reference, costs = config.reference, _costs(config, shape, classes)
    random = _spread_out(config, rng, networks)[::-1]
    least = smallest(config, costs[0])
    first = [reference, least] if reference else [random[0], least]
    archs = list(dict.fromkeys([*first, *random]))
    watch = watch if archs[1:2] == [least] else replace(watch, refuse=WATCH.refuse)  # it is the first itself

    def built(arch: Arch) -> tuple[nn.Module, Shape]:
        return config.network(arch, shape[0], classes).eval(), input_shape(arch, shape)

    rows = _features(costs, np.stack([config.space.indices(arch) for arch in archs]))
    if milliseconds is None:
        about = {
            "networks": list(map(config.space.format, archs)),
            "costs": rows.tolist(),
            "processor": processor_name(),
        }
        about |= {"runtime": named(runtime, place), "model": config.model_fingerprint}
        seen = in_turns(archs, built, about, watch, runtime=runtime, device=place)
    else:
        seen = np.array([milliseconds(*built(arch)) for arch in archs])
    if not (np.isfinite(seen).all() and (seen > 0).all()):
        raise UserError(f"latency could not be measured on {place}: give a look-up table instead")
    left_out = [_fit(np.delete(rows, k, 0), np.delete(seen, k)) for k in range(len(seen))]
    errors = [abs(float(rows[k] @ w) / seen[k] - 1) for k, w in enumerate(left_out)]
    return FittedLatency(costs, _fit(rows, seen), float(np.median(errors)), float(seen[0]) if reference else None)


@dataclass(frozen=True)
class Stored:
    """A fitted latency as a file holds it: what `FittedLatency` says of the same names."""

    weights: list[float]
    error: float
    reference_ms: float | None = None


def restored(config: SpaceConfig, shape: Shape, classes: int, stored: Stored) -> FittedLatency:
    """Return a fitted latency from an earlier fit."""
    return FittedLatency(_costs(config, shape, classes), np.array(stored.weights), stored.error, stored.reference_ms)


def _spread_out(config: SpaceConfig, rng: np.random.Generator, count: int) -> list[Arch]:
    """Return architectures from the smallest to the largest: drawn around a share of the options that varies."""
    found = []
    counts = np.array(config.space.counts)
    for share in np.linspace(0, 1, count):
        middle = np.clip(share + 0.25 * rng.standard_normal(len(counts)), 0, 1) * (counts - 1e-9)
        away = np.abs(np.arange(counts.max()) + 0.5 - middle[:, None])
        row = config.space.strongest(-away)
        for k, decision in enumerate(config.space.decisions.values()):
            if isinstance(decision, Subset):  # that share of its options
                row[k] = (1 << np.flatnonzero(rng.random(len(decision.options)) < share)).sum()
        found.append(config.space.from_indices(row))
    return found


def _costs(config: SpaceConfig, shape: Shape, classes: int) -> list[Priced]:
    if not config.layered:
        return [cost_of(name, config, shape, classes) for name in COSTS[:2]]
    # starting an operation has a price of its own: whether a layer is there
    more = [Sized(config, shape, classes, of) for of in (memory_access_in, lambda layer: 1.0 * layer.presence)]
    return [cost_of("macs", config, shape, classes), *more]


def _features(costs: Sequence[Priced], indices: NDArray[np.integer]) -> NDArray[np.float64]:
    return np.stack([np.ones(len(indices)), *(cost.exact(indices) for cost in costs)], axis=1)


def _fit(rows: NDArray[np.float64], seen: NDArray[np.float64]) -> NDArray[np.float64]:
    # by relative error, and every column on one scale
    scale = np.maximum(rows.max(0), 1e-12)
    weights, _ = nnls(rows / scale / seen[:, None], np.ones(len(seen)))
    return np.asarray(weights / scale)
