"""What every strategy of shared weights has to keep, tried on a toy task whose best architecture is known.

It has 4 decisions of 3 options, of which a blind guess gets 1.3 right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from renascent.core.errors import UserError
from renascent.core.files import Json
from renascent.core.gates import one_hot
from renascent.core.protocols import Data, Goal, Metrics, OneShot, Progress, Setup, SpaceConfig, State, WeightRule
from renascent.loops import _drive
from renascent.loops.run import CLOCK_FIELDS, Run, read_events
from renascent.loops.share import Scorer, SearchOutcome, share
from renascent.nets.toy import ToySpace
from renascent.tasks.toy import ToyTask
from renascent.testing.claims import claim, is_documented, is_frozen, survives_json

SPACE = ToySpace()

SUBSETS = ToySpace(several=True)
"""The same space, of which each row may be read through any of its channels."""

SEEDS = (0, 1)

KILLED_AT = (3, 6, 9)
"""Ahead of which steps a search of three epochs, of four steps each, dies."""


@dataclass(frozen=True)
class Searched:
    """A search that nothing interrupted. about: how it is repeated, beside strategy and folder."""

    strategy: OneShot
    folder: Path
    outcome: SearchOutcome
    about: dict[str, Any]


def search(
    strategy: OneShot,
    folder: Path,
    *,
    seed: int = 0,
    epochs: int = 10,
    batch: int = 64,
    resume: bool = False,
    task: ToyTask | None = None,
    config: SpaceConfig = SPACE,
    goals: Sequence[Goal] = (),
) -> SearchOutcome:
    """Search a toy space; the random numbers outside are let be."""
    task = task or ToyTask(seed=seed)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        net = config.supernet(task.channels, task.classes)
        setup = Setup(net, task, config.space, WeightRule(lr=0.1), seed, tuple(goals))
        return share(strategy, setup, epochs=epochs, batch=batch, run=Run.start(folder, {"seed": seed}, resume=resume))


def short(strategy: OneShot, folder: Path) -> Searched:
    """Search for one epoch."""
    about: dict[str, Any] = {"epochs": 1, "task": ToyTask(count_each=64), "batch": 32}
    torch.manual_seed(1)
    return Searched(strategy, folder, search(strategy, folder, **about), about)


def uninterrupted(strategy: OneShot, folder: Path) -> Searched:
    """Search for three epochs, of four steps each."""
    about: dict[str, Any] = {"epochs": 3, "task": ToyTask(count_each=128), "batch": 32}
    return Searched(strategy, folder, search(strategy, folder, **about), about)


def check(strategy: OneShot, folder: Path, *, planted: bool = True) -> None:
    """Check all of it. planted: whether what was planted has to be found."""
    keeps_protocol(strategy)
    survives_json(strategy)
    is_documented(type(strategy))
    found = [search(strategy, folder / f"whole-{seed}", seed=seed) for seed in SEEDS]
    if planted:
        finds_what_was_planted(found)
    stays_in_space(found)
    has_probabilities(strategy, found)
    refuses_subsets(strategy, folder / "refused")
    once = short(strategy, folder / "short")
    needs_its_seed_alone(once, folder / "again")
    keeps_all_in_its_state(strategy, once)
    whole = uninterrupted(strategy, folder / "whole")
    for name, saving in (("epochs", 1e9), ("steps", -1.0)):
        resumes(whole, folder / f"killed-{name}", saving)


def planted_in(seed: int) -> dict[str, str]:
    """Return the best architecture of the toy task of a seed."""
    return {f"row{row}": f"channel{k}" for row, k in enumerate(ToyTask(seed=seed).planted)}


def keeps_protocol(strategy: OneShot) -> None:
    """Check that it is a frozen dataclass with the methods of `OneShot`."""
    claim(isinstance(strategy, OneShot), f"{type(strategy).__name__} lacks one of init, step, derive, probabilities")
    is_frozen(strategy)


def finds_what_was_planted(found: Sequence[SearchOutcome]) -> None:
    """Check that at least 7 of 8 decisions are right: a blind guess does that once in 390 times. found: by seed."""
    pairs = [(f.arch, planted_in(seed)) for seed, f in zip(SEEDS, found, strict=True)]
    right = sum(arch[name] == best[name] for arch, best in pairs for name in best)
    claim(right >= 7, f"of 8 decisions {right} are those that were planted: it has to find 7")


def stays_in_space(found: Sequence[SearchOutcome]) -> None:
    """Check that what was derived is of the space, has the score that is told, and beats the random mean."""
    for f in found:
        claim(SPACE.space.arch(f.arch) == f.arch, f"{f.arch} is not of the space")
        score, rng = Scorer(f.state), np.random.default_rng(0)
        claim(score(f.arch) == f.score, f"{f.arch} has another score the second time")
        mean = np.mean([score(SPACE.space.sample(rng)) for _ in range(30)])
        claim(f.score >= mean, f"what was derived scores {f.score:.3f}, random architectures {mean:.3f} in the mean")


def has_probabilities(strategy: OneShot, found: Sequence[SearchOutcome]) -> None:
    """Check that its probabilities of every decision are no less than 0, sum to one and need no gradient."""
    for f in found:
        probabilities = strategy.probabilities(f.state)
        claim(list(probabilities) == list(SPACE.space.decisions), "probabilities are not those of the decisions")
        for name, p in probabilities.items():
            claim(p.shape == (3,), f"the probabilities of {name} are {tuple(p.shape)}, of three options")
            claim(not p.requires_grad, f"the probabilities of {name} carry a gradient: detach them")
            claim((p >= 0).all(), f"a probability of {name} is below 0")
            claim(abs(float(p.sum()) - 1) <= 1e-5, f"the probabilities of {name} sum to {float(p.sum())}")


def refuses_subsets(strategy: OneShot, folder: Path) -> None:
    """Check that one that says it takes no subsets is refused on them."""
    if getattr(strategy, "takes_subsets", True):
        return
    name = type(strategy).__name__
    try:
        search(strategy, folder, config=SUBSETS)
    except UserError as e:
        expected = f"'row0' is a Subset, and {name} takes one option of each decision"
        claim(expected in str(e), f"a space of subsets is refused by another line: {e}")
        return
    raise AssertionError(f"{name} says that it takes no subsets, and searches them")


def needs_its_seed_alone(once: Searched, folder: Path) -> None:
    """Check that other random numbers before a search change nothing in it."""
    torch.manual_seed(2)
    again = search(once.strategy, folder, **once.about)
    claim(once.outcome.arch == again.arch, "the same seed finds another architecture")
    claim(events_of(once.folder) == events_of(folder), "the same seed has other events: take random numbers from s.rng")


def keeps_all_in_its_state(strategy: OneShot, once: Searched) -> None:
    """Check that a fresh state into which a saved one is loaded is that one: all that moves is in it."""
    task, state = once.about["task"], once.outcome.state
    torch.manual_seed(9)
    fresh = strategy.init(Setup(SPACE.supernet(3, 4), task, SPACE.space, WeightRule(lr=0.1), seed=5))
    fresh.load_state_dict(state.state_dict())
    gates, x = one_hot(SPACE.space, SPACE.space.at(0)), task.batches("val", 8)[0][0]
    claim(torch.equal(fresh.net(x, gates), state.net(x, gates)), "the weights are not all in the state that is saved")
    worth = {arch: float(k % 7) for k, arch in enumerate(SPACE.space)}
    same = strategy.derive(fresh, worth.__getitem__) == strategy.derive(state, worth.__getitem__)
    claim(same, "a state that was saved derives another architecture: keep all that moves in `State`")


class Killed(Exception):
    """A search dies here."""


class Mortal:
    """A strategy that dies ahead of one step, its state half changed by the one before."""

    def __init__(self, strategy: OneShot, at: int) -> None:
        self.strategy, self.at = strategy, at

    def __getattr__(self, name: str) -> Any:
        return getattr(self.strategy, name)

    def step(self, s: State[Any], data: Data, t: Progress) -> Metrics:
        """Die, or do the step."""
        if t.step == self.at:
            raise Killed
        return self.strategy.step(s, data, t)


def resumes(whole: Searched, folder: Path, saving: float) -> None:
    """Check that a search that is killed three times and resumed has the bits of one left alone.

    saving: seconds between checkpoints; a negative number means after every step.
    """
    with patch.object(_drive, "CHECKPOINT_SECONDS", saving):
        for at in KILLED_AT:
            try:
                search(Mortal(whole.strategy, at), folder, resume=True, **whole.about)
            except Killed:
                continue
            raise AssertionError(f"the search takes no step {at}")
        again = search(whole.strategy, folder, resume=True, **whole.about)
    is_same(again, whole.outcome)
    claim(events_of(folder) == events_of(whole.folder), "a search that is resumed has other events")


def is_same(one: SearchOutcome, two: SearchOutcome) -> None:
    """Check that two searches found the same, with the same weights."""
    claim((one.arch, one.score) == (two.arch, two.score), f"one finds {one.arch}, the other {two.arch}")
    for p, q in zip(one.state.net.parameters(), two.state.net.parameters(), strict=True):
        claim(torch.equal(p, q), "the shared weights differ")


def events_of(folder: Path) -> list[Json]:
    """Return the events of a run without their times."""
    return [{k: v for k, v in event.items() if k not in CLOCK_FIELDS} for event in read_events(folder)]
