"""GDAS: sample one candidate an edge, and learn through the sample."""

from renascent.core.fields import AUTO, NonNegative, Positive, Rate, settings
from renascent.core.gates import Gates, gumbel_hard
from renascent.core.protocols import Data, Metrics, Progress, State, linear
from renascent.strategies._bilevel import Logits, arch_step, argmax, bilevel_state, softmax, weight_step
from renascent.strategies._pace import Pace


@settings
class GDAS:
    """Sample one option per decision in the forward pass; its logits learn from the validation loss.

    One sample serves all copies of a cell; the weight step and the architecture step draw one each.

    Args:
        arch_lr: Adam learning rate of the logits; auto: the paper's, larger the shorter the search.
        arch_weight_decay: L2 penalty on the logits.
        tau_start: softmax temperature at the first step.
        tau_end: softmax temperature at the last step; linear in between.

    References:
        Dong and Yang, Searching for a Robust Neural Architecture in Four GPU Hours, CVPR 2019, arXiv:1910.04465,
        Eqs 3-5 and Algorithm 1.
    """

    arch_lr: Rate = AUTO
    arch_weight_decay: NonNegative = 1e-3
    tau_start: Positive = 10.0
    tau_end: Positive = 0.1

    paper = Pace(3e-4, 240 * 390)
    takes_one_hot = takes_subsets = False
    init, derive, probabilities = bilevel_state, argmax, softmax

    def step(self, s: State[Logits], data: Data, t: Progress) -> Metrics:
        metrics = weight_step(s, data.train.next(), self._sample(s, t), t)
        return metrics | arch_step(s, data.val.next(), self._sample(s, t))

    def _sample(self, s: State[Logits], t: Progress) -> Gates:
        tau = linear(self.tau_start, self.tau_end, t.fraction)
        return gumbel_hard(s.space, s.policy(), tau, s.rng)
