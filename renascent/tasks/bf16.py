"""Mixed precision: a task whose networks are run in bfloat16 where that is safe."""

from collections.abc import Callable

import torch
from torch import Tensor

from renascent.core.gates import Gates
from renascent.core.protocols import Batch, Criterion, Loss
from renascent.tasks.wrapped import Wrapped, given


class InBfloat16(Wrapped):
    """A task whose forward pass and loss run in bfloat16 where PyTorch's autocast takes it to be safe.

    Weights, their gradients, statistics and whatever a strategy computes beside stay as they are. A teacher inside
    runs alike, where its weights are in single precision.
    """

    def loss(
        self,
        net: Callable[..., Tensor],
        batch: Batch,
        gates: Gates | None = None,
        *,
        smoothing: float = 0.0,
        criterion: Criterion | None = None,
    ) -> Loss:
        """Return the task's own loss and score, of a network that is run in bfloat16."""
        with torch.autocast(self.device.type, torch.bfloat16):
            return self.task.loss(net, batch, gates, **given(smoothing, criterion))
