"""Sandwich steps: shared weights that serve every size learn from the largest, the smallest, and some between."""

from typing import Any

import torch

from renascent.core.answers import answered, divergence
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
    first, target = answered(setup.task, s.net, batch, whole, smoothing=smoothing)
    first.loss.backward()  # type: ignore[no-untyped-call]
    for other in (*(one_hot(s.space, s.space.from_indices(row.tolist())) for row in rows), gates):
        own, answer = answered(setup.task, s.net, batch, other, smoothing=smoothing)
        loss = own.loss if setup.task.taught else divergence(answer, target.detach())
        loss.backward()  # type: ignore[no-untyped-call]
    return Loss(first.loss, first.score), whole
