"""BOHB: Hyperband, with a density model in place of random proposals."""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray

from renascent.core.errors import UserError
from renascent.core.fields import Count, Range, Share, settings
from renascent.core.space import Space
from renascent.strategies.trials._halving import Answers, Place, Rung, rungs, vacancy
from renascent.strategies.trials._kde import Density, even, fitted
from renascent.strategies.trials._picks import uniform
from renascent.strategies.trials.protocol import Outcome, Proposal, option_counts

Codes = NDArray[np.int64]

LONGEST = 12
"""Epochs, as in NATS-Bench."""


class Seen(NamedTuple):
    """All trainings of one length, best first. scores: their negatives, rising.  codes: (trainings, decisions)."""

    scores: tuple[float, ...]
    codes: Codes

    def with_one(self, picks: Sequence[int], score: float) -> Seen:
        """Return these and one more, behind its equals."""
        k = bisect.bisect(self.scores, -score)
        codes = np.concatenate((self.codes[:k], [picks], self.codes[k:]))
        return Seen((*self.scores[:k], -score, *self.scores[k:]), codes)


@dataclass(frozen=True)
class Memory:
    """counts: options of each decision.  answers: of every bracket and rung that is open.  opened: its first bracket.

    seen: epochs -> all trainings of that length.
    """

    counts: tuple[int, ...]
    answers: Answers = field(default_factory=dict)
    opened: int = 0
    seen: Mapping[int, Seen] = field(default_factory=dict)


@settings
class BOHB:
    """Propose what is likelier among good architectures than among bad ones; train it on Hyperband's schedule.

    Args:
        samples: candidates drawn from the model, of which the best ratio is proposed.
        random_fraction: share of proposals that are random.
        bandwidth_factor: the model's widths are multiplied by this when candidates are drawn.
        min_bandwidth: smallest width of the model.
        good: share of the architectures that count as good.
        eta: one in `eta` goes on to the next rung.
        min_epochs: of the shortest training.
        max_epochs: of the longest training; unless given those of the table that is searched, 12 where there is none.

    References:
        Falkner, Klein and Hutter, BOHB: Robust and Efficient Hyperparameter Optimization at Scale, ICML 2018,
        arXiv:1807.01774, Sec. 3 and Algorithm 2; settings of NATS-Bench, arXiv:2009.00437.
    """

    samples: Count = 4
    random_fraction: Share = 0.0
    bandwidth_factor: Annotated[float, Range(1)] = 3.0
    min_bandwidth: Share = 0.3
    good: Share = 0.15
    eta: Annotated[int, Range(2)] = 3
    min_epochs: Count = 1
    max_epochs: Count | None = None

    def __post_init__(self) -> None:
        if self.min_epochs > self._longest:
            raise UserError(f"min_epochs is {self.min_epochs}: give at most max_epochs, {self._longest}")

    def init(self, space: Space) -> Memory:
        return Memory(option_counts(space))

    def ask(self, s: Memory, rng: np.random.Generator, pending: Sequence[Proposal]) -> Proposal:
        out, bracket = [Place(*proposal.note) for proposal in pending], s.opened
        while (place := vacancy(bracket, self._rungs(bracket), s.answers, out)) is None:
            bracket += 1  # this one waits for answers, and no worker should
        picks = self._proposed(s, rng) if place.rung == 0 else s.answers[bracket, place.rung - 1][place.slot][0]
        return Proposal(picks, self._rungs(bracket)[place.rung].epochs, list(place))

    def tell(self, s: Memory, proposal: Proposal, outcome: Outcome) -> Memory:
        bracket, rung, slot = proposal.note
        rest = s.answers.get((bracket, rung), {})
        answers = {**s.answers, (bracket, rung): {**rest, slot: (proposal.picks, outcome.score)}}
        opened = s.opened
        while len(answers.get((opened, len(self._rungs(opened)) - 1), ())) == self._rungs(opened)[-1].size:
            answers = {key: value for key, value in answers.items() if key[0] != opened}
            opened += 1
        seen = s.seen.get(proposal.epochs) or Seen((), np.empty((0, len(s.counts)), np.int64))
        longer = seen.with_one(proposal.picks, outcome.score)
        return Memory(s.counts, answers, opened, {**s.seen, proposal.epochs: longer})

    @property
    def _longest(self) -> int:
        return self.max_epochs or LONGEST

    def _rungs(self, bracket: int) -> tuple[Rung, ...]:
        return rungs(bracket, self.eta, self.min_epochs, self._longest)

    def _proposed(self, s: Memory, rng: np.random.Generator) -> tuple[int, ...]:
        models = self.models(s)
        if models is None or rng.random() < self.random_fraction:
            return uniform(s.counts, rng)
        good, bad = models
        candidates = self.drawn(good, rng)
        ratio = np.maximum(good(candidates), 1e-32) / np.maximum(bad(candidates), 1e-32)
        return tuple(candidates[int(ratio.argmax())].tolist())

    def models(self, s: Memory) -> tuple[Density, Density] | None:
        """Return the densities of good and bad at the longest training with enough answers (Eqs 2-3), if any."""
        least = len(s.counts) + 1
        enough = [epochs for epochs, seen in s.seen.items() if len(seen.scores) >= least + 2]
        if not enough:
            return None
        codes, counts = s.seen[max(enough)].codes, np.array(s.counts)
        first = max(least, int(self.good * len(codes)))
        last = max(least, len(codes) - first)
        return fitted(codes[:first], counts, self.min_bandwidth), fitted(codes[-last:], counts, self.min_bandwidth)

    def drawn(self, good: Density, rng: np.random.Generator) -> Codes:
        """Draw candidates (samples, decisions) from the density of good, its widths multiplied."""
        centres = good.data[(rng.random(self.samples) * len(good.data)).astype(np.int64)]
        whether, which = rng.random((2, *centres.shape))
        moved = whether < np.minimum(good.width * self.bandwidth_factor, even(good.counts))
        steps = 1 + (which * np.maximum(good.counts - 1, 1)).astype(np.int64)
        return np.where(moved, (centres + steps) % good.counts, centres)
