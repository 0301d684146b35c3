"""What a search space answers for itself: its networks, its reference, and what they cost."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from renascent.core.bounds import COSTS
from renascent.core.dependencies import Graph, apart
from renascent.core.errors import UserError
from renascent.core.gates import Gates
from renascent.core.optimiser import Regions
from renascent.core.space import Arch, Space


class Priced(Protocol):
    """A cost that can be asked for gates, and for option indices (n, decisions)."""

    def __call__(self, gates: Gates) -> Tensor: ...

    def exact(self, indices: NDArray[np.integer]) -> NDArray[np.float64]: ...


class ChainBlock(NamedTuple):
    """What an architecture has at one place of a chain. kernel, expansion: 0 where nothing of the kind stands there.

    size: (h, w) of the map behind it.
    """

    decision: str
    option: str
    kernel: int
    expansion: int
    size: tuple[int, int]


class Ranked(NamedTuple):
    """A trained network whose channels are in order, the strongest first: the first k are the ones to keep.

    state: its weights in that order.
    strengths: width -> strength of each of its channels, not rising, of mean 1: the squared L2 norm of all weights that
        make or read a channel, over its mean in the group of channels that must go together.
    """

    state: Mapping[str, Tensor]
    strengths: Mapping[str, NDArray[np.float64]]


class Supernet(nn.Module, ABC):
    """A network that holds every architecture of `space`, with shared weights."""

    space: Space

    @abstractmethod
    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        """Map (batch, channels, h, w) to (batch, classes) under `gates`."""

    @abstractmethod
    def extract(self, arch: Arch) -> nn.Module:
        """Return a plain network of `arch` with a copy of the shared weights: no gates, exportable."""

    def places(self, decision: str) -> int:
        """Return how many places share a decision, with a value each."""
        return 1

    @property
    def plain(self) -> nn.Module:
        """The module whose weights have the names of those of an extracted network."""
        return self

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """The graphs whose edges its options are: by default, each decision leads from one input to an own output."""
        return apart({name: self.space.options(name) for name in self.space.decisions})

    def penalties(self, cost: str, arch: Arch, size: tuple[int, int]) -> NDArray[np.float64] | None:
        """Return what the penalty on each scale is multiplied by, (decisions, options), by a cost of what `arch` keeps.

        cost: "macs" or "memory_access_bytes".  size: (h, w) of images.  None: the network weighs all alike.
        """
        return None

    def crops(self, gates: Gates) -> Regions:
        """Return which part of each parameter takes part under `gates`; those without an entry take part whole."""
        return {}


class SpaceConfig(ABC):
    """A frozen dataclass of a search space's parameters, from which its networks are built.

    The first four say all of a space; the others are what some spaces know of themselves beside.
    """

    @property
    @abstractmethod
    def space(self) -> Space:
        """Every architecture that can be chosen."""

    @abstractmethod
    def supernet(self, channels_in: int, classes: int) -> Supernet:
        """Build the network that shares weights between all architectures."""

    @abstractmethod
    def network(self, arch: Arch, channels_in: int, classes: int, *, prune: bool = False) -> nn.Module:
        """Build one architecture, fresh; `prune` drops operations that cannot reach the output."""

    @abstractmethod
    def draw(self, arch: Arch) -> str:
        """Draw an architecture in text."""

    @property
    def reference(self) -> Arch | None:
        """The published network, or the user's as given, of which a budget such as macs<=0.5x takes half."""
        return None

    @property
    def trained(self) -> nn.Module | None:
        """The reference network, where it comes with weights of its own."""
        return None

    @property
    def given(self) -> nn.Module | None:
        """A copy of a user's model as it was given, trained or not; None for other spaces."""
        return None

    @property
    def memory_format(self) -> torch.memory_format:
        """Layout of maps that its networks run with."""
        return torch.channels_last

    @property
    def model_fingerprint(self) -> str | None:
        """What tells a user's model, which the fields only name, from others."""
        return None

    def cost(self, name: str, shape: tuple[int, int, int], classes: int) -> Priced | None:
        """Return a counted cost for data of `shape` (channels, h, w); None: the options' costs add up, count them.

        Raises UserError for a cost that the space does not know.
        """
        return None

    def layers(self, values: Mapping[str, Any], shape: tuple[int, int, int], classes: int) -> Sequence[Any]:
        """List the layers, as `renascent.nets.sizes.layers` has them. Raises UserError where a space cannot."""
        raise UserError(f"space '{self.space.name}' does not list its layers: a latency table is for spaces of sizes")

    @property
    def layered(self) -> bool:
        """Whether it lists its layers."""
        return type(self).layers is not SpaceConfig.layers

    def check_size(self, shape: tuple[int, int, int]) -> None:
        """Raise UserError for images of `shape` (channels, h, w) that are too small for its networks."""
        return  # most take any

    def option_layers(self, decision: str, option: str, shape: tuple[int, int, int]) -> Sequence[Any]:
        """List the layers that an option puts into the network, for data of `shape` (channels, h, w).

        Raises UserError where a space cannot.
        """
        raise UserError(f"space '{self.space.name}' does not list the layers of single options")

    def chain(self, arch: Arch, size: tuple[int, int]) -> Sequence[ChainBlock]:
        """List an architecture's blocks in order, for images of `size` (h, w); nothing where it is no chain of them."""
        return ()

    @property
    def costs(self) -> tuple[str, ...]:
        """The counted costs that it knows."""
        return COSTS if self.layered else COSTS[:2]

    def terms(
        self, of: Callable[[Any], float], shape: tuple[int, int, int], classes: int
    ) -> tuple[float, NDArray[np.float64]] | None:
        """Return a sum over layers as a constant and a term of each option, (decisions, options); None: it is no such.

        of: a layer's part.  shape: (channels, h, w) of the data.
        """
        return None

    def inherit(self, arch: Arch, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the weights whose leading parts `arch` takes, of those of the reference network."""
        return state

    def ranked(self, state: Mapping[str, Tensor] | None, channels_in: int, classes: int) -> Ranked:
        """Return the trained reference network, its channels in order. state: its weights, None where there are none.

        Raises UserError where a space is not one of sizes, or the weights are of another network.
        """
        raise UserError(f"space '{self.space.name}' has no sizes that could be scaled: search it")
