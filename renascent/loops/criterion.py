"""What a training minimises: the task's own loss; or one that weighs classes, is the user's own, or mixes images."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from renascent.core.errors import UserError
from renascent.core.protocols import Batch, Criterion, Loss, Task
from renascent.loops.change import change_of
from renascent.loops.own import own_loss, own_metric
from renascent.loops.training import BALANCED, Fit


def loss_of(
    task: Task, forward: Callable[..., Any], head: nn.Module | None, settings: Fit, split: str
) -> Callable[[Batch], Loss]:
    """Return what gives the loss on a batch of a split: of a network and, weighted, of its auxiliary head."""
    criterion = criterion_of(task, settings, split)

    def learnt(batch: Batch) -> Loss:
        if criterion is None:
            return _loss(task, forward, head, batch, settings.auxiliary, smoothing=settings.label_smoothing)
        given, minimised = mixed(batch, settings.mixup, criterion) if settings.mixup else (batch, criterion)
        return _loss(task, forward, head, given, settings.auxiliary, criterion=minimised)

    return learnt


def _loss(
    task: Task, forward: Callable[..., Any], head: nn.Module | None, batch: Batch, auxiliary: float, **about: Any
) -> Loss:
    """Return the loss of a network and, weighted, of its auxiliary head; the score is the network's."""
    if head is None:
        return task.loss(forward, batch, **about)
    asides: list[Tensor] = []

    def answer(x: Tensor) -> Tensor:
        out, aside = forward(x, head)
        asides.append(aside)
        return out  # type: ignore[no-any-return]

    loss, score = task.loss(answer, batch, **about)
    aside = task.loss(lambda _: asides[0], batch, **about).loss
    return Loss(loss + auxiliary * aside, score)


def criterion_of(task: Task, settings: Fit, split: str) -> Criterion | None:
    """Return what is minimised in the place of the task's own loss; None where that is.

    split: what is trained on, whose classes are counted.
    Raises UserError where weights do not fit the classes, or a loss cannot be used.
    """
    if settings.loss is not None:
        return own_loss(settings.loss, task.classes)
    entropy: Criterion = partial(functional.cross_entropy, label_smoothing=settings.label_smoothing)
    if settings.class_weights is None:
        return entropy if settings.mixup else None
    weight = weights_of(settings.class_weights, task, split).to(task.device)
    return lambda logits, labels: entropy(logits, labels, weight=weight.to(logits.dtype))  # type: ignore[call-arg]


def weights_of(given: str, task: Task, split: str) -> Tensor:
    """Return the weight of each class (classes,): as given, or balanced, images / (classes * images of the class).

    Raises UserError for another number of them, for one that is 0, and for a class without images.
    """
    names = getattr(task, "class_names", None) or tuple(map(str, range(task.classes)))
    if given == BALANCED:
        counts = torch.bincount(task.labels(split).flatten().cpu(), minlength=task.classes)
        if (empty := counts == 0).any():
            name = names[int(empty.nonzero()[0])]
            raise UserError(f"class '{name}' has no images to train on, and so no balanced weight: give numbers")
        return counts.sum() / (task.classes * counts).float()
    found = torch.tensor([float(number) for number in given.split(",")])
    if len(found) != task.classes:
        raise UserError(
            f"class_weights are {len(found)} numbers, and the data have {task.classes} classes: give one for each, "
            f"in the order {', '.join(names):.200}"
        )
    if not bool(((found > 0) & found.isfinite()).all()):
        raise UserError(f"class_weights are {given:.100}: give finite numbers above 0")
    return found


def mixed(batch: Batch, alpha: float, criterion: Criterion) -> tuple[Batch, Criterion]:
    """Return images mixed in pairs, and their loss: share * L(., y) + (1 - share) * L(., y of the other image).

    The share is drawn once a batch, from Beta(alpha, alpha), and the pairs are a permutation of the batch.
    """
    x, y = batch
    share = float(torch.distributions.Beta(torch.tensor(alpha), torch.tensor(alpha)).sample())
    order = torch.randperm(len(x)).to(x.device)
    other = y[order]

    def both(logits: Tensor, labels: Tensor) -> Tensor:
        return share * criterion(logits, labels) + (1 - share) * criterion(logits, other)

    return (share * x + (1 - share) * x[order], y), both


def check_own(settings: Fit, task: Task, split: str) -> None:
    """Raise UserError for losses, metrics and augmentations that cannot be used, or of which the task knows nothing."""
    criterion, change = criterion_of(task, settings, split), change_of(task, settings)
    if settings.metric is not None:
        own_metric(settings.metric, task.classes)
    for asked, method, name in ((criterion, task.loss, "criterion"), (change, task.stream, "change")):
        if asked and name not in inspect.signature(method).parameters:
            what = "loss, class weights or mixup" if name == "criterion" else "augmentation"
            raise UserError(
                f"the task {task.name} takes no {what} of a training: give its `{method.__name__}` the keyword "
                f"`{name}`, as `renascent.core.protocols.Task` has it, or leave it out"
            )
