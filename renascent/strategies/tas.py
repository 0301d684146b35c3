"""TAS: interpolate between a few sampled sizes, and learn how likely each size should be."""

from typing import Annotated

from torch import Tensor

from renascent.core.fields import AUTO, Count, NonNegative, Positive, Range, Rate, Share, settings
from renascent.core.gates import Gates, several_sizes
from renascent.core.protocols import Progress, State, linear
from renascent.strategies._bilevel import Logits, argmax, softmax
from renascent.strategies._goals import exact_usage, piecewise
from renascent.strategies._pace import Pace
from renascent.strategies._sizes import size_state, size_step


@settings
class TAS:
    """Sample a few sizes per decision, interpolate between them; logits learn from validation loss and expected cost.

    The weight step and the architecture step draw once each. The cost loss has the gradient of the policy's expected
    cost; whether it pushes down or up is said by the cost of the architecture that would be derived now.

    Args:
        arch_lr: Adam learning rate of the logits; auto: the paper's, larger the shorter the search.
        arch_every: weight steps to one architecture step.
        arch_weight_decay: L2 penalty on the logits.
        tau_start: temperature of the Gumbel-softmax at the first step.
        tau_end: temperature at the last step; linear in between.
        samples: sizes of each decision that are interpolated; of one alone, the validation loss says nothing.
        cost_weight: weight of the cost loss; 0 means that the budget is not looked at.
        tolerance: share of the budget that the cost of what would be derived may be off without a loss.
        filter_warmup: share of the search in which weight steps may train all filters.
        policy_warmup: share of the search before the logits learn.

    References:
        Dong and Yang, Network Pruning via Transformable Architecture Search, NeurIPS 2019, arXiv:1905.09717, Eqs 2-7;
        its cost loss as in Dong's thesis, Eq. 3.15.
    """

    arch_lr: Rate = AUTO
    arch_every: Count = 1
    arch_weight_decay: NonNegative = 1e-3
    tau_start: Positive = 10.0
    tau_end: Positive = 0.1
    samples: Annotated[int, Range(1, 8)] = 2
    cost_weight: NonNegative = 2.0
    tolerance: Share = 0.05
    filter_warmup: Share = 0.0
    policy_warmup: Share = 0.0

    paper = Pace(1e-3, 600 * 97)
    takes_subsets = False
    init, step, derive, probabilities = size_state, size_step, argmax, softmax

    def sample(self, s: State[Logits], logits: Tensor, t: Progress) -> Gates:
        tau = linear(self.tau_start, self.tau_end, t.fraction)
        return several_sizes(s.space, logits, tau, s.rng, self.samples)

    def charge(self, s: State[Logits], loss: Tensor, usage: Tensor) -> Tensor:
        (derived,) = exact_usage(s.setup.goals, s.space.indices(s.policy.best())[None])
        cost = self.cost_weight * piecewise(usage, derived, self.tolerance).to(loss)
        return loss + cost
