"""BayesNAS: scales under a re-weighted prior, pruned by the variance that the prior ends with."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import torch
from torch import Tensor

from renascent.core.curvature import Recorded, gather, gathered, squared_slopes
from renascent.core.errors import UserError
from renascent.core.fields import Count, NonNegative, Positive, Range, settings
from renascent.core.gates import Gates
from renascent.core.prior import relevance, switches
from renascent.core.protocols import Batch, Data, Metrics, Progress, Score, Setup, State
from renascent.core.recursion import recursive_curvature
from renascent.core.space import Arch
from renascent.strategies._bilevel import frozen, gradients, weight_step
from renascent.strategies._prox import heavy_step
from renascent.strategies._scales import by_name, chances, existing, joining, scaled, strongest
from renascent.strategies._stages import LARGEST, dependent, restarted, stage, switched


@settings
class BayesNAS:
    """Train weights plainly, then with scales under a penalty; then prune by variances that depend on one another.

    Every operation of an edge has a scale at every place, and every edge of several operations a zero switch, which
    multiplies them; all begin at 1. The curvature of the loss along each says how sure its value is: what may be zero
    for all the data say has a small variance, and takes along what it alone feeds.

    Args:
        shrinkage: lambda, weight of the penalty on scales, and variance of the noise that it stands for.
        shrinkage_zero: lambda of zero switches; 0: that of scales.
        iterations: of training, updating and pruning; at most one an epoch.
        warmup: share of each iteration before scales move; below 1, or none would ever move.
        scale_lr: learning rate of scales.
        scale_momentum: of scales.
        curvature_draws: last steps of each iteration in which curvature is measured, all in its last epoch.
        recursive: measure it by the thesis's recursion, to be compared: an approximation, of most networks far off.

    References:
        Zhou, Yang, Wang and Pan, BayesNAS: A Bayesian Approach for Neural Architecture Search, ICML 2019,
        arXiv:1905.04123, Algorithm 1; Eqs 3-5, 3-6 and 4-1 to 4-5 of Yang's thesis on it.
    """

    shrinkage: Positive = 0.01
    shrinkage_zero: NonNegative = 0.0
    iterations: Count = 1
    warmup: Annotated[float, Range(0, 0.9999)] = 0.5
    scale_lr: NonNegative = 0.1
    scale_momentum: Annotated[float, Range(0, 0.9999)] = 0.9
    curvature_draws: Count = 200
    recursive: bool = False

    takes_one_hot = False

    def init(self, setup: Setup) -> State[None]:
        if 0 < setup.epochs < self.iterations:
            given = f"`iterations` is {self.iterations} and `epochs` is {setup.epochs}"
            raise UserError(f"{given}: give at most one iteration an epoch")
        net, kept = setup.net, joining(setup.net, existing(setup.space))
        places = torch.tensor([net.places(name) for name in setup.space.decisions])
        there = torch.arange(int(places.max())) < places[:, None]
        whole = torch.ones(kept.shape, dtype=torch.float64)
        extra = {"kept": kept, "there": there, "variance": whole, "omega": whole, "strength": whole * kept}
        extra |= {"zero_variance": whole[:, 0], "zero_omega": whole[:, 0]}
        extra |= restarted(there, kept)
        s = State(setup, setup.weights.optimiser(net), setup.generator(), None, extra=extra)
        # a trial that is forgotten: what has no curvature is refused before the search
        trial = replace(s, rng=setup.generator(), extra=dict(extra))
        self._scale_step(trial, setup.task.batches("val", 2)[0], measures=True)
        return s

    def step(self, s: State[None], data: Data, t: Progress) -> Metrics:
        now = stage(t, self.iterations, self.warmup, self.curvature_draws)
        metrics = weight_step(s, data.train.next(), _gates(s, s.extra["scales"], s.extra["zeros"]), t)
        if now.joint:
            metrics |= self._scale_step(s, data.val.next(), measures=now.measures)
        if now.ends and bool(metrics["val_loss"].isfinite()):  # what has diverged is told by the loop
            metrics |= self._prune(s)
        return metrics

    def derive(self, s: State[None], score: Score) -> Arch:
        return _kept(s)

    def probabilities(self, s: State[None]) -> Mapping[str, Tensor]:
        return chances(s.space, s.extra["strength"] * s.extra["kept"], _kept(s))

    def strengths(self, s: State[None]) -> Mapping[str, Tensor]:
        return by_name(s.space, s.extra["strength"] * s.extra["kept"])

    def _scale_step(self, s: State[None], batch: Batch, *, measures: bool) -> Metrics:
        """Move scales and zero switches against the loss, and shrink each group: Eq. 4-1."""
        extra, moving = s.extra, [s.extra[name].clone().requires_grad_() for name in ("scales", "zeros")]
        recorded, draws = Recorded(s.net), list[Tensor]()
        with frozen(s.net):
            loss, score = s.setup.task.loss(recorded, batch, _gates(s, *moving))
            if measures and not self.recursive:
                draws = squared_slopes(recorded.logits, moving, s.rng)
            slopes = gradients(loss, moving)
            if measures and self.recursive:  # now that the maps of the other pass are released
                draws = recursive_curvature(lambda: s.net(batch[0], _gates(s, *moving)), moving)
        if draws:
            gather(extra, torch.cat([draw.flatten() for draw in draws]))
        penalties = self.shrinkage * extra["omega"], self._zero * extra["zero_omega"]
        for name, slope, penalty in zip(("scales", "zeros"), slopes, penalties, strict=True):
            at, rates = (extra[name], extra[f"{name}_momentum"]), (self.scale_lr, self.scale_momentum)
            extra[name], extra[f"{name}_momentum"] = heavy_step(*at, slope, penalty.to(slope), *rates)
        extra["scales"] = extra["scales"] * extra["kept"][:, None]
        extra["zeros"] = torch.where(switched(s.net)[:, None], extra["zeros"], extra["there"].to(slope))
        extra["strength"] = (extra["scales"] * extra["zeros"][..., None]).double().norm(dim=1)
        return {"val_loss": loss.detach(), "val_score": score}

    @property
    def _zero(self) -> float:
        return self.shrinkage_zero or self.shrinkage

    def _prune(self, s: State[None]) -> Metrics:
        """Update the prior by what was measured, Eqs 4-2 to 4-5, and prune; scales begin at 1 again."""
        extra = s.extra
        own, zeros = torch.split(gathered(extra), [extra["scales"].numel(), extra["zeros"].numel()])
        extra["omega"] = relevance(own.view_as(extra["scales"]), extra["variance"], self.shrinkage, dim=1)
        extra["zero_omega"] = relevance(zeros.view_as(extra["zeros"]), extra["zero_variance"], self._zero, dim=1)
        strength = switches(extra["scales"], extra["omega"], dim=1)
        zero = switches(extra["zeros"], extra["zero_omega"], dim=1)
        zero = torch.where(switched(s.net), zero, torch.inf)
        variance, kept, loose = dependent(s.net, extra["kept"], strength, zero)
        extra |= {"variance": variance, "strength": variance, "kept": kept, "zero_variance": zero.clamp(max=LARGEST)}
        extra |= restarted(extra["there"], kept)
        return {"kept": kept.sum().float(), "led_nowhere": torch.tensor(float(loose))}


def _gates(s: State[None], scales: Tensor, zeros: Tensor) -> Gates:
    """Return the gates of scales (decisions, places, options) times zero switches (decisions, places)."""
    values = scales * zeros[..., None]
    active = (values.detach() != 0).any(1)
    places = s.extra["there"].sum(1).tolist()
    rows = [row[0] if count == 1 else row[:count] for row, count in zip(values, places, strict=True)]
    return scaled(s.space, rows, active, s.extra["kept"] & ~active)


def _kept(s: State[None]) -> Arch:
    return strongest(s.net, s.extra["strength"] * s.extra["kept"], s.extra["strength"])
