"""Uniform samples, and the best of many."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from renascent.core.gates import Gates, one_hot
from renascent.core.protocols import Score, State
from renascent.core.space import Arch, Space, Subset


def uniform(space: Space, rng: torch.Generator) -> Arch:
    """Sample an architecture uniformly."""
    seed = int(torch.randint(2**62, (), generator=rng))
    return space.sample(np.random.default_rng(seed))


def uniform_gates(space: Space, rng: torch.Generator) -> Gates:
    """Return the gates of a uniformly sampled architecture."""
    return one_hot(space, uniform(space, rng))


def uniform_probabilities(strategy: object, s: State[None]) -> Mapping[str, Tensor]:
    """Be a method `probabilities`: return equal ones for all options of a decision, 1/2 for each of a Subset."""
    rows = zip(s.space.decisions.items(), s.space.counts, strict=True)
    return {name: torch.full((n,), 0.5 if isinstance(decision, Subset) else 1 / n) for (name, decision), n in rows}


class Candidates(Protocol):
    """A strategy that draws architectures at the end."""

    @property
    def candidates(self) -> int: ...


def best_of(draw: Callable[[State[Any]], Arch]) -> Callable[[Candidates, State[Any], Score], Arch]:
    """Return a method `derive`: of so many draws, the architecture that scores highest; the first of equals."""

    def derive(strategy: Candidates, s: State[Any], score: Score) -> Arch:
        scores: dict[Arch, float] = {}
        for arch in (draw(s) for _ in range(strategy.candidates)):
            if arch not in scores:
                scores[arch] = score(arch)
        return max(scores, key=scores.__getitem__)

    return derive
