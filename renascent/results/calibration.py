"""The running statistics of networks whose weights were taken from another."""

from torch import nn

from renascent.core.protocols import Task
from renascent.loops.evaluate import recalibrate

RECALIBRATION_BATCHES = 50
"""Training batches, of 64 images, over which the statistics of a network with inherited weights are estimated."""


def calibrate(net: nn.Module, task: Task, split: str, seed: int) -> None:
    """Estimate the running statistics of `net`, which takes the data as they are, on training images."""
    # shuffled: images that lie in order of their classes would give the statistics of the first class
    stream = task.stream(split, seed, 64)
    recalibrate(net, (stream.next() for _ in range(RECALIBRATION_BATCHES)))
