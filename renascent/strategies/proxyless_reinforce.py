"""ProxylessNAS by REINFORCE: one path at a time, and logits rewarded for accuracy times a power of the cost."""

from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from renascent.core.fields import AUTO, Count, Range, Rate, Share, settings
from renascent.core.gates import one_hot
from renascent.core.protocols import Batch, Data, Metrics, Progress, Setup, State
from renascent.core.space import Arch
from renascent.strategies._bilevel import Logits, arch_due, argmax, logits_state, policy_step, softmax, weight_step
from renascent.strategies._goals import costs, exact_usage
from renascent.strategies._pace import Pace
from renascent.strategies._rewards import moving_average, reinforce_loss


@settings
class ProxylessReinforce:
    """Train one sampled path at a time; logits learn by REINFORCE from accuracy times a power of the cost.

    The reward of an architecture is its accuracy on a validation batch x (cost / limit)^cost_exponent for each bound of
    the budget, less a moving average of the rewards before it. No gradient goes through the network.

    Args:
        samples: architectures whose rewards make one update of the logits.
        arch_lr: Adam learning rate of the logits, without momentum or decay; auto: the paper's, larger the shorter the
            search.
        arch_every: weight steps to one architecture step.
        policy_warmup: share of the search before the logits learn.
        cost_exponent: power of cost / limit in the reward, at most 0; at 0 the budget is not looked at.
        cost_below: go on rewarding costs that fall ever further below the limit, as the paper does; else they count as
            the limit, which is there to be used.
        baseline_decay: decay of the moving average of rewards.
        label_smoothing: share of the target spread evenly over all classes in weight steps.

    References:
        Cai, Zhu and Han, ProxylessNAS: Direct Neural Architecture Search on Target Task and Hardware, ICLR 2019,
        arXiv:1812.00332, Secs 3.2 and 3.3.2, Eqs 2, 3 and 8.
    """

    samples: Count = 10
    arch_lr: Rate = AUTO
    arch_every: Count = 1
    policy_warmup: Share = 0.0
    cost_exponent: Annotated[float, Range(-10, 0)] = -0.1
    cost_below: bool = False
    baseline_decay: Annotated[float, Range(0.01, 1)] = 0.99
    label_smoothing: Annotated[float, Range(0, 0.9999)] = 0.0

    paper = Pace(1e-2, 200 * 703)  # CIFAR-10
    takes_one_hot = takes_subsets = False
    derive, probabilities = argmax, softmax

    def init(self, setup: Setup) -> State[Logits]:
        return logits_state(self, setup, weight_decay=0.0, betas=(0.0, 0.999), every=self.arch_every)

    def step(self, s: State[Logits], data: Data, t: Progress) -> Metrics:
        path = one_hot(s.space, s.policy.draw(s.rng))
        metrics = weight_step(s, data.train.next(), path, t, smoothing=self.label_smoothing)
        if not arch_due(t, self.policy_warmup, self.arch_every):
            return metrics
        return metrics | self._arch_step(s, data.val.next())

    def _arch_step(self, s: State[Logits], batch: Batch) -> Metrics:
        """Move the logits along the mean over samples of (reward - baseline) d log p / d logits: Eq. 8."""
        archs = [s.policy.draw(s.rng) for _ in range(self.samples)]
        scores = _scores(s, batch, archs)
        usage = exact_usage(s.setup.goals, np.stack([s.space.indices(arch) for arch in archs]))
        rewards = scores * (usage if self.cost_below else usage.clamp_min(1.0)).pow(self.cost_exponent).prod(1)
        losses = [self._loss(s, arch, reward) for arch, reward in zip(archs, rewards, strict=True)]
        policy_step(s, torch.stack(losses).mean())
        return {"val_score": scores.mean(), "reward": rewards.mean(), **costs(s.setup.goals, usage.mean(0))}

    def _loss(self, s: State[Logits], arch: Arch, reward: Tensor) -> Tensor:
        """Return what has the gradient of minus one sample's; its reward enters the baseline afterwards."""
        log_probability, baseline = s.policy.log_probability(arch), s.extra.get("baseline", reward)
        s.extra["baseline"] = moving_average(s.extra.get("baseline"), reward, self.baseline_decay)
        return reinforce_loss(log_probability, torch.zeros_like(log_probability), reward, baseline, 0.0)


@torch.no_grad()
def _scores(s: State[Logits], batch: Batch, archs: list[Arch]) -> Tensor:
    """Return the accuracy of each on a batch, (n,), float64 on the CPU. Equal ones are computed once."""
    found = {arch: s.setup.task.loss(s.net, batch, one_hot(s.space, arch)).score for arch in dict.fromkeys(archs)}
    return torch.stack([found[arch] for arch in archs]).cpu().double()
