"""What an architecture is worth, found by training it from scratch."""

import math
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from renascent.core.errors import Diverged
from renascent.core.files import Json
from renascent.core.protocols import SpaceConfig, Task
from renascent.core.space import Arch
from renascent.loops.fit import Fit, fit
from renascent.loops.run import Run
from renascent.strategies.trials.protocol import Outcome, Proposal

MEASURES = ("accuracy", "loss")


class Curves(NamedTuple):
    """How one training went.

    values: "train_accuracy" in %, "train_loss" and so on, one number an epoch. The values of "train" are means over the
    epoch's own steps, augmented; the other splits are judged after the epoch.
    seconds: of the training steps: of the processor on a CPU, of the clock elsewhere.
    """

    values: dict[str, list[float]]
    seconds: float


def splits_of(task: Task) -> tuple[str, ...]:
    """Return the splits of a task that a training is judged on: "val", and "test" where there is one."""
    return ("val", "test") if task.count("test") else ("val",)


def train_curves(space: SpaceConfig, arch: Arch, task: Task, settings: Fit, seed: int) -> Curves:
    """Train one architecture on the split "train" with one thread, judging it after every epoch.

    The same numbers bit for bit on the same processor and torch, the seconds apart.
    Raises Diverged when a loss is not finite, Interrupted after Ctrl-C, UserError when `drop_path` is asked of a
    network without one.
    """
    events: list[Json] = []
    devices = [task.device] if task.device.type == "cuda" else []
    with one_thread(), torch.random.fork_rng(devices), tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(seed)
        net = _network(space, arch, task, settings)
        net = net.to(memory_format=space.memory_format)  # type: ignore[call-overload]
        # not by `Run.start`: nobody reads this folder, and asking git for its state takes as long as some trainings
        run, splits = Run(Path(folder), {}), splits_of(task)
        done = fit(net, task, settings, run=run, seed=seed, split="train", evaluate=(), watch=splits, say=events.append)
    epochs = [event for event in events if event["event"] == "epoch"]
    values = {}
    for split in ("train", *splits):
        values[f"{split}_accuracy"] = [100 * float(event[f"{split}_score"]) for event in epochs]
        values[f"{split}_loss"] = [float(event[f"{split}_loss"]) for event in epochs]
    return Curves(values, done.process_seconds if task.device.type == "cpu" else done.seconds)


def _network(space: SpaceConfig, arch: Arch, task: Task, settings: Fit) -> nn.Module:
    held = torch.get_default_dtype()
    # drawn in single precision, the first weights would already differ between processors
    torch.set_default_dtype(torch.float64 if settings.float64 else held)
    try:
        return space.network(arch, task.channels, task.classes)
    finally:
        torch.set_default_dtype(held)


@dataclass(frozen=True)
class Trained:
    """An evaluator that trains every architecture from scratch on the split "train", and scores it on "val".

    settings: of a training; a proposal that names its epochs gets a whole schedule of that length.

    >>> from renascent.nets.toy import ToySpace
    >>> from renascent.tasks.toy import ToyTask
    >>> evaluate = Trained(ToySpace(), ToyTask(count_each=16), Fit(batch=16))
    >>> outcome = evaluate(Proposal((0, 0, 0, 0), epochs=1), 0)
    >>> sorted(outcome.metrics)[:3], outcome.score == outcome.metrics["val_accuracy"]
    (['test_accuracy', 'test_loss', 'train_accuracy'], True)
    """

    space: SpaceConfig
    task: Task
    settings: Fit = field(default_factory=Fit)

    def __call__(self, proposal: Proposal, seed: int) -> Outcome:
        """Return the accuracy on "val" after the last epoch, in %, and the last figures of all splits.

        A training that diverges scores minus infinity. Raises as `train_curves`, otherwise.
        """
        settings = replace(self.settings, epochs=proposal.epochs or self.settings.epochs)
        began = time.process_time()
        try:
            curves = train_curves(self.space, self.space.space.from_indices(proposal.picks), self.task, settings, seed)
        except Diverged:
            return Outcome(-math.inf, time.process_time() - began)
        last = {name: values[-1] for name, values in curves.values.items()}
        return Outcome(last["val_accuracy"], curves.seconds, last)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread inside: how sums are split among threads changes their last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
