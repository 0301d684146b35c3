"""DSO-NAS: a scale on every connection, pruned to exact zeros by accelerated proximal gradient descent."""

from collections.abc import Mapping
from typing import Annotated

import torch
from torch import Tensor

from renascent.core.fields import Count, NonNegative, OneOf, Positive, Range, settings
from renascent.core.protocols import Batch, Data, Metrics, Progress, Score, Setup, State
from renascent.core.space import Arch
from renascent.core.thin import refuse_cut
from renascent.strategies._bilevel import arch_due, frozen, gradients, weight_step
from renascent.strategies._goals import costs, exact_usage
from renascent.strategies._prox import Accelerated, proximal_step
from renascent.strategies._scales import by_name, chances, existing, joining, scaled, strongest

ADAPTIVE = {"macs": "macs", "memory_access": "memory_access_bytes", "none": "", "": ""}
"""The costs that a penalty can follow: Eqs 9 and 10. A command line has no empty word."""

PATH = 0.5
"""How far the logarithm of the penalty moves after an epoch for a budget that is missed by all of its limit."""


@settings
class DSONAS:
    """Train the complete network with a scale on every option, then prune scales while training goes on.

    Scales begin at 1. A penalty on their absolute values pulls them to zero by a soft threshold; what is at zero is
    off, and may come back as long as the nodes that it joins are alive. With a budget the penalty follows a line from
    the cost at its begin to the limit, within a hundredth to a hundred times of what is given.

    Args:
        sparsity: weight of the penalty at the begin; the paper gives none.
        scale_lr: learning rate of scales, constant.
        scale_momentum: of scales.
        pretrain: share of the search before scales move; below 1, or none would ever move.
        weights_per_scale: weight steps to one scale step.
        split: take scale steps on validation data; otherwise on the training stream.
        adaptive: what the penalty grows with: multiply-accumulates alive in a block (macs, Eq. 9), bytes that an
            operation moves (memory_access, Eq. 10), or none. Spaces that know no parts have the same for all.

    References:
        Zhang, Huang and Wang, You Only Search Once: Single Shot Neural Architecture Search via Direct Sparse
        Optimization, arXiv:1811.01567, Eqs 3-10.
    """

    sparsity: Positive = 1e-2
    scale_lr: NonNegative = 0.1
    scale_momentum: Annotated[float, Range(0, 0.9999)] = 0.9
    pretrain: Annotated[float, Range(0, 0.9999)] = 0.5
    weights_per_scale: Count = 1
    split: bool = True
    adaptive: Annotated[str, OneOf("adaptive penalty", tuple(ADAPTIVE))] = "macs"

    takes_one_hot = False

    def init(self, setup: Setup) -> State[None]:
        open_ = joining(setup.net, existing(setup.space))
        extra = {"scales": open_.float(), "speed": torch.zeros(open_.shape), "open": open_}
        # of no support yet: made ahead of the first scale step
        extra["penalty"] = torch.zeros(open_.shape, dtype=torch.float64)
        extra["sparsity"] = torch.tensor(self.sparsity, dtype=torch.float64)
        s = State(setup, setup.weights.optimiser(setup.net), setup.generator(), None, extra=extra)
        if setup.goals:
            extra["begin"] = self._usage(s).max()
        return s

    def step(self, s: State[None], data: Data, t: Progress) -> Metrics:
        gates = scaled(s.space, self._ahead(s), self._ahead(s) != 0)
        metrics = weight_step(s, data.train.next(), gates, t)
        if arch_due(t, self.pretrain, self.weights_per_scale):
            metrics |= self._scale_step(s, (data.val if self.split else data.train).next())
        if t.fraction >= self.pretrain and t.ends_epoch and s.setup.goals:
            metrics |= self._follow(s, t)
        return metrics

    def derive(self, s: State[None], score: Score) -> Arch:
        return self._kept(s)

    def probabilities(self, s: State[None]) -> Mapping[str, Tensor]:
        return chances(s.space, s.extra["scales"].abs(), self._kept(s))

    def strengths(self, s: State[None]) -> Mapping[str, Tensor]:
        return by_name(s.space, s.extra["scales"].abs())

    def _ahead(self, s: State[None]) -> Tensor:
        """Return l, the point that steps are taken at, (decisions, options): Eq. 8."""
        return s.extra["scales"] + self.scale_momentum * s.extra["speed"]

    def _kept(self, s: State[None]) -> Arch:
        return strongest(s.net, s.extra["scales"].abs(), self._ahead(s).abs())

    def _scale_step(self, s: State[None], batch: Batch) -> Metrics:
        """Move scales against the loss and their penalty: Eqs 6 to 8."""
        if not s.extra["penalty"].any():
            self._price(s)
        ahead, before = self._ahead(s).requires_grad_(), s.extra["scales"] != 0
        active = ahead.detach() != 0
        gates = scaled(s.space, ahead, active, s.extra["open"] & ~active)
        with frozen(s.net):
            loss, score = s.setup.task.loss(s.net, batch, gates)
        (slope,) = gradients(loss, [ahead])
        at = Accelerated(s.extra["scales"], ahead.detach(), s.extra["speed"])
        penalty = (s.extra["sparsity"] * s.extra["penalty"]).to(ahead)
        moved = proximal_step(at, slope, self.scale_lr, penalty, self.scale_momentum)
        s.extra |= {"scales": moved.kept, "speed": moved.speed}
        metrics = {"val_loss": loss.detach(), "val_score": score, "scales_on": (moved.kept != 0).sum().float()}
        if not torch.equal(before, moved.kept != 0):
            metrics |= self._cut(s, batch)
        return metrics

    def _cut(self, s: State[None], batch: Batch) -> Metrics:
        """Put out for good what joins a node that is not alive; the penalty is that of what is left.

        The loss of the batch may jump by that: a node without inputs still has the shift of its normalisation.
        """
        refuse_cut(s.net, self._kept(s))
        open_ = s.extra["open"] & joining(s.net, s.extra["scales"] != 0)
        if torch.equal(open_, s.extra["open"]):
            self._price(s)
            return {}
        before = self._loss(s, batch)
        s.extra |= {"open": open_, "scales": s.extra["scales"] * open_, "speed": s.extra["speed"] * open_}
        self._price(s)
        return {"cut_jump": self._loss(s, batch) - before}

    @torch.no_grad()
    def _loss(self, s: State[None], batch: Batch) -> Tensor:
        ahead = self._ahead(s)
        return s.setup.task.loss(s.net, batch, scaled(s.space, ahead, ahead != 0)).loss

    def _price(self, s: State[None]) -> None:
        cost = ADAPTIVE[self.adaptive]
        found = s.net.penalties(cost, self._kept(s), s.setup.task.size) if cost else None
        whole = existing(s.space).double()
        s.extra["penalty"] = whole if found is None else torch.from_numpy(found) * whole

    def _usage(self, s: State[None]) -> Tensor:
        """Return how much of each goal's limit is used by what is alive, (goals,)."""
        return exact_usage(s.setup.goals, s.space.indices(self._kept(s))[None])[0]

    def _follow(self, s: State[None], t: Progress) -> Metrics:
        """Move the penalty to where the tightest goal is used as much as a line to its limit wants."""
        used = (usage := self._usage(s)).max()
        done = (t.fraction - self.pretrain) / (1 - self.pretrain)
        wanted = s.extra["begin"] + (1 - s.extra["begin"]) * done
        moved = s.extra["sparsity"] * (PATH * (used - wanted)).exp()
        s.extra["sparsity"] = moved.clamp(self.sparsity / 100, self.sparsity * 100)
        return {"sparsity": s.extra["sparsity"], **costs(s.setup.goals, usage)}
