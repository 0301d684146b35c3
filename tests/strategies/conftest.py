"""Small searches in float64 to look into, and a network that notes under which gates it ran."""

import sys
from dataclasses import dataclass, field

import pytest
import torch

from renascent.core.protocols import Batch, Data, Goal, Progress, Setup, SpaceConfig, State, WeightRule
from renascent.core.space import Space, Subset
from renascent.loops.run import Run
from renascent.loops.share import share
from renascent.nets.cells.nats import NatsTopology
from renascent.nets.sizes.counted import Sized, macs_in
from renascent.nets.sizes.resnet_cifar import ResNetCifar
from renascent.nets.toy import ToySpace
from renascent.tasks.images import ImageTask
from renascent.tasks.toy import ToyTask


@dataclass
class Cell:
    """A search on images of 8x8 pixels, in float64."""

    state: State
    train: Batch
    val: Batch


def searched(strategy, config: SpaceConfig, std: float, **about) -> Cell:
    """Return a new search whose logits, if it has any, have the deviation `std`. about: more of `Setup`."""
    torch.manual_seed(0)
    images = torch.randint(256, (24, 1, 8, 8), dtype=torch.uint8)
    task = ImageTask.from_tensors(images, torch.arange(24) % 3)
    net = config.supernet(1, 3)
    state = strategy.init(Setup(net, task, config.space, WeightRule(lr=0.1), seed=0, **about))
    net.double()
    if state.policy is not None:
        state.policy.double()
    if hasattr(state.policy, "logits"):
        torch.nn.init.normal_(state.policy.logits, std=std)
    streams = task.streams(seed=0, batch=6)
    train, val = ((x.double(), y) for x, y in (streams.train.next(), streams.val.next()))
    return Cell(state, train, val)


@pytest.fixture
def cell():
    """Return a function from a strategy to a search of cells of three nodes, some steps old.

    Its logits are of order 1 and its momentum buffers are not zero.
    """

    def make(strategy) -> Cell:
        found = searched(strategy, NatsTopology(channels=2, cells=1, nodes=3), 1.0)
        for p in found.state.net.parameters():
            found.state.optimiser.state[p]["momentum_buffer"] = 0.3 * torch.randn_like(p)
        return found

    return make


@dataclass
class Watched:
    """A toy search. seen: the picks (active options of each decision) of every forward pass, and whether it learnt."""

    state: State
    task: ToyTask
    seen: list[tuple[tuple[tuple[int, ...], ...], bool, bool]] = field(default_factory=list)

    @property
    def data(self):
        return self.task.streams(seed=0, batch=8)


@pytest.fixture
def watched():
    """Return a function from a strategy to a `Watched` search of 2 decisions with 3 options.

    Each entry of `seen` is (active options of each decision, whether weights were frozen, whether a graph was built).
    """

    def make(strategy, **about) -> Watched:
        torch.manual_seed(0)
        config, task = ToySpace(rows=2, **about), ToyTask(rows=2, count_each=64)
        net = config.supernet(task.channels, task.classes)
        found = Watched(strategy.init(Setup(net, task, config.space, seed=3)), task)

        def note(module, given, out):
            frozen = not any(p.requires_grad for p in module.parameters())
            found.seen.append((tuple(g.active for g in given[1].values()), frozen, out.requires_grad))

        net.register_forward_hook(note)
        return found

    return make


@pytest.fixture
def sized():
    """Return a function from a strategy to a `Cell` search over the widths of a small ResNet, MACs bounded if asked.

    budget: share of the original's MACs.  about: more of `ResNetCifar`.
    """

    def make(strategy, budget=None, start=None, **about) -> Cell:
        config = ResNetCifar(**{"layers_count": 8, "depths": False, **about})
        cost = Sized(config, (1, 8, 8), 3, macs_in)
        whole = cost.exact(config.space.indices(config.reference)[None])[0]
        goals = (Goal("macs", budget * whole, cost, cost.exact),) if budget else ()
        return searched(strategy, config, 0.5, goals=goals, start=start)

    return make


class Fixed:
    """A stream that gives the same batch again and again, counts, and notes its name."""

    steps_per_epoch = 4

    def __init__(self, batch: Batch, name: str, log: list[str]) -> None:
        self.batch, self.given, self.name, self.log = batch, 0, name, log

    def next(self, gates=None) -> Batch:
        self.given += 1
        self.log.append(self.name)
        return self.batch


@pytest.fixture
def streams():
    """Return a function from a `Cell` to its two streams. log: which of them gave a batch, in order."""

    def make(cell, log=None) -> Data:
        log = [] if log is None else log
        return Data(train=Fixed(cell.train, "train", log), val=Fixed(cell.val, "val", log))

    return make


@pytest.fixture
def temperatures(watched, monkeypatch):
    """Return a function from a strategy, and the gates that it samples, to their temperatures in four steps."""

    def run(strategy, gates: str) -> list[float]:
        module, seen, held = sys.modules[type(strategy).__module__], [], watched(strategy)
        sample, data = getattr(module, gates), held.data

        def noted(space, logits, tau, *more):
            seen.append(tau)
            return sample(space, logits, tau, *more)

        monkeypatch.setattr(module, gates, noted)
        for k in range(4):
            strategy.step(held.state, data, Progress(k, 4, 4))
        return seen

    return run


class AnySubset(ToySpace):
    """The toy space with any number of channels in each row."""

    @property
    def space(self) -> Space:
        options = Subset(tuple(f"channel{k}" for k in range(self.channels)))
        return Space({f"row{row}": options for row in range(self.rows)}, name="toy-subsets")


@pytest.fixture
def subsets(tmp_path):
    """Return a function from a strategy and a seed to its search of subsets, and the channel planted in each row."""

    def run(strategy, seed=0, epochs=10, **about):
        torch.manual_seed(seed)
        config, task = AnySubset(), ToyTask(seed=seed)
        net = config.supernet(task.channels, task.classes)
        setup = Setup(net, task, config.space, WeightRule(lr=0.1), seed, **about)
        found = share(strategy, setup, epochs=epochs, batch=64, run=Run.start(tmp_path / str(seed), {}))
        return found, {f"row{row}": (f"channel{k}",) for row, k in enumerate(task.planted)}

    return run


@pytest.fixture
def digits_search(tmp_path):
    """Return a function from a strategy and a space to what a short search of 8x8 images finds."""

    def run(strategy, config: SpaceConfig, epochs=3, **about):
        torch.manual_seed(0)
        images = torch.randint(256, (48, 1, 8, 8), dtype=torch.uint8)
        task = ImageTask.from_tensors(images, torch.arange(48) % 3)
        setup = Setup(config.supernet(1, 3), task, config.space, WeightRule(lr=0.05), 0, **about)
        return share(strategy, setup, epochs=epochs, batch=4, run=Run.start(tmp_path / "run", {}))

    return run
