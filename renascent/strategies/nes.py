"""NES: evolution strategies on ordered decisions, around a mean that moves to lower loss at the wanted cost."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from renascent.core.fields import Count, NonNegative, settings
from renascent.core.gates import one_hot
from renascent.core.protocols import Batch, Data, Metrics, Progress, Score, Setup, State
from renascent.core.space import Arch
from renascent.strategies._bilevel import weight_step
from renascent.strategies._evolution import centred_ranks, estimate, floored, gaussian
from renascent.strategies._goals import costs, exact_usage

FEWEST = 10
"""Evaluations that even the shortest run makes for an update: fewer say nothing."""

MANY, SHORTEST = 8, 0.4
"""Of a decision with fewer options than MANY, noise and steps are shorter in proportion, down to SHORTEST: all that the
paper decides has more, and of four numbers of blocks a deviation of 1.25 would draw any."""

BLUR = 0.5
"""Deviation that `probabilities` has at least, in options: what lies near the mean is likelier than what lies far."""


@settings
class NES:
    """Train weights at floor(H + n), and move the mean H of all decisions by many evaluations around it.

    H counts options from 0, a step of 1 being the next size; n ~ N(0, sigma^2). H begins in the middle of the start's
    options (k + 1/2), so that floor(H + n) scatters evenly around them, and stays from 1/2 to options - 1/2. Of a
    decision with fewer than 8 options, both n and the steps of H are shorter in proportion, but not below 0.4. The loss
    of an architecture is that of one validation batch plus rho (R / R_t - 1)^2 for each bound R_t of the budget.

    Args:
        sigma: deviation of n at the start, in options; falls linearly to 0.
        mean_lr: learning rate of H at the start; falls linearly to 0.
        rho: weight of the squared distance from the budget.
        rounds: times that weight steps give way to updates of H.
        updates: updates of H in a round.
        evaluations: architectures in an update, all on one validation batch.
        work: evaluations for each weight step, at most: short runs make fewer updates, then smaller ones; 0 means no
            limit.
        antithetic: evaluate each n with its opposite.
        rank_shaping: use ranks from -1/2 to 1/2 in place of losses.

    References:
        Wierstra et al., Natural Evolution Strategies, JMLR 2014, arXiv:1106.4487; its estimator as in Salimans et al.,
        arXiv:1703.03864, here with the loss at floor(H) as baseline (Eq. 7 of the paper on architecture sizes).
    """

    sigma: NonNegative = 1.25
    mean_lr: NonNegative = 5.0
    rho: NonNegative = 1.0
    rounds: Count = 75
    updates: Count = 20
    evaluations: Count = 100
    work: NonNegative = 2.0
    antithetic: bool = False
    rank_shaping: bool = False

    takes_subsets = False

    def init(self, setup: Setup) -> State[None]:
        counts, start = setup.space.counts, setup.start
        mean = torch.tensor(counts, dtype=torch.float64) / 2
        if start is not None:
            place, active = setup.space.indices(start), setup.space.active(start)
            given = torch.tensor([name in active for name in setup.space.decisions])
            mean = torch.where(given, torch.from_numpy(place).double() + 0.5, mean)
        extra = {"mean": mean, "sigma": torch.tensor(self.sigma, dtype=torch.float64)}
        return State(setup, setup.weights.optimiser(setup.net), setup.generator(), None, extra=extra)

    def step(self, s: State[None], data: Data, t: Progress) -> Metrics:
        left = 1 - t.step / t.steps
        sigma = self.sigma * left
        s.extra["sigma"] = torch.tensor(sigma, dtype=torch.float64)
        (arch,) = _archs(s, _scales(s) * gaussian(1, len(s.extra["mean"]), sigma, s.rng))
        metrics = weight_step(s, data.train.next(), one_hot(s.space, arch), t)
        updates, evaluations = self._due(t)
        for _ in range(updates if sigma else 0):
            metrics |= self._update(s, data.val.next(), sigma, self.mean_lr * left, evaluations)
        return metrics

    def derive(self, s: State[None], score: Score) -> Arch:
        return _archs(s, torch.zeros(1, len(s.extra["mean"])))[0]

    def probabilities(self, s: State[None]) -> Mapping[str, Tensor]:
        sigmas = (_scales(s) * s.extra["sigma"]).clamp_min(BLUR) if self.sigma else torch.zeros(len(s.space.counts))
        rows = zip(s.space.decisions, s.extra["mean"], sigmas.tolist(), s.space.counts, strict=True)
        return {name: floored(mean, sigma, count) for name, mean, sigma, count in rows}

    def _due(self, t: Progress) -> tuple[int, int]:
        """Return how many updates follow this step, and of how many evaluations each."""
        rounds = min(self.rounds, t.steps)
        if (t.step + 1) * rounds // t.steps == t.step * rounds // t.steps:
            return 0, 0
        if not self.work:
            return self.updates, self.evaluations
        allowed = int(self.work * t.steps / rounds)
        updates = min(self.updates, max(allowed // self.evaluations, 1))
        return updates, min(self.evaluations, max(allowed // updates, FEWEST))

    def _update(self, s: State[None], batch: Batch, sigma: float, lr: float, count: int) -> Metrics:
        """Move H against the estimated gradient: Eq. 7."""
        mean, space, scales = s.extra["mean"], s.space, _scales(s)
        noise = gaussian(count, len(mean), sigma, s.rng, antithetic=self.antithetic)
        archs = _archs(s, scales * torch.cat([torch.zeros_like(noise[:1]), noise]))
        losses, metrics = self._losses(s, batch, archs)
        change = centred_ranks(losses[1:]) if self.rank_shaping else losses[1:] - losses[0]
        active = {arch: frozenset(space.active(arch)) for arch in set(archs)}
        # a decision that is inactive in an architecture cannot have changed its loss
        said = torch.tensor([[name in active[arch] for name in space.decisions] for arch in archs[1:]])
        moved = mean - lr * scales * estimate(change, noise * said, sigma)
        # the middles of the first and the last option: beyond them, small noise would see no other option any more
        s.extra["mean"] = moved.clamp(torch.tensor(0.5), torch.tensor(space.counts) - 0.5)
        return metrics

    @torch.no_grad()
    def _losses(self, s: State[None], batch: Batch, archs: Sequence[Arch]) -> tuple[Tensor, Metrics]:
        """Return the loss of each, (n,), float64 on the CPU, and what is to be said of the first."""
        setup, different = s.setup, list(dict.fromkeys(archs))
        found = [setup.task.loss(s.net, batch, one_hot(setup.space, arch)) for arch in different]
        losses = torch.stack([each.loss for each in found])
        usage = exact_usage(setup.goals, np.stack([setup.space.indices(arch) for arch in different]))
        total = losses.cpu().double() + self.rho * (usage - 1).pow(2).sum(1)
        place = {arch: k for k, arch in enumerate(different)}
        metrics = {"val_loss": losses[0], "val_score": found[0].score, **costs(setup.goals, usage[0])}
        return total[[place[arch] for arch in archs]], metrics


def _scales(s: State[None]) -> Tensor:
    """Return how long noise and steps of each decision are, in shares of those of many options, (decisions,)."""
    return (torch.tensor(s.space.counts, dtype=torch.float64) / MANY).clamp(SHORTEST, 1.0)


def _archs(s: State[None], noise: Tensor) -> list[Arch]:
    """Return the architectures floor(H + n), for noise (n, decisions)."""
    limits = torch.tensor(s.space.counts) - 1
    rows = (s.extra["mean"] + noise).floor().long().clamp(torch.zeros_like(limits), limits)
    return [s.space.from_indices(row) for row in rows.tolist()]
