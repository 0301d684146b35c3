"""One step of the shared weights, and one step of the architecture: what bilevel strategies are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from renascent.core.gates import Gates
from renascent.core.protocols import Batch, Metrics, Progress, State


def weight_step(s: State, batch: Batch, gates: Gates, t: Progress) -> Metrics:
    """Move the shared weights against the training loss under `gates`. Weights that took no part stay as they are.

    The network is in training mode for this, and in evaluation mode else: what compares architectures has no dropout.
    """
    s.optimiser.zero_grad(set_to_none=True)
    s.net.train()
    loss, score = s.setup.task.loss(s.net, batch, gates)
    loss.backward()  # type: ignore[no-untyped-call]
    s.net.eval()
    s.setup.weights.apply(s.optimiser, t.fraction, s.net.crops(gates))
    return {"train_loss": loss.detach(), "train_score": score}


def arch_step(s: State, batch: Batch, gates: Gates, charged: Callable[[Tensor], Tensor] = lambda loss: loss) -> Metrics:
    """Move the policy against the validation loss under `gates`, which carry gradient to it.

    charged: what is minimised, of that loss: with a cost in it, as a rule.
    """
    policy, optimiser = _learner(s)
    with frozen(s.net):
        loss, score = s.setup.task.loss(s.net, batch, gates)
    apply_gradients(policy, optimiser, gradients(charged(loss), list(policy.parameters())))
    return {"val_loss": loss.detach(), "val_score": score}


def gradients(loss: Tensor, parameters: list[nn.Parameter]) -> list[Tensor]:
    """Return d loss / d parameters; zeros where the loss does not depend on them, as when every path is closed."""
    if not loss.requires_grad:
        return [torch.zeros_like(p) for p in parameters]
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


def apply_gradients(policy: nn.Module, optimiser: torch.optim.Optimizer, found: list[Tensor]) -> None:
    """Take one step of the policy's optimiser with the given gradients."""
    for parameter, gradient in zip(policy.parameters(), found, strict=True):
        parameter.grad = gradient
    optimiser.step()


@contextmanager
def frozen(net: nn.Module) -> Iterator[None]:
    """Build no graph for weight gradients inside: an architecture step has no use for them."""
    learning = [p for p in net.parameters() if p.requires_grad]
    for p in learning:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in learning:
            p.requires_grad_(True)


def _learner(s: State) -> tuple[nn.Module, torch.optim.Optimizer]:
    assert s.policy is not None, "an architecture step needs a policy"
    assert s.policy_optimiser is not None, "and its optimiser"
    return s.policy, s.policy_optimiser
