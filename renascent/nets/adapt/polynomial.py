"""Costs that are sums of products of widths: multiply-accumulates and parameters."""

import functools
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from renascent.core.gates import Gates
from renascent.core.space import Space

Powers = tuple[tuple[str, int], ...]
"""Decision -> power, of one product."""

Linear = tuple[float, Mapping[str, float]]
"""A constant and a factor for each decision: the length of an axis."""


@dataclass(frozen=True)
class Term:
    """factor * product of (decision's value)^power, where `depth` (decision, least value) holds.

    factor: one number, or one for each option of the decision "resolution".
    """

    factor: tuple[float, ...]
    powers: Powers
    depth: tuple[str, int] | None = None


@dataclass(frozen=True)
class Polynomial:
    """A cost of a space of `Integer` decisions. Call it with gates for the expected cost, exact if they are one-hot.

    terms: each is a product of decisions that are independent of each other.
    units: what the values of some decisions are divided by in the terms, so that all factors are whole numbers.

    >>> from renascent.core.gates import soft
    >>> from renascent.core.space import Integer
    >>> space = Space({"a": Integer((2, 4)), "b": Integer((1, 3))})
    >>> cost = Polynomial(space, (Term((1.0,), (("a", 1), ("b", 1))), Term((1.0,), (("a", 2),))))
    >>> cost.exact(np.array([[0, 0], [1, 1]])).tolist(), float(cost(soft(space, torch.zeros(2, 2))))
    ([6.0, 28.0], 16.0)
    """

    space: Space
    terms: tuple[Term, ...]
    units: Mapping[str, int] = field(default_factory=dict)

    def exact(self, indices: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return the cost (n,) of architectures given as option indices (n, decisions)."""
        columns = dict(zip(self.space.decisions, np.asarray(indices).T, strict=True))
        picked = {name: self._options(name)[column] for name, column in columns.items()}
        total = np.zeros(len(indices))
        for term in self.terms:
            factor = np.asarray(term.factor)
            value = factor[columns["resolution"]] if len(factor) > 1 else factor[0]
            for name, power in term.powers:
                value = value * picked[name] ** power
            if term.depth is not None:
                value = value * (picked[term.depth[0]] >= term.depth[1])
            total = total + value
        return total

    def __call__(self, gates: Gates) -> Tensor:
        """Return the expected cost of normalised gates, a float64 scalar with gradient."""

        @functools.cache
        def moment(name: str, power: int) -> Tensor:
            weight = gates[name].weight
            return (weight.double() * torch.as_tensor(self._options(name) ** power, device=weight.device)).sum()

        return torch.stack([self._expected(term, gates, moment) for term in self.terms]).sum()

    def _expected(self, term: Term, gates: Gates, moment: Callable[[str, int], Tensor]) -> Tensor:
        device = next(iter(gates.values())).weight.device if gates else torch.device("cpu")
        value = torch.tensor(term.factor, dtype=torch.float64, device=device)
        value = (value * gates["resolution"].weight.double()).sum() if len(term.factor) > 1 else value[0]
        for name, power in term.powers:
            value = value * moment(name, power)
        if term.depth is not None:
            name, least = term.depth
            there = torch.as_tensor(self._options(name) >= least, device=device)
            value = value * (gates[name].weight.double() * there).sum()
        return value

    def _options(self, name: str) -> NDArray[np.float64]:
        return np.array(self.space.options(name), dtype=np.float64) / self.units.get(name, 1)


def multiplied(axes: Sequence[Linear]) -> dict[Powers, float]:
    """Return the product of lengths of axes as factor of each product of powers.

    >>> multiplied([(1.0, {"a": 2.0}), (0.0, {"a": 1.0})])
    {(('a', 1),): 1.0, (('a', 2),): 2.0}
    """
    found: dict[Powers, float] = {(): 1.0}
    for constant, factors in axes:
        grown: dict[Powers, float] = defaultdict(float)
        for powers, factor in found.items():
            if constant:
                grown[powers] += factor * constant
            for name, more in factors.items():
                raised = dict(powers)
                raised[name] = raised.get(name, 0) + 1
                grown[tuple(sorted(raised.items()))] += factor * more
        found = dict(grown)
    return found


def collected(space: Space, terms: Sequence[Term], units: Mapping[str, int]) -> Polynomial:
    """Return the polynomial of many terms, those that differ by their factor only added up."""
    alike: dict[tuple[Powers, tuple[str, int] | None], list[tuple[float, ...]]] = defaultdict(list)
    for term in terms:
        alike[term.powers, term.depth].append(term.factor)
    found = []
    for (powers, depth), factors in alike.items():
        longest = max(map(len, factors))
        columns = [f if len(f) == longest else f * longest for f in factors]
        found.append(Term(tuple(math.fsum(column) for column in zip(*columns, strict=True)), powers, depth))
    return Polynomial(space, tuple(found), units)
