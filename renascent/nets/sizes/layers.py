"""Layers of a network of decided size, as costs read them: for one architecture, for many, or for what gates expect.

A size space lists its layers for the values of its decisions. These values are whole numbers for one architecture,
integer arrays (n,) for n of them, or random numbers (`RandomWidth`) under gates.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from renascent.core.gates import Gate, Gates
from renascent.core.space import Space


@dataclass(frozen=True, eq=False)
class RandomWidth:
    """A random whole number. values: (n,).  probabilities: (n,), float64, may carry gradient.

    Numbers that share their `probabilities` are functions of one sample; all others are independent.
    """

    values: NDArray[np.int64]
    probabilities: Tensor

    def mean(self) -> Tensor:
        """Return the expectation, a scalar."""
        return (self.probabilities * _like(self.values, self.probabilities)).sum()

    def __mul__(self, factor: int) -> RandomWidth:
        return RandomWidth(self.values * factor, self.probabilities)

    def __floordiv__(self, divisor: int) -> RandomWidth:
        return RandomWidth(self.values // divisor, self.probabilities)

    def __add__(self, other: Quantity) -> RandomWidth:
        """Return the sum with a number, or with another random one that is independent."""
        if not isinstance(other, RandomWidth):
            return RandomWidth(self.values + other, self.probabilities)
        values, where = np.unique(np.add.outer(self.values, other.values), return_inverse=True)
        both = torch.outer(self.probabilities, other.probabilities).flatten()
        index = torch.from_numpy(where.reshape(-1)).to(both.device)
        return RandomWidth(values, both.new_zeros(len(values)).index_add(0, index, both))

    __radd__ = __add__


Quantity = int | NDArray[np.int64] | RandomWidth
"""A number of channels or pixels: of one architecture, of n, or random."""

Amount = Any
"""What a cost is of: a number, an array (n,) or a float64 scalar tensor."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """One layer. name: of its module.  kind: "conv", "depthwise", "linear", "norm", "pool" or "add".

    inputs, outputs: channels.
    size: (h, w) of its input map.
    presence: probability that the layer exists; 0 or 1, or a truth value for each of n architectures.
    norm: whether batch normalisation follows.
    active: whether an activation does.
    held: (channels, h, w) of each map that has to be kept meanwhile, for a shortcut.
    dilation: of the kernel.
    """

    name: str
    kind: str
    inputs: Quantity
    outputs: Quantity
    size: tuple[Quantity, Quantity]
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    norm: bool = True
    active: bool = True
    presence: Amount = 1
    held: tuple[tuple[Quantity, Quantity, Quantity], ...] = ()
    dilation: int = 1

    @property
    def size_out(self) -> tuple[Quantity, Quantity]:
        """(h, w) of its output map; the padding is half the kernel."""
        if self.kind == "linear":
            return 1, 1
        return strided(self.size[0], self.stride), strided(self.size[1], self.stride)

    def shapes(self) -> dict[str, tuple[Any, ...]]:
        """Return the shape of every parameter of this layer, by its name."""
        if self.kind == "linear":
            return {f"{self.name}.weight": (self.outputs, self.inputs), f"{self.name}.bias": (self.outputs,)}
        found: dict[str, tuple[Any, ...]] = {}
        if self.kind in ("conv", "depthwise"):
            found[f"{self.name}.conv.weight"] = self.outputs, 1 if self.kind == "depthwise" else self.inputs
        if self.norm and self.kind not in ("pool", "add"):
            found |= {f"{self.name}.norm.{what}": (self.outputs,) for what in ("weight", "bias")}
        return found


def spreads(space: Space, gates: Gates) -> dict[str, Quantity]:
    """Return the value of each decision under gates: random, or the number itself where only one is possible."""
    return {name: _spread(space.options(name), gates[name]) for name in space.decisions}


def columns(space: Space, indices: NDArray[np.integer]) -> dict[str, Quantity]:
    """Return the values (n,) of each decision for architectures given as option indices (n, decisions)."""
    options = {name: np.asarray(space.options(name)) for name in space.decisions}
    return {name: values[indices[:, k]] for k, (name, values) in enumerate(options.items())}


def largest_active(space: Space, gates: Gates) -> dict[str, int]:
    """Return the widest option of each decision that `gates` compute; the first where they compute none."""
    return {name: space.options(name)[max(gates[name].active, default=0)] for name in space.decisions}


def widest(*numbers: Quantity) -> Quantity:
    """Return the largest: what an addition that pads with zeros is wide.

    >>> widest(8, 16), widest(np.array([4, 32]), 16).tolist()
    (16, [16, 32])
    """
    return functools.reduce(_wider, {id(n): n for n in numbers}.values())


def strided(number: Quantity, stride: int) -> Quantity:
    """Return the length of a map behind a stride, rounded up.

    >>> strided(7, 2)
    4
    """
    return number if stride == 1 else (number + (stride - 1)) // stride


def present(depth: Quantity, least: int) -> Amount:
    """Return whether, or how likely, what needs a depth of `least` is there."""
    if isinstance(depth, RandomWidth):
        return depth.probabilities[torch.as_tensor(depth.values >= least)].sum()
    return depth >= least


def is_option(value: Any, option: str) -> Amount:
    """Return whether, or how likely, a decision has an option. value: its name, names (n,), or random."""
    if isinstance(value, RandomWidth):
        return value.probabilities[torch.as_tensor(value.values == option)].sum()
    return value == option


def chosen(number: Quantity, among: Mapping[int, Quantity]) -> Quantity:
    """Return the quantity that belongs to a number, of those listed for each value it can have."""
    options = list(among.values())
    if all(option is options[0] for option in options):
        return options[0]
    if isinstance(number, RandomWidth):
        among = {int(v): among[int(v)] for v in number.values}
        if all(isinstance(option, int) for option in among.values()):
            return RandomWidth(np.array(list(among.values()), dtype=np.int64), number.probabilities)  # of the same draw
        return _mixture([(number.probabilities[k], option) for k, option in enumerate(among.values())])
    if isinstance(number, np.ndarray):
        return np.select([number == key for key in among], [np.asarray(option) for option in options])
    return among[number]


def product(*factors: Amount) -> Amount:
    """Return the expected product. Functions of one draw are taken together: a tied width counts as E[C^2].

    >>> even = RandomWidth(np.array([1, 3]), torch.tensor([0.5, 0.5], dtype=torch.float64))
    >>> apart = RandomWidth(even.values, even.probabilities.clone())
    >>> float(product(even, even)), float(product(even, apart)), product(2, 3)
    (5.0, 4.0, 6)
    """
    plain = [f for f in factors if not isinstance(f, RandomWidth)]
    draws: dict[int, tuple[Tensor, list[NDArray[np.int64]]]] = {}
    for factor in factors:
        if isinstance(factor, RandomWidth):
            draws.setdefault(id(factor.probabilities), (factor.probabilities, []))[1].append(factor.values)
    means = [(c * _like(np.prod(np.stack(v), axis=0), c)).sum() for c, v in draws.values()]
    return math.prod(plain) * math.prod(means) if means else math.prod(plain)


def _spread(options: Sequence[int], gate: Gate) -> Quantity:
    if len(options) == 1 or (len(gate.active) < 2 and not gate.weight.requires_grad):
        return options[gate.active[0]] if gate.active else options[0]
    return RandomWidth(np.asarray(options), gate.weight.double())


def _like(values: NDArray[Any], tensor: Tensor) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64, device=tensor.device)


def _wider(a: Quantity, b: Quantity) -> Quantity:
    if not isinstance(a, RandomWidth) and not isinstance(b, RandomWidth):
        return max(a, b) if isinstance(a, int) and isinstance(b, int) else np.maximum(a, b)
    if isinstance(a, RandomWidth) and isinstance(b, RandomWidth) and a.probabilities is b.probabilities:
        return RandomWidth(np.maximum(a.values, b.values), a.probabilities)
    (va, ca), (vb, cb) = _as_spread(a, b), _as_spread(b, a)
    values = np.union1d(va, vb)
    values = values[values >= max(va.min(), vb.min())]
    below = [_below(values, v, c) for v, c in ((va, ca), (vb, cb))]
    reached = below[0] * below[1]
    return RandomWidth(values, torch.diff(reached, prepend=reached.new_zeros(1)))


def _as_spread(number: Quantity, other: Quantity) -> tuple[NDArray[np.int64], Tensor]:
    if isinstance(number, RandomWidth):
        return number.values, number.probabilities
    assert isinstance(other, RandomWidth) and isinstance(number, int), "arrays and random numbers do not mix"
    return np.array([number]), other.probabilities.new_ones(1)


def _below(points: NDArray[np.int64], values: NDArray[np.int64], probabilities: Tensor) -> Tensor:
    """Return the probability of at most each point."""
    return (torch.as_tensor(values[None, :] <= points[:, None], device=probabilities.device) * probabilities).sum(1)


def _mixture(parts: Sequence[tuple[Tensor, Quantity]]) -> RandomWidth:
    """Return the mixture of several numbers, each with its probability."""
    spread = [(probability, *_as_spread(q, RandomWidth(np.array([0]), probability[None]))) for probability, q in parts]
    values = np.unique(np.concatenate([v for _, v, _ in spread]))
    probabilities = [
        probability * (torch.as_tensor(values[:, None] == v[None, :]) * c).sum(1) for probability, v, c in spread
    ]
    return RandomWidth(values, torch.stack(probabilities).sum(0))
