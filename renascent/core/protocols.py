"""The protocols that join the floors, on one page."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from renascent.core.files import Json
from renascent.core.gates import Gates
from renascent.core.optimiser import CroppedSGD
from renascent.core.optimiser import WeightRule as WeightRule
from renascent.core.preparation import Preparation
from renascent.core.progress import ALONE as ALONE
from renascent.core.progress import Progress as Progress
from renascent.core.progress import Rest as Rest
from renascent.core.progress import linear as linear
from renascent.core.space import Arch, Space
from renascent.core.spaces import Priced as Priced
from renascent.core.spaces import SpaceConfig as SpaceConfig
from renascent.core.spaces import Supernet as Supernet

Batch = tuple[Tensor, Tensor]
"""Inputs (batch, ...) and targets (batch, ...), on the task's device."""

Metrics = dict[str, Tensor]
"""Name -> detached scalar of one step, left on the device."""

Cost = Callable[[Gates], Tensor]
"""Gates -> scalar; its unit in its name: macs, params, latency_ms."""

Say = Callable[[Json], None]
"""A listener that is called with every event as it happens."""

P = TypeVar("P", bound=nn.Module | None)
"""What a strategy learns about decisions."""

Score = Callable[[Arch], float]
"""Architecture -> its score inside the supernet (an accuracy in [0, 1] or an agreement; higher is better)."""


Criterion = Callable[[Tensor, Tensor], Tensor]
"""Logits (batch, classes) and labels (batch,) -> the loss to minimise, a scalar."""

Change = Callable[[Tensor, torch.Generator], Tensor]
"""Raw images (batch, channels, h, w) and a generator on the CPU -> images of that shape and kind, changed at random."""


class Loss(NamedTuple):
    """loss: scalar to minimise, with gradient.  score: scalar, higher is better, detached; an accuracy is in [0, 1]."""

    loss: Tensor
    score: Tensor


class Stream(Protocol):
    """An endless, resumable sequence of batches. Its whole state is {"given": how many batches it has given}."""

    steps_per_epoch: int

    def next(self, gates: Gates | None = None) -> Batch:
        """Return the next batch; `gates` lets augmentation be a decision."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True)
class Data:
    """The two streams of a search. train: for the weights.  val: for the architecture."""

    train: Stream
    val: Stream


class Task(ABC):
    """What is to be learnt: data held on a device, and the loss.

    channels, size: of one input, (channels, *size).  name: for reports and folders.
    taught: whether a teacher's answers are in its loss.
    """

    taught = False

    name: str
    channels: int
    size: tuple[int, int]
    classes: int
    device: torch.device

    @abstractmethod
    def streams(self, seed: int, batch: int) -> Data:
        """Return the streams of a search: augmented training batches, and validation batches."""

    @abstractmethod
    def loss(
        self,
        net: Callable[..., Tensor],
        batch: Batch,
        gates: Gates | None = None,
        *,
        smoothing: float = 0.0,
        criterion: Criterion | None = None,
    ) -> Loss:
        """Run `net` on a batch; with `gates` when it is a supernet. smoothing: share of the target spread evenly.

        criterion: what is minimised in the place of the task's own loss, which knows of no smoothing then.
        """

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return JSON values that say which data these are; equal for equal data."""

    @abstractmethod
    def count(self, split: str) -> int:
        """Return how many inputs a split has; 0 when there is none."""

    @abstractmethod
    def stream(self, split: str, seed: int, batch: int, *, change: Change | None = None) -> Stream:
        """Return augmented training batches of one split ("train", "val", or "train+val"), shuffled every epoch.

        change: what is done to raw images besides; before they are normalised.
        """

    @abstractmethod
    def batches(self, split: str, batch: int) -> Sequence[Batch]:
        """Return one whole split ("train", "val", "test") in order, not augmented; the last batch may be smaller."""

    def labels(self, split: str) -> Tensor:
        """Return the targets (inputs, ...) of one whole split, in the order of `batches`."""
        return torch.cat([y for _, y in self.batches(split, 512)])

    @property
    def preparation(self) -> Preparation | None:
        """How its images became inputs, for whoever uses the network; None where a task does not say."""
        return None


@dataclass(frozen=True)
class Goal:
    """One bound of a budget. name: the cost, its unit in it: macs, latency_ms.  limit: the most allowed.

    cost: expected cost of gates, with gradient; exact where they are one-hot.
    exact: option indices (n, decisions) -> costs (n,).
    terms: where the cost is a constant plus one term a decision: that, and the terms (decisions, options).
    """

    name: str
    limit: float
    cost: Cost
    exact: Callable[[NDArray[np.integer]], NDArray[np.float64]]
    terms: tuple[float, NDArray[np.float64]] | None = None


@dataclass(frozen=True)
class Setup:
    """What a strategy starts from. space: the space searched.  seed: of everything random in the strategy.

    goals: the budget; what a search finds keeps all of it.
    start: the architecture to start from, where there is one: the reference, scaled to the budget.
    epochs: passes over the training split; 0 where nobody says.  steps: in all of them, likewise.
    reference: the network as published, or as given.
    channels: how strong the channels of each width of a trained reference are, (reference's width,): see `Ranked`.
    rest: of the training that the search is the first part of.
    sandwich: sizes between the largest and the smallest from which a weight step learns beside these two, the one that
        the strategy drew and others drawn uniformly; 0: a weight step learns from what the strategy drew alone.
    judge: the task whose score candidates are chosen by, where that is another than the task's own.
    """

    net: Supernet
    task: Task
    space: Space
    weights: WeightRule = field(default_factory=WeightRule)
    seed: int = 0
    goals: tuple[Goal, ...] = ()
    start: Arch | None = None
    epochs: int = 0
    reference: Arch | None = None
    channels: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    rest: Rest = ALONE
    sandwich: int = 0
    steps: int = 0
    judge: Task | None = None

    def generator(self) -> torch.Generator:
        """Return a generator on the CPU, so that a seed means the same draws on every device."""
        return torch.Generator().manual_seed(self.seed)


@dataclass
class State(Generic[P]):
    """Everything that changes during a one-shot search, visible in one place.

    optimiser: of the shared weights.  policy: what the strategy learns about decisions, None if no module does.
    rng: for every random draw of the strategy.  extra: small named values, such as a reward baseline.
    """

    setup: Setup
    optimiser: CroppedSGD
    rng: torch.Generator
    policy: P
    policy_optimiser: torch.optim.Optimizer | None = None
    extra: dict[str, Tensor] = field(default_factory=dict)

    @property
    def net(self) -> Supernet:
        return self.setup.net

    @property
    def space(self) -> Space:
        return self.setup.space

    def state_dict(self) -> dict[str, Any]:
        """Return plain dictionaries and tensors, the shared weights included."""
        tree: dict[str, Any] = {"net": self.net.state_dict(), "extra": dict(self.extra), "rng": self.rng.get_state()}
        return tree | {name: part.state_dict() for name, part in self._parts()}

    def load_state_dict(self, tree: Mapping[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self.net.load_state_dict(tree["net"])
        self.extra = dict(tree["extra"])
        self.rng.set_state(tree["rng"])
        for name, part in self._parts():
            part.load_state_dict(tree[name])

    def _parts(self) -> list[tuple[str, Any]]:
        kinds = (nn.Module, torch.optim.Optimizer)
        return [(f.name, v) for f in fields(self) if isinstance(v := getattr(self, f.name), kinds)]


@runtime_checkable
class OneShot(Protocol):
    """A search over shared weights: a frozen dataclass of hyperparameters. All that changes lives in `State`.

    A class attribute `takes_one_hot = False` says that it does not search a decision whose gates are one-hot only,
    `takes_subsets = False` that it takes one option of each decision: the loop then refuses spaces with such.
    One that prunes has a method `strengths` beside: state -> how strong each option is, (options,), at least 0. Inside
    a budget the weakest go first.
    """

    def init(self, setup: Setup) -> State[Any]:
        """Make the state of a new search."""

    def step(self, s: State[Any], data: Data, t: Progress) -> Metrics:
        """Pull the batches one step needs, and learn from them.

        The network is in evaluation mode before and after: training the weights needs `train()`, as `weight_step` does.
        """

    def derive(self, s: State[Any], score: Score) -> Arch:
        """Choose the final architecture; `score` is the accuracy inside the supernet."""

    def probabilities(self, s: State[Any]) -> Mapping[str, Tensor]:
        """Return how likely each option of each decision now is, each (options,); for reports.

        Of a Subset each option has a chance of its own: above 1/2 where it would be kept.
        """


@runtime_checkable
class Family(Protocol):
    """A choice without a search: a row of networks, of which the largest inside the budget is taken.

    A frozen dataclass of settings. Nothing is trained.
    """

    def family(self, setup: Setup) -> NDArray[np.int64]:
        """Return the row as option indices, (n, decisions): none is smaller than the one before in any decision.

        Raises UserError where the setup lacks what it goes by.
        """
