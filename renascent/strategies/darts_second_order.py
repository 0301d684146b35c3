"""DARTS, second order: the architecture gradient looks through one weight step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from renascent.core.errors import require
from renascent.core.gates import Gates, soft
from renascent.core.protocols import Batch, Data, Metrics, Progress, Score, Setup, State
from renascent.core.space import Arch
from renascent.strategies._bilevel import apply_gradients, weight_step
from renascent.strategies._policy import Logits, adam
from renascent.strategies._sizes import refuse_resolution


@dataclass(frozen=True, kw_only=True)
class DARTSSecondOrder:
    """Mix all options by a softmax whose logits learn from the validation loss after one unrolled weight step.

    The second-order term is an exact Hessian-vector product, not the paper's finite difference.

    Args:
        arch_lr: Adam learning rate of the logits.
        arch_weight_decay: L2 penalty on the logits.

    References:
        Liu, Simonyan and Yang, DARTS: Differentiable Architecture Search, ICLR 2019, arXiv:1806.09055, Eqs 5-7.
    """

    arch_lr: float = 3e-4
    arch_weight_decay: float = 1e-3

    def __post_init__(self) -> None:
        require(self, arch_lr=(0, math.inf), arch_weight_decay=(0, math.inf))

    def init(self, setup: Setup) -> State:
        refuse_resolution(setup.space, "DARTS")
        rng = setup.generator()
        policy = Logits(setup.space, rng)
        optimiser = adam(policy, self.arch_lr, self.arch_weight_decay)
        return State(setup, setup.weights.optimiser(setup.net), rng, policy, optimiser)

    def step(self, s: State, data: Data, t: Progress) -> Metrics:
        assert isinstance(s.policy, Logits)
        assert s.policy_optimiser is not None
        train = data.train.next()
        gradient, metrics = unrolled_gradient(s, train, data.val.next(), s.setup.weights.rate(t.fraction))
        apply_gradients(s.policy, s.policy_optimiser, [gradient])
        with torch.no_grad():
            gates = soft(s.setup.space, s.policy())
        return metrics | weight_step(s, train, gates, t)

    def derive(self, s: State, score: Score) -> Arch:
        assert isinstance(s.policy, Logits)
        return s.policy.best()

    def probabilities(self, s: State) -> Mapping[str, Tensor]:
        assert isinstance(s.policy, Logits)
        return s.policy.probabilities()


def unrolled_gradient(s: State, train: Batch, val: Batch, lr: float) -> tuple[Tensor, Metrics]:
    """Return d L_val(w - lr (g + decay w + momentum buffer), logits) / d logits, Eq. 6, and the validation metrics.

    g is the training gradient at w, which depends on the logits: the chain through it is the second-order term,
    - lr (d^2 L_train / d logits d w) v with v = d L_val / d w at the unrolled weights. Neither clipping nor
    Nesterov's extra term is unrolled.
    """
    assert isinstance(s.policy, Logits)
    logits, task = s.policy.logits, s.setup.task
    weights = {name: p for name, p in s.net.named_parameters() if p.requires_grad}
    train_loss = task.loss(s.net, train, soft(s.setup.space, s.policy())).loss
    slopes = torch.autograd.grad(train_loss, list(weights.values()), create_graph=True)
    moved = _unrolled(s, weights, slopes, lr)

    def unrolled_net(x: Tensor, gates: Gates) -> Tensor:
        return functional_call(s.net, moved, (x, gates))  # type: ignore[no-any-return]

    loss, score = task.loss(unrolled_net, val, soft(s.setup.space, s.policy()))
    direct, *v = torch.autograd.grad(loss, [logits, *moved.values()])
    (through,) = torch.autograd.grad(slopes, [logits], v)
    return direct - lr * through, {"val_loss": loss.detach(), "val_score": score}


def _unrolled(s: State, weights: Mapping[str, nn.Parameter], slopes: Sequence[Tensor], lr: float) -> dict[str, Tensor]:
    """Return the weights after one step of SGD with momentum, as new leaves."""
    rule, moved = s.setup.weights, {}
    for (name, w), slope in zip(weights.items(), slopes, strict=True):
        held = s.optimiser.state[w].get("momentum_buffer") if w in s.optimiser.state else None
        push = slope.detach() + rule.weight_decay * w.detach()
        push = push if held is None else push + rule.momentum * held
        moved[name] = (w.detach() - lr * push).requires_grad_()
    return moved
