"""A task whose best architecture is known: made from a seed, learnt in a second."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from renascent.core.fields import OneOf
from renascent.core.gates import Gates
from renascent.core.protocols import Batch, Change, Criterion, Data, Loss, Task
from renascent.tasks.streams import InOrder, Shuffled, in_chunks

SPLITS = ("train", "val", "test", "train+val")


class ToyTask(Task):
    """Inputs (channels, rows, features) of noise, in which one channel of every row tells something of the class.

    A network that reads the telling channel of every row is the best, and each row it reads wrongly costs accuracy.

    planted: (rows,), the telling channel of each row.
    count_each: inputs in each of the splits "train", "val" and "test".
    signal: length of the class's mark in a telling row, where the noise has length one a feature.

    >>> task = ToyTask(seed=0)
    >>> task.planted, task.count("train"), [tuple(t.shape) for t in task.streams(seed=0, batch=8).train.next()]
    ((2, 1, 1, 0), 512, [(8, 3, 4, 4), (8,)])
    """

    def __init__(
        self,
        *,
        rows: int = 4,
        channels: int = 3,
        features: int = 4,
        classes: int = 4,
        count_each: int = 512,
        signal: float = 1.5,
        seed: int = 0,
    ) -> None:
        rng = np.random.default_rng(seed)
        self.name, self.channels, self.size, self.classes = "toy", channels, (rows, features), classes
        self.device, self.seed, self.signal = torch.device("cpu"), seed, signal
        self.planted = tuple(int(k) for k in rng.integers(channels, size=rows))
        marks = rng.standard_normal((classes, rows, features))
        marks *= signal / np.linalg.norm(marks, axis=-1, keepdims=True)
        self._data = {split: self._draw(rng, marks, count_each) for split in SPLITS[:3]}
        x, y = (torch.cat(both) for both in zip(self._data["train"], self._data["val"], strict=True))
        self._data["train+val"] = x, y

    def _draw(self, rng: np.random.Generator, marks: NDArray[np.float64], count: int) -> Batch:
        labels = rng.permutation(np.arange(count) % self.classes)
        x = rng.standard_normal((count, self.channels, *self.size))
        for row, channel in enumerate(self.planted):
            x[:, channel, row] += marks[labels, row]
        return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(labels)

    def describe(self) -> dict[str, Any]:
        """Return the numbers the data are made from."""
        shape = [self.channels, *self.size]
        return {
            "name": self.name,
            "shape": shape,
            "classes": self.classes,
            "images": {split: self.count(split) for split in SPLITS[:3]},
            "signal": self.signal,
            "seed": self.seed,
        }

    def count(self, split: str) -> int:
        """Return how many inputs a split has."""
        return len(self._split(split)[1])

    def streams(self, seed: int, batch: int) -> Data:
        """Return a search's two streams."""
        return Data(train=self.stream("train", seed, batch), val=self.stream("val", seed, batch))

    def stream(self, split: str, seed: int, batch: int, *, change: Change | None = None) -> Shuffled:
        """Return shuffled batches of one split. change: what is done to the inputs of each."""
        x, y = self._split(split)
        items = torch.arange(len(y))

        def fetch(k: Tensor, rng: torch.Generator) -> Batch:
            return (change(x[k], rng) if change else x[k]), y[k]

        return Shuffled(fetch, items, seed=(seed, SPLITS.index(split)), batch=batch)

    def batches(self, split: str, batch: int) -> Sequence[Batch]:
        """Return one whole split in order."""
        x, y = self._split(split)
        return InOrder(lambda k: (x[k], y[k]), in_chunks(torch.arange(len(y)), batch))

    def loss(
        self,
        net: Callable[..., Tensor],
        batch: Batch,
        gates: Gates | None = None,
        *,
        smoothing: float = 0.0,
        criterion: Criterion | None = None,
    ) -> Loss:
        """Return cross-entropy and accuracy. smoothing: share of the target spread evenly over the classes.

        criterion: in the place of cross-entropy.
        """
        x, y = batch
        logits = net(x) if gates is None else net(x, gates)
        loss = criterion(logits, y) if criterion else functional.cross_entropy(logits, y, label_smoothing=smoothing)
        return Loss(loss, (logits.detach().argmax(1) == y).float().mean())

    def _split(self, split: str) -> Batch:
        OneOf("split", SPLITS).check("split", split)
        return self._data[split]
