"""A task around another: the same data, and a loss of its own."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from renascent.core.preparation import Preparation
from renascent.core.protocols import Batch, Change, Criterion, Data, Stream, Task


class Wrapped(Task):
    """Everything of a task but the loss, which whoever inherits this has.

    task: whose data, streams and description these are.
    """

    def __init__(self, task: Task) -> None:
        self.task, self.taught = task, task.taught
        self.name, self.channels, self.size, self.classes = task.name, task.channels, task.size, task.classes
        self.device = task.device

    def describe(self) -> dict[str, Any]:
        """Return what the task says of its data."""
        return self.task.describe()

    def count(self, split: str) -> int:
        """Return how many inputs a split has; 0 when there is none."""
        return self.task.count(split)

    def streams(self, seed: int, batch: int) -> Data:
        """Return the streams of a search."""
        return self.task.streams(seed, batch)

    def stream(self, split: str, seed: int, batch: int, *, change: Change | None = None) -> Stream:
        """Return augmented training batches of one split. change: what is done to raw images besides."""
        return self.task.stream(split, seed, batch, **({"change": change} if change else {}))

    def batches(self, split: str, batch: int) -> Sequence[Batch]:
        """Return one whole split in order, not augmented."""
        return self.task.batches(split, batch)

    def labels(self, split: str) -> Tensor:
        """Return the targets of one whole split."""
        return self.task.labels(split)

    @property
    def preparation(self) -> Preparation | None:
        """How the task's images became inputs."""
        return self.task.preparation


def given(smoothing: float, criterion: Criterion | None) -> dict[str, Any]:
    """Return what the loss of a task is told: one of the user's own need not know of another loss."""
    return {"smoothing": smoothing} | ({"criterion": criterion} if criterion else {})
