"""TuNAS: REINFORCE over one categorical per decision, rewarded for accuracy and for hitting the wanted cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from renascent.core.errors import require
from renascent.core.gates import one_hot
from renascent.core.protocols import Batch, Data, Metrics, Progress, Score, Setup, State
from renascent.core.space import Arch
from renascent.strategies._bilevel import apply_gradients, gradients, weight_step
from renascent.strategies._goals import absolute, costs, exact_usage
from renascent.strategies._policy import Logits, refuse_subsets
from renascent.strategies._rewards import moving_average, reinforce_loss
from renascent.strategies._sizes import warmed


@dataclass(frozen=True, kw_only=True)
class TuNAS:
    """Sample one architecture a step: it trains the weights, and its validation accuracy and cost teach the logits.

    Its reward is accuracy - cost_weight |T / T_0 - 1| for each bound T_0 of the budget, less a moving baseline. No
    gradient goes through the network in the policy's step.

    Args:
        arch_lr: Adam learning rate of the logits when they begin to learn.
        arch_lr_growth: by how much that has grown at the end, exponentially.
        arch_weight_decay: L2 penalty on the logits.
        cost_weight: weight of the distance from the budget, minus the paper's beta; 0 means that it is not looked at.
        baseline_decay: decay of the moving average of rewards; at 0 each reward would be its own baseline.
        filter_warmup: share of the search in which weight steps may train all filters.
        policy_warmup: share of the search before the logits learn.

    References:
        Bender et al., Can Weight Sharing Outperform Random Architecture Search? An Investigation With TuNAS, CVPR 2020,
        arXiv:2008.06120, Secs 3 and 5.
    """

    arch_lr: float = 4.8e-3
    arch_lr_growth: float = 10.0
    arch_weight_decay: float = 0.0
    cost_weight: float = 0.1
    baseline_decay: float = 0.95
    filter_warmup: float = 0.25
    policy_warmup: float = 0.25

    def __post_init__(self) -> None:
        require(self, **dict.fromkeys(("arch_lr", "arch_weight_decay", "cost_weight"), (0, math.inf)))
        require(self, arch_lr_growth=(1e-6, math.inf), baseline_decay=(0.01, 1))
        require(self, **dict.fromkeys(("filter_warmup", "policy_warmup"), (0, 1)))

    def init(self, setup: Setup) -> State:
        refuse_subsets(setup.space, "TuNAS")
        rng = setup.generator()
        policy = Logits(setup.space, rng)
        optimiser = torch.optim.Adam(
            policy.parameters(), self.arch_lr, betas=(0.0, 0.999), weight_decay=self.arch_weight_decay
        )
        return State(setup, setup.weights.optimiser(setup.net), rng, policy, optimiser)

    def step(self, s: State, data: Data, t: Progress) -> Metrics:
        assert isinstance(s.policy, Logits)
        arch = s.policy.draw(s.rng)
        gates = warmed(s.setup.space, one_hot(s.setup.space, arch), t, self.filter_warmup, s.rng)
        metrics = weight_step(s, data.train.next(), gates, t)
        if t.fraction < self.policy_warmup:
            return metrics
        return metrics | self._policy_step(s, data.val.next(), arch, t)

    def derive(self, s: State, score: Score) -> Arch:
        assert isinstance(s.policy, Logits)
        return s.policy.best()

    def probabilities(self, s: State) -> Mapping[str, Tensor]:
        assert isinstance(s.policy, Logits)
        return s.policy.probabilities()

    def _policy_step(self, s: State, batch: Batch, arch: Arch, t: Progress) -> Metrics:
        """Update the logits by the reward of `arch`."""
        assert isinstance(s.policy, Logits)
        assert s.policy_optimiser is not None
        setup = s.setup
        with torch.no_grad():
            loss, score = setup.task.loss(s.net, batch, one_hot(setup.space, arch))
        (usage,) = exact_usage(setup.goals, setup.space.indices(arch)[None])
        reward = score.double().cpu() - self.cost_weight * absolute(usage)
        s.extra["baseline"] = moving_average(s.extra.get("baseline"), reward, self.baseline_decay)
        chance = s.policy.log_probability(arch)
        learnt = reinforce_loss(chance, torch.zeros_like(chance), reward, s.extra["baseline"], 0.0)
        for group in s.policy_optimiser.param_groups:
            group["lr"] = self._rate(t.fraction)
        apply_gradients(s.policy, s.policy_optimiser, gradients(learnt, list(s.policy.parameters())))
        return {"val_loss": loss, "val_score": score, "reward": reward, **costs(setup.goals, usage)}

    def _rate(self, fraction: float) -> float:
        """Return the learning rate of the logits: exponential growth from the end of the warm-up on."""
        learning = max(fraction - self.policy_warmup, 0.0) / max(1 - self.policy_warmup, 1e-9)
        return self.arch_lr * float(self.arch_lr_growth**learning)
