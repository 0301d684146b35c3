"""SETN: train uniformly, let a template network judge, and evaluate what it proposes."""

from renascent.core.fields import AUTO, Count, NonNegative, Rate, settings
from renascent.core.gates import soft
from renascent.core.protocols import Data, Metrics, Progress, State
from renascent.strategies._bilevel import Logits, arch_step, bilevel_state, softmax, weight_step
from renascent.strategies._pace import Pace
from renascent.strategies._sampling import best_of, uniform_gates


@settings
class SETN:
    """Train the weights at uniform samples and the logits on the soft mixture; return the best of drawn candidates.

    Uniform sampling trains every candidate fairly, so that the evaluator, a softmax over options that learns from the
    validation loss, proposes architectures without the bias of those already trained most.

    Args:
        arch_lr: Adam learning rate of the logits; auto: the paper's, larger the shorter the search.
        arch_weight_decay: L2 penalty on the logits.
        candidates: architectures drawn from the softmax and scored at the end.

    References:
        Dong and Yang, One-Shot Neural Architecture Search via Self-Evaluated Template Network, ICCV 2019,
        arXiv:1910.05733, Sec. 3.
    """

    arch_lr: Rate = AUTO
    arch_weight_decay: NonNegative = 1e-3
    candidates: Count = 100

    paper = Pace(3e-4, 100 * 390)  # as NATS-Bench ran it
    takes_one_hot = takes_subsets = False
    init, derive, probabilities = bilevel_state, best_of(lambda s: s.policy.draw(s.rng)), softmax

    def step(self, s: State[Logits], data: Data, t: Progress) -> Metrics:
        metrics = weight_step(s, data.train.next(), uniform_gates(s.space, s.rng), t)
        return metrics | arch_step(s, data.val.next(), soft(s.space, s.policy()))
