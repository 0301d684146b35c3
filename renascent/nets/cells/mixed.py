"""A mixture of modules under one gate: the piece from which most supernets can be built."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from renascent.core.gates import Gate, certain
from renascent.nets.cells.ops import Zero
from renascent.nets.cells.probe import probe, unnoticed


class MixedOp(nn.Module):
    """The sum of a gate's active options, each times its weight. Options that are not active are not computed.

    One that is certain is not multiplied, and `Zero` is never computed: an architecture costs what it does by itself.

    options: modules from one input shape to one output shape, that keep no statistics of what passes through them
    (batch normalisation: `track_running_stats=False`), for they see mixtures of many architectures.

    >>> mixed = MixedOp([nn.Identity(), nn.ReLU()])
    >>> mixed(torch.tensor([-1.0, 2.0]), Gate(torch.tensor([0.5, 0.5]), active=(0, 1)))
    tensor([-0.5000,  2.0000])
    >>> mixed(torch.tensor([-1.0, 2.0]), Gate(torch.zeros(2), active=()))
    tensor([0., 0.])
    """

    def __init__(self, options: Iterable[nn.Module]) -> None:
        super().__init__()
        self.options = nn.ModuleList(options)
        self.computed = frozenset(k for k, option in enumerate(self.options) if not isinstance(option, Zero))

    def forward(self, x: Tensor, gate: Gate) -> Tensor:
        """Map x under `gate`, whose weight is (options,)."""
        active = [k for k in gate.active if k in self.computed]
        if active and certain(gate):
            return self.options[active[0]](x)  # type: ignore[no-any-return]
        weight = gate.weight.to(x.device)
        parts = [self.options[k](x) * weight[k] for k in active]
        out = sum(parts[1:], parts[0]) if parts else self._nothing(x)
        return probe(out, x, weight, {k: self.options[k] for k in gate.probe if k in self.computed})

    def _nothing(self, x: Tensor) -> Tensor:
        """Return zeros of the output's shape, which only an option knows: the cheapest, where there is one."""
        k = next((k for k in range(len(self.options)) if k not in self.computed), 0)
        return torch.zeros_like(unnoticed(self.options[k], x))
