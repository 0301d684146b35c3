"""Sandwich steps: shared weights that serve every size learn from the largest, the smallest, and some between."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from renascent.core.gates import Gates, one_hot
from renascent.core.protocols import Batch, Loss, State


def sandwich(s: State[Any], batch: Batch, gates: Gates, *, smoothing: float = 0.0) -> tuple[Loss, Gates]:
    """Add up the gradients of several sizes, and return the loss and score of the largest, and its gates.

    They are the largest, the smallest, the size that the strategy drew, `gates`, and as many more, drawn uniformly, as
    make `Setup.sandwich` with it. The largest learns the task. Where the task has a teacher, so do the others; where it
    has none, they learn what the largest answers, with no gradient to that, in the place of the labels.

    Each is run forward and backward before the next, so that maps of one only are held.

    References:
        Yu and Huang, Universally Slimmable Networks and Improved Training Techniques, ICCV 2019, arXiv:1903.05134:
        the sandwich rule and in-place distillation.
    """
    setup, counts = s.setup, torch.tensor(s.space.counts)
    whole = one_hot(s.space, s.space.from_indices((counts - 1).tolist()))
    draws = torch.rand(setup.sandwich - 1, len(counts), generator=s.rng, dtype=torch.float64)
    rows = [torch.zeros_like(counts), *(draws * counts).long()]
    answers: list[Tensor] = []

    def heard(*given: Any) -> Tensor:
        answers.append(s.net(*given))
        return answers[-1]

    first = setup.task.loss(heard, batch, whole, smoothing=smoothing)
    first.loss.backward()  # type: ignore[no-untyped-call]
    target = answers[0].detach()
    for other in (*(one_hot(s.space, s.space.from_indices(row.tolist())) for row in rows), gates):
        if setup.task.taught:
            loss = setup.task.loss(s.net, batch, other, smoothing=smoothing).loss
        else:
            loss = divergence(s.net(batch[0], other), target)
        loss.backward()  # type: ignore[no-untyped-call]
    return Loss(first.loss, first.score), whole


def divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Return KL(softmax(teacher) || softmax(student)) of logits (batch, classes), the mean over the batch.

    >>> divergence(torch.zeros(2, 3), torch.ones(2, 3))
    tensor(0.)
    """
    answer, target = functional.log_softmax(student, dim=1), functional.log_softmax(teacher, dim=1)
    return functional.kl_div(answer, target, reduction="batchmean", log_target=True)
