"""ProxylessNAS by gradient: one path at a time, and logits that learn from the gradient of binary gates."""

from typing import Annotated

import torch
from torch import Tensor

from renascent.core.errors import UserError
from renascent.core.fields import AUTO, Count, NonNegative, Range, Rate, Share, settings
from renascent.core.gates import Gates, all_paths, one_hot, soft, two_paths
from renascent.core.protocols import Batch, Data, Metrics, Progress, Setup, State
from renascent.strategies._bilevel import Logits, arch_due, arch_step, argmax, logits_state, softmax, weight_step
from renascent.strategies._goals import costs, expected_usage
from renascent.strategies._pace import Pace


@settings
class Proxyless:
    """Train one sampled path at a time; logits learn from the gradient of binary gates and from the expected cost.

    An architecture step opens one path per decision. What is closed is recomputed for its gate's gradient alone and
    released, so that both forms keep the maps of one path. With two paths, those not drawn keep their probabilities.

    Args:
        paths: options of each decision that an architecture step compares: 2 sampled ones, or 0 for all of them.
        arch_lr: Adam learning rate of the logits, without momentum or decay; auto: the paper's, larger the shorter the
            search.
        arch_every: weight steps to one architecture step.
        policy_warmup: share of the search before the logits learn.
        cost_weight: weight of the expected cost over its limit; 0 means that the budget is not looked at.
        label_smoothing: share of the target spread evenly over all classes in weight steps.

    References:
        Cai, Zhu and Han, ProxylessNAS: Direct Neural Architecture Search on Target Task and Hardware, ICLR 2019,
        arXiv:1812.00332, Secs 3.2 and 3.3.1, Eqs 2-7 and Appendix D.
    """

    paths: Annotated[int, Range(0, 2)] = 2
    arch_lr: Rate = AUTO
    arch_every: Count = 1
    policy_warmup: Share = 0.0
    cost_weight: NonNegative = 0.1
    label_smoothing: Annotated[float, Range(0, 0.9999)] = 0.0

    paper = Pace(6e-3, 200 * 703)  # CIFAR-10
    takes_one_hot = takes_subsets = False
    derive, probabilities = argmax, softmax

    def __post_init__(self) -> None:
        if self.paths == 1:
            raise UserError("paths is 1, and one path has nothing to be compared with: give 2, or 0 for all")

    def init(self, setup: Setup) -> State[Logits]:
        # with momentum, what was not drawn would move too
        return logits_state(self, setup, weight_decay=0.0, betas=(0.0, 0.999), every=self.arch_every)

    def step(self, s: State[Logits], data: Data, t: Progress) -> Metrics:
        path = one_hot(s.space, s.policy.draw(s.rng))
        metrics = weight_step(s, data.train.next(), path, t, smoothing=self.label_smoothing)
        if not arch_due(t, self.policy_warmup, self.arch_every):
            return metrics
        return metrics | self._arch_step(s, data.val.next())

    def _arch_step(self, s: State[Logits], batch: Batch) -> Metrics:
        """Move the logits of the paths that take part: Eqs 4 and 7."""
        logits = s.policy()
        gates = (two_paths if self.paths else all_paths)(s.space, logits, s.rng)
        part = _taking_part(logits, gates)
        usage = expected_usage(s.setup.goals, soft(s.space, part))
        metrics = arch_step(s, batch, gates, lambda loss: loss + self.cost_weight * usage.sum().to(loss))
        if self.paths:
            _rescale(s.policy.logits, part.detach())
        return metrics | costs(s.setup.goals, usage)


def _taking_part(logits: Tensor, gates: Gates) -> Tensor:
    """Return logits (decisions, options), those of options that are neither open nor probed at -inf."""
    left_out = torch.ones_like(logits, dtype=torch.bool)
    for row, gate in zip(left_out, gates.values(), strict=True):
        row[[*gate.active, *gate.probe]] = False
    return logits.masked_fill(left_out, -torch.inf)


@torch.no_grad()
def _rescale(logits: Tensor, before: Tensor) -> None:
    """Scale exp(logits) of what took part to the sum it had, in place: all others keep their probabilities, Sec. 3.2.1.

    before: what `_taking_part` said ahead of the step.
    """
    left_out = before.isinf()
    after = logits.masked_fill(left_out, -torch.inf)
    change = before.logsumexp(-1, keepdim=True) - after.logsumexp(-1, keepdim=True)
    logits.add_(change.expand_as(logits).masked_fill(left_out, 0.0))
