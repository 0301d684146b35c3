"""How shared weights learn: the rule, and an optimiser that leaves what took no part exactly as it was."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import field

import torch
from torch import Tensor, nn

from renascent.core.errors import UserError
from renascent.core.fields import Count, NonNegative, Share, Whole, settings
from renascent.core.schema import ABSENT


def check_learns(net: nn.Module) -> None:
    """Raise UserError where nothing of a network could learn: its weights are frozen, or gradients are off."""
    if not torch.is_grad_enabled() or torch.is_inference_mode_enabled():
        raise UserError(
            "gradients are switched off (torch.set_grad_enabled, no_grad or inference_mode): switch them on"
        )
    if not any(p.requires_grad for p in net.parameters()):
        raise UserError(
            "no weight of the model learns (requires_grad is False for all): give one that has some that do"
        )


Region = tuple[slice, ...] | Tensor
"""Which part of a parameter takes part: a slice of each leading dimension, or a mask (bool) of its shape."""

Regions = Mapping[str, Region]
"""Name of a parameter, as in `state_dict`, -> its region. A parameter without one takes part whole."""


@settings
class WeightRule:
    """How network weights learn: SGD with a cosine from `lr` to `lr_end`. The defaults are the search's.

    Args:
        lr: learning rate at the first step.
        lr_end: learning rate at the last step.
        momentum: of SGD; of AdamW, where a training has that, the decay of the mean gradient (its first beta).
        nesterov: use Nesterov's momentum.
        weight_decay: L2 penalty, on every parameter; of AdamW decoupled from the gradient.
        clip: largest gradient norm; 0 means no clipping.
        decay_per_epoch: factor of the learning rate after every epoch, such as 0.97, in the place of the cosine; 0
            means the cosine.
        linear: go from `lr` to `lr_end` on a straight line, in the place of the cosine.
        restart_epochs: epochs after which the learning rate is `lr` again and falls anew; 0 means never.
        restart_factor: how many times as long each such period is as the one before.

    References:
        restart_epochs: Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, ICLR 2017,
            arXiv:1608.03983, Eq. 5.
    """

    lr: NonNegative = 0.025
    lr_end: NonNegative = 0.001
    momentum: Share = 0.9
    nesterov: bool = True
    weight_decay: NonNegative = 5e-4
    clip: NonNegative = 5.0
    decay_per_epoch: Share = field(default=0.0, metadata=ABSENT)
    linear: bool = field(default=False, metadata=ABSENT)
    restart_epochs: Whole = field(default=0, metadata=ABSENT)
    restart_factor: Count = field(default=1, metadata=ABSENT)

    def __post_init__(self) -> None:
        if self.decay_per_epoch and (self.linear or self.restart_epochs):
            raise UserError(
                f"decay_per_epoch is {self.decay_per_epoch}, and {'linear' if self.linear else 'restart_epochs'} says "
                "otherwise how the learning rate falls: give one of them"
            )
        if self.restart_factor > 1 and not self.restart_epochs:
            raise UserError(f"restart_factor is {self.restart_factor}, and nothing restarts: give restart_epochs too")

    def optimiser(self, net: nn.Module, momentum: Sequence[Tensor] = ()) -> CroppedSGD:
        """Return an optimiser. momentum: of every weight before the first step, in order of `parameters`; none: 0."""
        made = CroppedSGD(
            net,
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov and self.momentum > 0,
            weight_decay=self.weight_decay,
        )
        for p, held in zip(net.parameters(), momentum, strict=bool(momentum)):
            made.state[p]["momentum_buffer"] = torch.empty_like(p).copy_(held)
        return made

    def adamw(self, net: nn.Module) -> torch.optim.AdamW:
        """Return AdamW, whose decay is decoupled: it shrinks weights, and is no part of the gradient's moments."""
        betas = self.momentum, 0.999
        return torch.optim.AdamW(net.parameters(), lr=self.lr, betas=betas, weight_decay=self.weight_decay)

    def rate(self, fraction: float, epochs: float = 0.0) -> float:
        """Return the learning rate at `fraction` of the run, after so many epochs, whole or not."""
        if self.decay_per_epoch:
            return self.lr * self.decay_per_epoch ** int(epochs)
        done = self._since_restart(epochs) if self.restart_epochs else fraction
        left = 1 - done if self.linear else (1 + math.cos(math.pi * done)) / 2
        return self.lr_end + (self.lr - self.lr_end) * left

    def _since_restart(self, epochs: float) -> float:
        """Return how much of the period between two restarts is over, in [0, 1)."""
        length = self.restart_epochs
        while epochs >= length:
            epochs, length = epochs - length, length * self.restart_factor
        return epochs / length

    def apply(
        self,
        optimiser: CroppedSGD | torch.optim.AdamW,
        fraction: float,
        regions: Regions | None = None,
        *,
        epochs: float = 0.0,
        share: float = 1.0,
    ) -> None:
        """Clip the gradients that are there, and take one step at the rate of now, inside `regions` only.

        share: of that rate, during a warm-up.  regions: for SGD alone.
        """
        (group,) = optimiser.param_groups
        group["lr"] = share * self.rate(fraction, epochs)
        if self.clip:
            nn.utils.clip_grad_norm_(group["params"], self.clip)
        if regions and isinstance(optimiser, CroppedSGD):
            optimiser.step_inside(regions)
        else:
            optimiser.step()


class CroppedSGD(torch.optim.SGD):
    """SGD that can also step within a region of each parameter, value and momentum.

    A crop of a shared weight has a gradient that is zero outside the crop, and a plain step would still move what lies
    there, by momentum and decay. Slimmable networks, arXiv:1812.08928, and NES leave it untouched.
    """

    def __init__(
        self, net: nn.Module, *, lr: float, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0
    ) -> None:
        named = dict(net.named_parameters())
        self.names = {id(p): name for name, p in named.items()}
        super().__init__(named.values(), lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)

    @torch.no_grad()
    def step_inside(self, regions: Regions) -> None:
        """Take the step of `step` on the parameters that have a gradient, each within its region."""
        (group,) = self.param_groups
        whole: list[tuple[Tensor, Tensor, Tensor | None]] = []
        for p in group["params"]:
            if p.grad is None:
                continue
            held = self._momentum(p) if group["momentum"] else None
            region = regions.get(self.names[id(p)])
            if isinstance(region, Tensor):
                _masked(p, p.grad, held, region, group)
            elif region is None:
                whole.append((p, p.grad, held))
            else:
                whole.append((p[region], p.grad[region], None if held is None else held[region]))
        for value, gradient, momentum in whole:
            _step(value, gradient, momentum, group)

    def _momentum(self, p: Tensor) -> Tensor:
        state = self.state[p]
        if state.get("momentum_buffer") is None:
            # from zeros, the first step is that of torch: the buffer becomes the gradient
            state["momentum_buffer"] = torch.zeros_like(p)
        buffer: Tensor = state["momentum_buffer"]
        return buffer


def _step(value: Tensor, gradient: Tensor, momentum: Tensor | None, group: Mapping[str, float]) -> None:
    """One step of SGD, in place on views."""
    change = gradient.add(value, alpha=group["weight_decay"]) if group["weight_decay"] else gradient
    if momentum is not None:
        momentum.mul_(group["momentum"]).add_(change)
        change = change.add(momentum, alpha=group["momentum"]) if group["nesterov"] else momentum
    value.add_(change, alpha=-group["lr"])


def _masked(p: Tensor, gradient: Tensor, momentum: Tensor | None, mask: Tensor, group: Mapping[str, float]) -> None:
    """One step of SGD where `mask` is true, bit-identical elsewhere."""
    value, kept = p.clone(), None if momentum is None else momentum.clone()
    _step(value, gradient, kept, group)
    p.copy_(torch.where(mask, value, p))
    if momentum is not None and kept is not None:
        momentum.copy_(torch.where(mask, kept, momentum))
