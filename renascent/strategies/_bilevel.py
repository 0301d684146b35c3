"""What bilevel strategies are made of: their state, a step of the weights, a step of the architecture, its argmax."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from renascent.core.gates import Gates
from renascent.core.protocols import Batch, Metrics, Progress, Score, Setup, State
from renascent.core.space import Arch
from renascent.strategies._logits import Logits as Logits
from renascent.strategies._pace import Pace
from renascent.strategies._sandwich import sandwich

DARTS_BETAS = (0.5, 0.999)
"""Adam's, in DARTS."""


class Learning(Protocol):
    """A strategy whose logits learn by Adam. paper: how fast they did in its paper."""

    @property
    def arch_lr(self) -> float | str: ...

    @property
    def paper(self) -> Pace: ...


class Bilevel(Learning, Protocol):
    """One whose logits decay."""

    @property
    def arch_weight_decay(self) -> float: ...


def bilevel_state(strategy: Bilevel, setup: Setup) -> State[Logits]:
    """Be the method `init` of logits that learn by Adam as in DARTS, arXiv:1806.09055, A.1."""
    return logits_state(strategy, setup, strategy.arch_weight_decay, DARTS_BETAS)


def logits_state(
    strategy: Learning, setup: Setup, weight_decay: float, betas: tuple[float, float], *, every: int = 1
) -> State[Logits]:
    """Make the state of logits that learn by Adam. every: weight steps to one architecture step."""
    given, taken = strategy.arch_lr, setup.steps and max(setup.steps // every, 1)
    lr = strategy.paper.rate(given, taken) if isinstance(given, str) else given  # numbers alone need no `paper`
    rng = setup.generator()
    policy = Logits(setup.space, rng)
    optimiser = torch.optim.Adam(policy.parameters(), lr=lr, betas=betas, weight_decay=weight_decay)
    return State(setup, setup.weights.optimiser(setup.net), rng, policy, optimiser)


def argmax(strategy: object, s: State[Logits], score: Score) -> Arch:
    """Be a method `derive`: return the architecture of the largest logits."""
    return s.policy.best()


def softmax(strategy: object, s: State[Logits]) -> Mapping[str, Tensor]:
    """Be a method `probabilities`: return the softmax of each decision."""
    return s.policy.probabilities()


def weight_step(s: State[Any], batch: Batch, gates: Gates, t: Progress, *, smoothing: float = 0.0) -> Metrics:
    """Move the shared weights against the training loss under `gates`. Weights that took no part stay as they are.

    No gradient goes to what `gates` were made of. The network is in training mode for this, and in evaluation mode
    else: what compares architectures has no dropout.

    With `Setup.sandwich`, the gradient is that of several sizes, and the loss that of the largest.

    smoothing: share of the target spread evenly over all classes.
    """
    gates = {name: replace(gate, weight=gate.weight.detach()) for name, gate in gates.items()}
    s.optimiser.zero_grad(set_to_none=True)
    s.net.train()
    if s.setup.sandwich:
        (loss, score), gates = sandwich(s, batch, gates, smoothing=smoothing)
    else:
        loss, score = s.setup.task.loss(s.net, batch, gates, smoothing=smoothing)
        if loss.requires_grad:  # not where gates have cut all that has weights
            loss.backward()  # type: ignore[no-untyped-call]
    s.net.eval()
    s.setup.weights.apply(s.optimiser, t.rate_fraction, s.net.crops(gates), epochs=t.rate_epochs)
    return {"train_loss": loss.detach(), "train_score": score}


def arch_due(t: Progress, warmup: float, every: int) -> bool:
    """Return whether an architecture step follows this weight step, as it does every so many after the warm-up.

    warmup: share of the search with weight steps only.

    >>> [arch_due(Progress(k, 5, 5), 0.25, 2) for k in range(5)]
    [False, True, False, True, False]
    """
    return t.fraction >= warmup and (t.step + 1) % every == 0


def arch_step(
    s: State[Any], batch: Batch, gates: Gates, charged: Callable[[Tensor], Tensor] = lambda loss: loss
) -> Metrics:
    """Move the policy against the validation loss under `gates`, which carry gradient to it.

    charged: what is minimised, of that loss: with a cost in it, as a rule.
    """
    with frozen(s.net):
        loss, score = s.setup.task.loss(s.net, batch, gates)
    policy_step(s, charged(loss))
    return {"val_loss": loss.detach(), "val_score": score}


def policy_step(s: State[Any], loss: Tensor, *, lr: float | None = None, clip: float | None = None) -> None:
    """Move the policy against a loss. lr: learning rate from now on.  clip: largest gradient norm."""
    apply_gradients(s, gradients(loss, list(s.policy.parameters())), lr=lr, clip=clip)


def gradients(loss: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    """Return d loss / d parameters; zeros where the loss does not depend on them, as when every path is closed."""
    if not loss.requires_grad:
        return [torch.zeros_like(p) for p in parameters]
    return list(torch.autograd.grad(loss, parameters, materialize_grads=True))


def apply_gradients(s: State[Any], found: list[Tensor], *, lr: float | None = None, clip: float | None = None) -> None:
    """Take one step of the policy's optimiser with the given gradients."""
    assert s.policy_optimiser is not None, "a policy that learns has an optimiser"
    for parameter, gradient in zip(s.policy.parameters(), found, strict=True):
        parameter.grad = gradient
    if clip is not None:
        nn.utils.clip_grad_norm_(s.policy.parameters(), clip)
    for group in s.policy_optimiser.param_groups:
        group["lr"] = group["lr"] if lr is None else lr
    s.policy_optimiser.step()


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
