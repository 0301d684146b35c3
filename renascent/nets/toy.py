"""A small space to try strategies on, and an example of writing your own: choose where to look.

With `renascent.tasks.toy` it has one best architecture that is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from renascent.core.errors import UserError
from renascent.core.gates import Gates
from renascent.core.protocols import SpaceConfig, Supernet
from renascent.core.space import Arch, Choice, Space, Subset
from renascent.nets.cells.mixed import MixedOp


@dataclass(frozen=True, kw_only=True)
class ToySpace(SpaceConfig):
    """Each row of the input is read through one of its channels; a linear map of each reading votes on the class.

    rows: decisions; the height of the input.
    channels: options of each decision; the channels of the input.
    features: the width of the input.
    several: whether a row may be read through any of its channels, all and none included.

    >>> ToySpace(rows=2).space.size, ToySpace(rows=2, several=True).space.size
    (9, 64)
    """

    rows: int = 4
    channels: int = 3
    features: int = 4
    several: bool = False

    @property
    def space(self) -> Space:
        options = (Subset if self.several else Choice)(tuple(f"channel{k}" for k in range(self.channels)))
        return Space({f"row{row}": options for row in range(self.rows)}, name="toy")

    def supernet(self, channels_in: int, classes: int) -> ToySupernet:
        """Build the shared-weight network for (batch, channels_in, rows, features)."""
        return ToySupernet(self, channels_in, classes)

    def network(self, arch: Arch, channels_in: int, classes: int, *, prune: bool = False) -> ToyNetwork:
        """Build one architecture with fresh weights. `prune` changes nothing: every reading is used."""
        self.check(channels_in)
        readings = [Reading(k, row, self.features, classes) for row, k in self.kept(arch)]
        return ToyNetwork(readings, self.rows, classes)

    def draw(self, arch: Arch) -> str:
        """Draw an architecture in text."""
        return "\n".join(f"{row}: {channel}" for row, channel in arch.items())

    def kept(self, arch: Arch) -> list[tuple[int, int]]:
        """Return the row and the channel of every reading."""
        rows = enumerate(value if isinstance(value, tuple) else (value,) for value in arch.values())
        return [(row, int(str(channel).removeprefix("channel"))) for row, value in rows for channel in value]

    def readings(self, row: int, classes: int) -> list[Reading]:
        """Return a fresh module for every option of one row's decision."""
        return [Reading(channel, row, self.features, classes) for channel in range(self.channels)]

    def check(self, channels_in: int) -> None:
        """Raise UserError unless the data have a channel for every option."""
        if channels_in != self.channels:
            raise UserError(
                f"the data have {channels_in} channels and the toy space reads {self.channels}: "
                f"give ToySpace(channels={channels_in})"
            )


class Reading(nn.Module):
    """A linear map of one row of one channel, normalised: (batch, channels, rows, features) to (batch, classes).

    Without the normalisation the weights would take over what a gate's weight says, and GDAS, which learns only from
    the slope along the weight of what it sampled, would see none.
    """

    def __init__(self, channel: int, row: int, features: int, classes: int) -> None:
        super().__init__()
        self.channel, self.row = channel, row
        self.linear = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> Tensor:
        votes = self.linear(x[:, self.channel, self.row])
        return functional.layer_norm(votes, votes.shape[1:])


class ToyNetwork(nn.Module):
    """One architecture of the toy space, a plain module."""

    def __init__(self, readings: list[Reading], rows: int, classes: int) -> None:
        super().__init__()
        self.readings, self.rows, self.classes = nn.ModuleList(readings), rows, classes

    def forward(self, x: Tensor) -> Tensor:
        nothing = x.new_zeros(len(x), self.classes)
        return torch.stack([nothing, *(reading(x) for reading in self.readings)]).sum(0) / self.rows


class ToySupernet(Supernet):
    """The toy space with shared weights."""

    def __init__(self, config: ToySpace, channels_in: int, classes: int) -> None:
        super().__init__()
        config.check(channels_in)
        self.config, self.space, self.classes = config, config.space, classes
        self.rows = nn.ModuleDict({f"row{k}": MixedOp(config.readings(k, classes)) for k in range(config.rows)})

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        return torch.stack([mixed(x, gates[name]) for name, mixed in self.rows.items()]).mean(0)

    def extract(self, arch: Arch) -> ToyNetwork:
        """Return `arch` with a copy of the shared weights."""
        net = self.config.network(arch, self.config.channels, self.classes).to(next(self.parameters()))
        for reading, (row, channel) in zip(net.readings, self.config.kept(arch), strict=True):
            reading.load_state_dict(self.rows[f"row{row}"].options[channel].state_dict())  # type: ignore[union-attr, index]
        return net
