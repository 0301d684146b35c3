"""Counted costs by name, for any space."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from renascent.core.errors import UserError, unknown
from renascent.core.protocols import SpaceConfig
from renascent.costs.counts import Additive, macs_of, params_of
from renascent.costs.sized import Sized, activations_in, macs_in, memory_access_in, params_in, peak
from renascent.nets.adapt import Adapted, Polynomial
from renascent.nets.sizes.layers import SizedSpace

Shape = tuple[int, int, int]

_SIZED: dict[str, Callable[[SizedSpace, Shape, int], Sized]] = {
    "macs": partial(Sized, of=macs_in),
    "params": partial(Sized, of=params_in),
    "memory_access_bytes": partial(Sized, of=memory_access_in),
    "activation_bytes": partial(Sized, of=activations_in, over=peak),
}

COSTS = tuple(_SIZED)
"""Multiply-accumulates, parameters, bytes moved, and the peak of bytes of maps alive: of one input."""


def cost_of(name: str, config: SpaceConfig, shape: Shape, classes: int) -> Additive | Sized | Polynomial:
    """Return a cost of a space, for inputs of `shape` (channels, h, w).

    Raises UserError for an unknown name, and for the bytes of a space that cannot list its layers, or not all that
    is in memory with them: a model of the user's own.

    >>> from renascent.nets import SPACES
    >>> config = SPACES["resnet20"]()
    >>> cost_of("params", config, (3, 32, 32), 10).exact(config.space.indices(config.reference)[None]).tolist()
    [272474.0]
    """
    if name not in COSTS:
        raise unknown("cost", name, COSTS)
    if isinstance(config, Adapted):
        if name not in ("macs", "params"):
            raise UserError(f"{name} is not counted for a model of your own: bound macs, params or latency_ms")
        return config.counted(name, shape, classes)
    if isinstance(config, SizedSpace):
        return _SIZED[name](config, shape, classes)
    if name == "macs":
        return macs_of(config, shape, classes)
    if name == "params":
        return params_of(config, shape[0], classes)
    raise UserError(f"{name} is known for spaces of sizes only, not for '{config.space.name}': bound macs or params")
