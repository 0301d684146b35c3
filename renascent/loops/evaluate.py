"""How a network does on a whole split: its loss, its score, and how it does on each class."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from renascent.core.protocols import Batch, Task
from renascent.loops.own import Metric

EVALUATION_BATCH = 512


class Judged(NamedTuple):
    """Mean loss, and score in [0, 1], over a whole split."""

    loss: float
    score: float


@dataclass(frozen=True, kw_only=True)
class ByClass:
    """How a network does on each class of a split, in the order of the labels.

    balanced_accuracy: mean of the recalls of all classes that have images, in [0, 1].
    images: of each class.
    recall: share of a class's images that are recognised; None where it has none.
    precision: share of what is taken for a class that is of it; None where nothing is.
    """

    balanced_accuracy: float
    images: tuple[int, ...]
    recall: tuple[float | None, ...]
    precision: tuple[float | None, ...]


class Examined(NamedTuple):
    """What is told of a network on one split. by_class: None where its answers are no classes.  metric: if asked."""

    loss: float
    score: float
    by_class: ByClass | None
    metric: float | None


def accuracy(net: nn.Module, task: Task, split: str) -> float:
    """Return the score of `net` in evaluation mode over a whole split."""
    return judge(net, task, split).score


def judge(net: nn.Module, task: Task, split: str) -> Judged:
    """Return the loss and the score of `net` in evaluation mode over a whole split."""
    found = examine(net, task, split)
    return Judged(found.loss, found.score)


@torch.no_grad()
def examine(net: nn.Module, task: Task, split: str, metric: Metric | None = None) -> Examined:
    """Return all that is told of `net` in evaluation mode over a whole split.

    metric: takes all logits (n, classes) and labels (n,), on the CPU.
    """
    training = net.training
    net.eval()
    loss, score, images = 0.0, 0.0, 0
    counts: Tensor | None = torch.zeros(task.classes**2, dtype=torch.int64, device=task.device)
    answers: list[tuple[Tensor, Tensor]] = []
    heard: list[Tensor] = []

    def answer(x: Tensor) -> Tensor:
        heard.append(net(x))
        return heard[-1]

    for x, y in task.batches(split, EVALUATION_BATCH):
        heard.clear()
        found = task.loss(answer, (x, y))
        loss += float(found.loss) * len(y)
        score += float(found.score) * len(y)
        images += len(y)
        counts = counts if counts is None else _counted(counts, heard, y, task.classes)
        if metric:
            answers.append((heard[-1].float().cpu(), y.cpu()))
    net.train(training)
    by_class = None if counts is None else _by_class(counts.view(task.classes, task.classes).cpu())
    own = metric(*(torch.cat(both) for both in zip(*answers, strict=True))) if metric else None
    return Examined(loss / images, score / images, by_class, own)


def _counted(counts: Tensor, heard: list[Tensor], y: Tensor, classes: int) -> Tensor | None:
    """Return how often each class was taken for each, one more batch included; None where answers are no classes."""
    logits = heard[-1] if len(heard) == 1 else None
    if not isinstance(logits, Tensor) or logits.shape != (len(y), classes) or y.ndim != 1 or y.is_floating_point():
        return None
    return counts + torch.bincount(y * classes + logits.argmax(1), minlength=classes**2)


def _by_class(counts: Tensor) -> ByClass:
    """Return the figures of counts (classes, classes) of images: a row for each class, by what they were taken for."""
    right, images, taken = counts.diagonal().tolist(), counts.sum(1).tolist(), counts.sum(0).tolist()
    recall = tuple(hit / n if n else None for hit, n in zip(right, images, strict=True))
    precision = tuple(hit / n if n else None for hit, n in zip(right, taken, strict=True))
    known = [value for value in recall if value is not None]
    return ByClass(balanced_accuracy=sum(known) / len(known), images=tuple(images), recall=recall, precision=precision)


@torch.no_grad()
def recalibrate(net: nn.Module, batches: Iterable[Batch]) -> None:
    """Set the running statistics of batch normalisation to the mean over `batches`; weights stay as they are."""
    norms = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    held, training = [m.momentum for m in norms], net.training
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all batches
    net.train()
    for x, _ in batches:
        net(x)
    for norm, momentum in zip(norms, held, strict=True):
        norm.momentum = momentum
    net.train(training)
