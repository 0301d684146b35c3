"""Multiply-accumulates and parameters of a module and of gates; counted costs by name, for any space."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from renascent.core.bounds import COSTS
from renascent.core.errors import UserError, unknown
from renascent.core.gates import Gate, Gates
from renascent.core.protocols import Priced, SpaceConfig
from renascent.core.space import Arch, Space, Subset
from renascent.nets.macs import count, uncounted
from renascent.nets.sizes.counted import COUNTED


def params(net: nn.Module) -> int:
    """Return the number of parameters.

    >>> params(nn.Linear(3, 2))
    8
    """
    return sum(p.numel() for p in net.parameters())


def macs(net: nn.Module, shape: tuple[int, ...]) -> int:
    """Return the multiply-accumulates of one input of `shape` (channels, h, w): convolutions and matrix products.

    The addition of a bias is no multiply-accumulate (NAS-Bench-201 counts the classifier's bias as one more a class).
    Raises UserError for a network with operations of which it is not known what they multiply.

    >>> macs(nn.Conv2d(3, 8, 3, padding=1), (3, 4, 4))
    3456
    """
    found = count(net, shape)
    if found.unknown:
        raise uncounted(found.unknown)
    return found.macs


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
            for name, row, count in zip(self.space.decisions, self.table, self.space.counts, strict=True)
        ]
        return torch.stack(terms).sum() + self.base

    def exact(self, indices: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return the cost (n,) of architectures given as option indices (n, decisions)."""
        columns = np.arange(self.table.shape[0])
        return np.asarray(self.base + self.table[columns, indices].sum(1))


class AdditiveKept(Additive):
    """As `Additive`, but of a Subset the terms of all that is kept: exact by what gates compute, whatever its weights.

    >>> from renascent.core.gates import scales
    >>> from renascent.core.space import Space, Subset
    >>> space = Space({"a": Subset(("x", "y"))})
    >>> cost = AdditiveKept(space, 1.0, np.array([[2.0, 4.0]]))
    >>> float(cost(scales(space, torch.tensor([[0.0, 0.3]])))), cost.exact(np.array([[0], [1], [3]])).tolist()
    (5.0, [1.0, 3.0, 7.0])
    """

    def __call__(self, gates: Gates) -> Tensor:
        """Return the cost of what gates compute, a float64 scalar; of other decisions the expected one."""
        kept = {}
        for name, decision in self.space.decisions.items():
            if isinstance(decision, Subset):
                picks = torch.tensor(gates[name].active, dtype=torch.long)
                kept[name] = Gate(torch.zeros(len(decision.options)).index_fill(0, picks, 1.0), gates[name].active)
        return super().__call__({**gates, **kept})

    def exact(self, indices: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return the cost (n,) of architectures given as option indices (n, decisions)."""
        rows = np.asarray(indices, dtype=np.int64)
        subsets = [isinstance(decision, Subset) for decision in self.space.decisions.values()]
        masks = np.where(subsets, rows, 1 << rows)
        bits = masks[:, :, None] >> np.arange(self.table.shape[1]) & 1
        return np.asarray(self.base + (bits * self.table).sum((1, 2)))


def additive(space: Space, count: Callable[[Arch], float]) -> Additive:
    """Return the additive cost that agrees with `count`, from one call an option.

    Only right where every option costs the same whatever the other decisions are, as operations on edges do.
    """
    several = {name for name, decision in space.decisions.items() if isinstance(decision, Subset)}
    first = {name: () if name in several else space.options(name)[0] for name in space.decisions}
    # a rule binds several decisions, and what one option costs is asked of one
    built = Arch if space.rules else space.arch
    base = float(count(built(first)))
    table = np.zeros((len(space.counts), max(space.counts)))
    for row, name in enumerate(space.decisions):
        for column, option in enumerate(space.options(name)):
            if name in several:
                table[row, column] = count(built(first | {name: (option,)})) - base
            elif column:
                table[row, column] = count(built(first | {name: option})) - base
    return AdditiveKept(space, base, table) if several else Additive(space, base, table)


def cost_of(name: str, config: SpaceConfig, shape: tuple[int, int, int], classes: int) -> Priced:
    """Return a cost of a space, for inputs of `shape` (channels, h, w): the space's own, or counted on its networks.

    Raises UserError for an unknown name, and for the bytes of a space that cannot list its layers, or not all that
    is in memory with them: a model of the user's own.

    >>> from renascent.nets import SPACES
    >>> config = SPACES["resnet20"]()
    >>> cost_of("params", config, (3, 32, 32), 10).exact(config.space.indices(config.reference)[None]).tolist()
    [272474.0]
    """
    if name not in COSTS:
        raise unknown("cost", name, COSTS)
    if (own := config.cost(name, shape, classes)) is not None:
        return own
    if name not in config.costs:
        raise UserError(
            f"{name} is known for spaces of sizes only, not for '{config.space.name}': "
            f"bound {', '.join(config.costs[:-1])} or {config.costs[-1]}"
        )

    if (terms := config.terms(COUNTED[name][0], shape, classes)) is not None:
        return Additive(config.space, *terms)

    def count(arch: Arch) -> float:
        with torch.device("meta"):
            net = config.network(arch, shape[0], classes)
        return macs(net, shape) if name == "macs" else params(net)

    return additive(config.space, count)
