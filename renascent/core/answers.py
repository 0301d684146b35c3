"""What a network answers inside a task's loss, and how far two answers are apart."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from renascent.core.gates import Gates
from renascent.core.protocols import Batch, Loss, Task


def answered(
    task: Task, net: Callable[..., Tensor], batch: Batch, gates: Gates | None = None, **how: Any
) -> tuple[Loss, Tensor]:
    """Return the task's loss, and the logits (batch, classes) that it is of, in single precision at least.

    The network runs as the task runs it, in its precision. how: what else the loss is told.
    """
    answers: list[Tensor] = []

    def heard(*given: Any) -> Tensor:
        answers.append(net(*given))
        return answers[-1]

    found = task.loss(heard, batch, gates, **how)
    answer = answers[0]
    return found, answer.to(torch.promote_types(answer.dtype, torch.float32))


def divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence (nats) of one set of logits (batch, classes) from another.

    KL(softmax(teacher) || softmax(student)), a mean over the batch, a scalar in the student's precision.

    >>> same = torch.tensor([[1.0, 2.0]])
    >>> float(divergence(same + 3, same)), round(float(divergence(same, 0 * same)), 4)
    (0.0, 0.1201)
    """
    target = functional.log_softmax(teacher.to(student.dtype), dim=1)
    answer = functional.log_softmax(student, dim=1)
    return functional.kl_div(answer, target, reduction="batchmean", log_target=True)
