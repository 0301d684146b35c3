"""Multiply-accumulates and parameters: of a module, and of gates."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from renascent.core.gates import Gates, option_counts
from renascent.core.protocols import SpaceConfig
from renascent.core.space import Arch, Space
from renascent.costs.sized import Sized, macs_in, params_in
from renascent.nets.adapt.trace import unfused
from renascent.nets.sizes.layers import SizedSpace


def params(net: nn.Module) -> int:
    """Return the number of parameters.

    >>> params(nn.Linear(3, 2))
    8
    """
    return sum(p.numel() for p in net.parameters())


def macs(net: nn.Module, shape: tuple[int, ...]) -> int:
    """Return the multiply-accumulates of one input of `shape` (channels, h, w): convolutions and matrix products.

    Counted by torch's own formulas, on the meta device where that works, so that nothing is computed. The addition of
    a bias is no multiply-accumulate (NAS-Bench-201 counts the classifier's bias as one more a class).

    >>> macs(nn.Conv2d(3, 8, 3, padding=1), (3, 4, 4))
    3456
    """
    try:
        return _counted(copy.deepcopy(net).to("meta"), torch.empty(1, *shape, device="meta"))
    except (RuntimeError, NotImplementedError):  # code that makes tensors of its own puts them elsewhere
        return _counted(copy.deepcopy(net), torch.zeros(1, *shape).to(next(net.parameters(), torch.empty(0))))


class Additive:
    """A cost that is a constant plus one term a decision. Call it with gates for the expected cost.

    base: the constant.  table: (decisions, options), rows padded with zeros.

    >>> from renascent.core.gates import soft
    >>> from renascent.core.space import Choice, Space
    >>> space = Space({"a": Choice(("x", "y"))})
    >>> cost = Additive(space, 1.0, np.array([[0.0, 4.0]]))
    >>> float(cost(soft(space, torch.zeros(1, 2)))), cost.exact(np.array([[0], [1]])).tolist()
    (3.0, [1.0, 5.0])
    """

    def __init__(self, space: Space, base: float, table: NDArray[np.float64]) -> None:
        self.space, self.base, self.table = space, base, table

    def __call__(self, gates: Gates) -> Tensor:
        """Return the expected cost of normalised gates, a float64 scalar with gradient; exact if they are one-hot."""
        # in float64: a count of 10^8 and more has no exact float32
        terms = [
            (gates[name].weight.double() * torch.as_tensor(row[:count], device=gates[name].weight.device)).sum()
            for name, row, count in zip(self.space.decisions, self.table, option_counts(self.space), strict=True)
        ]
        return torch.stack(terms).sum() + self.base

    def exact(self, indices: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return the cost (n,) of architectures given as option indices (n, decisions)."""
        columns = np.arange(self.table.shape[0])
        return np.asarray(self.base + self.table[columns, indices].sum(1))


def additive(space: Space, count: Callable[[Arch], float]) -> Additive:
    """Return the additive cost that agrees with `count`, from one call an option.

    Only right where every option costs the same whatever the other decisions are, as operations on edges do.
    """
    first = {name: decision.options[0] for name, decision in space.decisions.items()}  # type: ignore[union-attr]
    base = float(count(space.arch(first)))
    counts = option_counts(space)
    table = np.zeros((len(counts), max(counts)))
    for row, (name, decision) in enumerate(space.decisions.items()):
        for column, option in enumerate(decision.options[1:], start=1):  # type: ignore[union-attr]
            table[row, column] = count(space.arch(first | {name: option})) - base
    return Additive(space, base, table)


def macs_of(config: SpaceConfig, shape: tuple[int, int, int], classes: int) -> Additive | Sized:
    """Return the multiply-accumulates of every architecture of a space, on inputs (channels, h, w).

    Of sizes, or additive: every option of a decision costs the same, whatever the others are.
    """
    if isinstance(config, SizedSpace):
        return Sized(config, shape, classes, macs_in)
    return additive(config.space, lambda arch: macs(_meta(config, arch, shape[0], classes), shape))


def params_of(config: SpaceConfig, channels_in: int, classes: int) -> Additive | Sized:
    """Return the parameters of every architecture of a space, of sizes or additive."""
    if isinstance(config, SizedSpace):
        return Sized(config, (channels_in, 1, 1), classes, params_in)
    return additive(config.space, lambda arch: params(_meta(config, arch, channels_in, classes)))


@torch.no_grad()
def _counted(net: nn.Module, x: Tensor) -> int:
    # attention in one kernel has no formula on every device
    with unfused(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        net.eval()(x)
    return int(counter.get_total_flops()) // 2


def _meta(config: SpaceConfig, arch: Arch, channels_in: int, classes: int) -> nn.Module:
    with torch.device("meta"):
        return config.network(arch, channels_in, classes)
