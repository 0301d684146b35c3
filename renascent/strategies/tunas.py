"""TuNAS: REINFORCE over one categorical per decision, rewarded for accuracy and for hitting the wanted cost."""

from typing import Annotated

import torch

from renascent.core.fields import AUTO, NonNegative, Positive, Range, Rate, Share, settings
from renascent.core.gates import one_hot
from renascent.core.protocols import Batch, Data, Metrics, Progress, Setup, State
from renascent.core.space import Arch
from renascent.strategies._bilevel import Logits, argmax, logits_state, policy_step, softmax, weight_step
from renascent.strategies._goals import costs, exact_usage
from renascent.strategies._pace import Pace
from renascent.strategies._rewards import moving_average, reinforce_loss
from renascent.strategies._sizes import with_filter_warmup


@settings
class TuNAS:
    """Sample one architecture a step: it trains the weights, and its validation accuracy and cost teach the logits.

    Its reward is accuracy - cost_weight |T / T_0 - 1| for each bound T_0 of the budget, less a moving baseline. No
    gradient goes through the network in the policy's step.

    Args:
        arch_lr: Adam learning rate of the logits when they begin to learn; auto: the paper's, larger the shorter the
            search.
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

    arch_lr: Rate = AUTO
    arch_lr_growth: Positive = 10.0
    arch_weight_decay: NonNegative = 0.0
    cost_weight: NonNegative = 0.1
    baseline_decay: Annotated[float, Range(0.01, 1)] = 0.95
    filter_warmup: Share = 0.25
    policy_warmup: Share = 0.25

    paper = Pace(4.8e-3, 90 * 312)
    takes_subsets = False
    derive, probabilities = argmax, softmax

    def init(self, setup: Setup) -> State[Logits]:
        return logits_state(self, setup, self.arch_weight_decay, betas=(0.0, 0.999))

    def step(self, s: State[Logits], data: Data, t: Progress) -> Metrics:
        arch = s.policy.draw(s.rng)
        gates = with_filter_warmup(s.space, one_hot(s.space, arch), t, self.filter_warmup, s.rng)
        metrics = weight_step(s, data.train.next(), gates, t)
        if t.fraction < self.policy_warmup:
            return metrics
        return metrics | self._policy_step(s, data.val.next(), arch, t)

    def _policy_step(self, s: State[Logits], batch: Batch, arch: Arch, t: Progress) -> Metrics:
        """Update the logits by the reward of `arch`."""
        with torch.no_grad():
            loss, score = s.setup.task.loss(s.net, batch, one_hot(s.space, arch))
        (usage,) = exact_usage(s.setup.goals, s.space.indices(arch)[None])
        reward = score.cpu().double() - self.cost_weight * (usage - 1).abs().sum()
        s.extra["baseline"] = moving_average(s.extra.get("baseline"), reward, self.baseline_decay)
        log_probability = s.policy.log_probability(arch)
        learnt = reinforce_loss(log_probability, torch.zeros_like(log_probability), reward, s.extra["baseline"], 0.0)
        policy_step(s, learnt, lr=self._rate(t))
        return {"val_loss": loss, "val_score": score, "reward": reward, **costs(s.setup.goals, usage)}

    def _rate(self, t: Progress) -> float:
        """Return the learning rate of the logits: exponential growth from the end of the warm-up on."""
        learning = max(t.fraction - self.policy_warmup, 0.0) / max(1 - self.policy_warmup, 1e-9)
        return self.paper.rate(self.arch_lr, t.steps) * float(self.arch_lr_growth**learning)
