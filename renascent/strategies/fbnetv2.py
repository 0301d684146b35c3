"""FBNet-V2: all sizes at once as a sum of masks on the widest, weighted by a Gumbel-softmax."""

from torch import Tensor

from renascent.core.fields import AUTO, Count, NonNegative, Positive, Rate, Share, settings
from renascent.core.gates import Gates, gumbel_soft
from renascent.core.protocols import Progress, State
from renascent.strategies._bilevel import Logits, argmax, softmax
from renascent.strategies._goals import log_power
from renascent.strategies._pace import Pace
from renascent.strategies._sizes import size_state, size_step


@settings
class FBNetV2:
    """Run the widest network under soft masks; their logits learn from validation loss times a power of log cost.

    Weight steps and architecture steps draw once each. The cost is that of the policy, not of the sample.

    Args:
        arch_lr: Adam learning rate of the logits; auto: the paper's, larger the shorter the search.
        arch_every: weight steps to one architecture step; FBNet's logits have a fifth of the images.
        arch_weight_decay: L2 penalty on the logits.
        tau_start: temperature of the Gumbel-softmax at the first step.
        tau_end: temperature at the last step; falls exponentially in between.
        cost_exponent: power of log cost, once the expected cost is above the limit; 0 means that no budget is looked
            at.
        filter_warmup: share of the search in which weight steps may train all filters.
        policy_warmup: share of the search before the logits learn.

    References:
        Wan et al., FBNetV2: Differentiable Neural Architecture Search for Spatial and Channel Dimensions, CVPR 2020,
        arXiv:2004.05565, Eqs 2-5; loss and settings of FBNet, arXiv:1812.03443, Eq. 2 and Sec. 4.1.
    """

    arch_lr: Rate = AUTO
    arch_every: Count = 4
    arch_weight_decay: NonNegative = 5e-4
    tau_start: Positive = 5.0
    tau_end: Positive = 0.09
    cost_exponent: NonNegative = 0.6
    filter_warmup: Share = 0.0
    policy_warmup: Share = 0.1

    paper = Pace(1e-2, 80 * 135)  # FBNet's: a fifth of the images of 100 classes of ImageNet, in batches of 192
    takes_subsets = False
    init, step, derive, probabilities = size_state, size_step, argmax, softmax

    def sample(self, s: State[Logits], logits: Tensor, t: Progress) -> Gates:
        tau = self.tau_start * (self.tau_end / self.tau_start) ** t.fraction
        return gumbel_soft(s.space, logits, tau, s.rng)

    def charge(self, s: State[Logits], loss: Tensor, usage: Tensor) -> Tensor:
        factor = log_power(usage, self.cost_exponent).to(loss)
        return loss * factor
