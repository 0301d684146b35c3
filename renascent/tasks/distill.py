"""Distillation: a task whose loss also asks for a teacher's soft targets."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from renascent.core.answers import answered, divergence
from renascent.core.errors import UserError
from renascent.core.fields import NonNegative, Range, settings
from renascent.core.fingerprint import fingerprint
from renascent.core.gates import Gates
from renascent.core.protocols import Batch, Criterion, Loss, Task
from renascent.tasks.wrapped import Wrapped, given


@settings
class Distillation:
    """How much a teacher counts. The defaults are the recipe for small images, 0.1 label + 0.9 T^2 KL at T = 4.

    With the logits of student and teacher softened by the temperature T, the loss is
    label_weight * L_label + soft_weight * T^2 * KL(softmax(teacher / T) || softmax(student / T)).

    Args:
        label_weight: factor of the labels' own loss.
        soft_weight: factor of the soft targets' loss.
        temperature: what both networks' logits are divided by; higher is softer.
        temperature_squared: multiply the soft loss by T^2, which keeps its gradient the same size at every temperature.

    References:
        Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, arXiv:1503.02531, Secs 2 and 2.1.

    Raises:
        UserError: for numbers below 0 and where nothing is left of the loss.

    >>> Distillation()
    Distillation(label_weight=0.1, soft_weight=0.9, temperature=4.0, temperature_squared=True)
    """

    label_weight: NonNegative = 0.1
    soft_weight: NonNegative = 0.9
    temperature: Annotated[float, Range(0.01)] = 4.0
    temperature_squared: bool = True

    def __post_init__(self) -> None:
        if not self.label_weight + self.soft_weight:
            raise UserError("label_weight and soft_weight are both 0, which leaves no loss: give one of them")

    @classmethod
    def recipe(cls, *, large_images: bool = False) -> Distillation:
        """Return what TAS trains with: 0.1 and 0.9 T^2 at T = 4, or 0.5 and 0.5 T^2 for ImageNet.

        Dong and Yang, Network Pruning via Transformable Architecture Search, NeurIPS 2019, arXiv:1905.09717.
        """
        soft = 0.5 if large_images else 0.9
        return cls(label_weight=round(1 - soft, 3), soft_weight=soft, temperature=4.0)

    @classmethod
    def as_printed(cls, share: float = 0.9) -> Distillation:
        """Return the equation as printed: `share` on the label loss, the rest on the soft one, without T^2.

        Printed is a cross-entropy with the soft targets, not a divergence; the two differ by the entropy of the
        teacher's answer, which no gradient sees. Dong and Yang, arXiv:1905.09717; Eq. 3.17 of Dong's thesis.

        >>> Distillation.as_printed().soft_weight
        0.1
        """
        return cls(label_weight=share, soft_weight=round(1 - share, 9), temperature=4.0, temperature_squared=False)

    def soft_loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the weighted divergence of two sets of logits (batch, classes): a mean over the batch, a scalar."""
        t = self.temperature
        apart = divergence(student / t, teacher.to(student.dtype) / t)
        return self.soft_weight * (t * t if self.temperature_squared else 1.0) * apart


class Distilled(Wrapped):
    """A task, with a teacher: the same data, streams and score, and the teacher's soft targets in the loss.

    The teacher answers once a batch, however many networks learn from that, in evaluation mode and without gradient, on
    the images as the stream gives them; a student that wants another resolution resizes for itself
    (`sizes.resolution.Resizing`). Beside a student in bfloat16 a teacher of single precision computes in that, too, for
    it takes longer than a small student; any other in its own. Without gradients the loss is the task's own, so that
    validation and test losses mean the same with and without a teacher.

    teacher: maps (batch, channels, h, w) to logits (batch, classes); it is moved to the task's device.
    Raises UserError when the teacher cannot answer for these images or these classes.
    """

    def __init__(self, task: Task, teacher: nn.Module, settings: Distillation | None = None) -> None:
        super().__init__(task)
        self.taught, self.settings = True, settings or Distillation()
        self.teacher = teacher.to(task.device).eval()
        self._check()
        self._sha256 = fingerprint(teacher.state_dict())
        self._last: tuple[Tensor, tuple[int, bool], Tensor] | None = None

    def __repr__(self) -> str:
        return f"Distilled({self.task!r}, {type(self.teacher).__name__})"

    def loss(
        self,
        net: Callable[..., Tensor],
        batch: Batch,
        gates: Gates | None = None,
        *,
        smoothing: float = 0.0,
        criterion: Criterion | None = None,
    ) -> Loss:
        """Return the weighted sum of the task's own loss and the soft targets', and the task's own score.

        smoothing: share of the labels' target spread evenly over the classes; the teacher's stays as it is.
        criterion: in the place of the task's own loss, beside the teacher's.
        """
        if not torch.is_grad_enabled():
            return self.task.loss(net, batch, gates, **given(smoothing, criterion))
        own, student = answered(self.task, net, batch, gates, **given(smoothing, criterion))
        soft = self.settings.soft_loss(student, self._heard(batch[0]))
        return Loss(self.settings.label_weight * own.loss + soft, own.score)

    def _heard(self, x: Tensor) -> Tensor:
        """Return the teacher's logits for images: those of before where the images are, and the precision."""
        written = 0 if x.is_inference() else x._version  # how often something was written into them
        state = written, torch.is_autocast_enabled(x.device.type)
        if self._last is None or self._last[0] is not x or self._last[1] != state:
            self._last = x, state, self.answer(x)
        return self._last[2]

    @torch.no_grad()
    def answer(self, x: Tensor) -> Tensor:
        """Return the teacher's logits (batch, classes) for images (batch, channels, h, w)."""
        self.teacher.eval()  # a module that someone else trains on may have left that mode
        kind = next((p.dtype for p in self.teacher.parameters()), x.dtype)
        alike = kind == torch.float32 and torch.is_autocast_enabled(x.device.type)
        with nullcontext() if alike else torch.autocast(x.device.type, enabled=False):
            logits: Tensor = self.teacher(x.to(kind))
        return logits

    def describe(self) -> dict[str, Any]:
        """Return what the task says of its data, and settings and weights (sha256) of the teacher."""
        return self.task.describe() | {"distillation": asdict(self.settings) | {"teacher_sha256": self._sha256}}

    def _check(self) -> None:
        """Ask the teacher about two blank images."""
        shape = (self.channels, *self.size)
        try:
            found = tuple(self.answer(torch.zeros(2, *shape, device=self.device)).shape)
        except (RuntimeError, ValueError, TypeError, AttributeError) as e:
            reason = str(e).strip().partition("\n")[0]
            raise UserError(
                f"the teacher cannot answer for images (channels, h, w) = {shape} ({reason}): "
                "give one that was trained on such images"
            ) from None
        if found != (2, self.classes):
            raise UserError(
                f"the teacher returns the shape {found} for 2 images, and the data have {self.classes} classes: "
                "give one that was trained on the same classes"
            )


class Agreeing(Distilled):
    """A task whose score is how much a network agrees with a teacher: minus the divergence (nats), at most 0.

    The loss is the task's own.
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
        """Return the task's own loss, and minus the divergence from the teacher's answers as the score."""
        own, student = answered(self.task, net, batch, gates, **given(smoothing, criterion))
        return Loss(own.loss, -divergence(student.detach(), self._heard(batch[0])))
