"""DARTS: every candidate in the forward pass, weighted by a softmax. First order, and through one weight step."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from renascent.core.fields import AUTO, NonNegative, Rate, settings
from renascent.core.gates import Gates, soft
from renascent.core.protocols import Batch, Data, Metrics, Progress, State
from renascent.strategies._bilevel import (
    Logits,
    apply_gradients,
    arch_step,
    argmax,
    bilevel_state,
    softmax,
    weight_step,
)
from renascent.strategies._pace import Pace

PAPER = Pace(3e-4, 50 * 390)


@settings
class DARTS:
    """Mix all options by a softmax whose logits learn from the validation loss at the present weights.

    Args:
        arch_lr: Adam learning rate of the logits; auto: the paper's, larger the shorter the search.
        arch_weight_decay: L2 penalty on the logits.

    References:
        Liu, Simonyan and Yang, DARTS: Differentiable Architecture Search, ICLR 2019, arXiv:1806.09055, Eq. 2 and
        Algorithm 1 with xi = 0.
    """

    arch_lr: Rate = AUTO
    arch_weight_decay: NonNegative = 1e-3

    paper = PAPER
    takes_one_hot = takes_subsets = False
    init, derive, probabilities = bilevel_state, argmax, softmax

    def step(self, s: State[Logits], data: Data, t: Progress) -> Metrics:
        metrics = arch_step(s, data.val.next(), soft(s.space, s.policy()))
        return metrics | weight_step(s, data.train.next(), soft(s.space, s.policy()), t)


@settings
class DARTSSecondOrder:
    """Mix all options by a softmax whose logits learn from the validation loss after one unrolled weight step.

    The second-order term is an exact Hessian-vector product, not the paper's finite difference.

    Args:
        arch_lr: Adam learning rate of the logits; auto: the paper's, larger the shorter the search.
        arch_weight_decay: L2 penalty on the logits.

    References:
        Liu, Simonyan and Yang, DARTS: Differentiable Architecture Search, ICLR 2019, arXiv:1806.09055, Eqs 5-7.
    """

    arch_lr: Rate = AUTO
    arch_weight_decay: NonNegative = 1e-3

    paper = PAPER
    takes_one_hot = takes_subsets = False
    init, derive, probabilities = bilevel_state, argmax, softmax

    def step(self, s: State[Logits], data: Data, t: Progress) -> Metrics:
        train = data.train.next()
        rate = s.setup.weights.rate(t.rate_fraction, t.rate_epochs)
        gradient, metrics = unrolled_gradient(s, train, data.val.next(), rate)
        apply_gradients(s, [gradient])
        return metrics | weight_step(s, train, soft(s.space, s.policy()), t)


def unrolled_gradient(s: State[Logits], train: Batch, val: Batch, lr: float) -> tuple[Tensor, Metrics]:
    """Return d L_val(w - lr (g + decay w + momentum buffer), logits) / d logits, Eq. 6, and the validation metrics.

    g is the training gradient at w, which depends on the logits: the chain through it is the second-order term,
    - lr (d^2 L_train / d logits d w) v with v = d L_val / d w at the unrolled weights. Neither clipping nor
    Nesterov's extra term is unrolled.
    """
    logits, task = s.policy.logits, s.setup.task
    weights = {name: p for name, p in s.net.named_parameters() if p.requires_grad}
    train_loss = task.loss(s.net, train, soft(s.space, s.policy())).loss
    slopes = torch.autograd.grad(train_loss, list(weights.values()), create_graph=True)
    moved = _unrolled(s, weights, slopes, lr)

    def unrolled_net(x: Tensor, gates: Gates) -> Tensor:
        return functional_call(s.net, moved, (x, gates))  # type: ignore[no-any-return]

    loss, score = task.loss(unrolled_net, val, soft(s.space, s.policy()))
    direct, *v = torch.autograd.grad(loss, [logits, *moved.values()])
    (through,) = torch.autograd.grad(slopes, [logits], v)
    return direct - lr * through, {"val_loss": loss.detach(), "val_score": score}


def _unrolled(
    s: State[Logits], weights: Mapping[str, nn.Parameter], slopes: Sequence[Tensor], lr: float
) -> dict[str, Tensor]:
    """Return the weights after one step of SGD with momentum, as new leaves."""
    rule, moved = s.setup.weights, {}
    for (name, w), slope in zip(weights.items(), slopes, strict=True):
        held = s.optimiser.state[w].get("momentum_buffer") if w in s.optimiser.state else None
        push = slope.detach() + rule.weight_decay * w.detach()
        push = push if held is None else push + rule.momentum * held
        moved[name] = (w.detach() - lr * push).requires_grad_()
    return moved
