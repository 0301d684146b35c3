"""The shared-weight loop: step, log, checkpoint, derive. It knows no algorithm, no data set and no network."""

import functools
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from renascent.core.errors import Diverged, UserError
from renascent.core.gates import ONE_HOT_DECISIONS, Gate, one_hot
from renascent.core.outside import check_returned
from renascent.core.protocols import Batch, Family, Loss, Metrics, OneShot, Say, Setup, State
from renascent.core.space import Arch, Integer, Space, Subset
from renascent.core.within import largest
from renascent.loops._drive import drive
from renascent.loops.derive import derived
from renascent.loops.run import Run

SCORE_BATCH = 512
"""Validation images on which a candidate is scored inside the supernet (NATS-Bench, arXiv:2009.00437)."""


@dataclass(frozen=True)
class SearchOutcome:
    """The outcome of a search over shared weights.

    score: of `arch` inside the supernet.  seconds: of the whole search.
    instead: what `arch` is where the strategy's own choice scored no better than random ones; else "".
    truth: what was asked for as such, of `arch`; None where it is not known, or nothing was asked for.
    """

    arch: Arch
    score: float
    seconds: float
    state: State[Any]
    truth: float | None = None
    instead: str = ""


def share(
    strategy: OneShot | Family,
    setup: Setup,
    *,
    epochs: int,
    batch: int,
    run: Run,
    state: State[Any] | None = None,
    say: Say = lambda event: None,
    truth: Callable[[Arch], float | None] | None = None,
) -> SearchOutcome:
    """Search with shared weights, going on where `run` stopped, and derive the architecture. A `Family` trains nothing.

    epochs: passes over the training split.  batch: images a step draws from each stream.
    state: of the strategy, where it is made already.
    truth: what is known of an architecture from elsewhere, in percent. The truth of the policy's mode is written into
    the event of every epoch, that of the result into the last one; the search does not see it.
    Raises Diverged when a loss is not finite, Interrupted after Ctrl-C.
    """
    if state is None:
        steps = epochs * setup.task.streams(setup.seed, batch).train.steps_per_epoch
        state = begin(strategy, replace(setup, epochs=epochs, steps=steps))
    scorer = Scorer(state)
    if isinstance(strategy, Family):
        run.restore()  # forgets what a session said that was killed
        seconds = 0.0
    else:
        seconds = _trained(strategy, state, epochs, batch, run, say, truth)
    began = time.monotonic()
    if not isinstance(strategy, Family):
        # no loss was computed from what the last step made of the weights
        scorer.check(_mode(setup.space, strategy.probabilities(state)))
    arch, instead = derived(strategy, state, scorer, setup.goals)
    scorer.check(arch)
    score = scorer(arch)
    seconds += time.monotonic() - began
    known = {"truth": truth(arch)} if truth is not None else {}
    replaced = {"instead": instead} if setup.goals else {}
    say(
        run.event("derived", arch=setup.space.format(arch), score=score, **known, **replaced, seconds=round(seconds, 3))
    )
    return SearchOutcome(arch, score, seconds, state, instead=instead, **known)


def _trained(
    strategy: OneShot,
    state: State[Any],
    epochs: int,
    batch: int,
    run: Run,
    say: Say,
    truth: Callable[[Arch], float | None] | None,
) -> float:
    """Take all steps, and return the seconds they took."""
    setup = state.setup
    data = setup.task.streams(setup.seed, batch)
    return drive(
        run,
        {"state": state, "train": data.train, "val": data.val},
        epochs=epochs,
        steps_per_epoch=data.train.steps_per_epoch,
        seed=setup.seed,
        step=lambda t: _metrics(strategy, strategy.step(state, data, t)),
        epoch=lambda means: _policy_facts(strategy, state, truth),
        say=say,
        rest=setup.rest,
    )


def begin(strategy: OneShot | Family, setup: Setup) -> State[Any]:
    """Return the state of a new search. Raises UserError for decisions of which the strategy would learn nothing.

    And BudgetError where no member of a family is inside the budget.
    """
    setup.net.eval()  # a weight step trains; what compares architectures must not depend on a dropout's draws
    if isinstance(strategy, Family):
        if setup.sandwich:
            raise UserError("sandwich steps train shared weights, and without a search none are: leave sandwich at 0")
        largest(setup.space, setup.goals, strategy.family(setup))
        return State(setup, setup.weights.optimiser(setup.net), setup.generator(), None)
    kind = type(strategy).__name__
    for name, decision in setup.space.decisions.items():
        if setup.sandwich and not isinstance(decision, Integer):
            raise UserError(f"sandwich steps are for sizes, and decision '{name}' is none: leave sandwich at 0")
        if name in ONE_HOT_DECISIONS and not getattr(strategy, "takes_one_hot", True):
            raise UserError(
                f"{kind} does not search '{name}', of which a network follows one option at a time: "
                "allow one size only, or use nes, tas, fbnetv2, tunas, enas or rsps"
            )
        if isinstance(decision, Subset) and not getattr(strategy, "takes_subsets", True):
            raise UserError(
                f"decision '{name}' is a Subset, and {kind} takes one option of each decision: "
                "use Choice or Integer, or another strategy"
            )
    state = strategy.init(setup)
    check_returned(strategy, "init", isinstance(state, State), "a State", state)
    return state


def _metrics(strategy: OneShot, metrics: Metrics) -> Metrics:
    """Return what a step measured. Raises UserError where that is none."""
    wanted, named = "names with a detached scalar each", isinstance(metrics, Mapping)
    fits = named and all(isinstance(value, Tensor) and value.dim() == 0 for value in metrics.values())
    check_returned(strategy, "step", fits, wanted, metrics)
    return metrics


class Scorer:
    """Score architectures inside the supernet: accuracy, or what else the setup judges by, on one validation batch.

    It is the same for all, so that candidates differ by their own merit only.
    """

    def __init__(self, state: State[Any]) -> None:
        self.setup = state.setup

    @functools.cached_property
    def batch(self) -> Batch:
        """Validation inputs drawn without replacement, not augmented even where the search augments them."""
        singles = self.setup.task.batches("val", 1)
        picks = torch.randperm(len(singles), generator=self.setup.generator())[:SCORE_BATCH].tolist()
        inputs, targets = zip(*(singles[k] for k in picks), strict=True)
        return torch.cat(inputs), torch.cat(targets)

    def __call__(self, arch: Arch) -> float:
        return float(self._judged(arch).score)

    def check(self, arch: Arch) -> None:
        """Raise Diverged unless all shared weights are finite, and the loss of an architecture is."""
        names = [name for name, weight in self.setup.net.named_parameters() if not bool(weight.isfinite().all())]
        loss = float(self._judged(arch).loss)
        if names or not math.isfinite(loss):
            what = f"{names[0]} is no longer finite" if names else f"the loss of the chosen architecture is {loss}"
            raise Diverged(f"{what} after the last step: search again in another folder with a smaller `lr`")

    @torch.no_grad()
    def _judged(self, arch: Arch) -> Loss:
        return (self.setup.judge or self.setup.task).loss(self.setup.net, self.batch, one_hot(self.setup.space, arch))


def _policy_facts(
    strategy: OneShot, state: State[Any], truth: Callable[[Arch], float | None] | None
) -> Mapping[str, Any]:
    """Return the policy as facts: entropy (nats) and mode of each decision, and expected costs in times their limits.

    The truth of the mode is included, unless the policy is uniform: it has no mode then.
    """
    probabilities, space = strategy.probabilities(state), state.setup.space
    named = isinstance(probabilities, Mapping) and all(isinstance(p, Tensor) for p in probabilities.values())
    check_returned(strategy, "probabilities", named, "a tensor for each decision", probabilities)
    several = {name for name, decision in space.decisions.items() if isinstance(decision, Subset)}
    # each option of a subset is a decision of its own: kept or not
    sides = {name: torch.stack([p, 1 - p]) if name in several else p for name, p in probabilities.items()}
    entropy = {name: float(torch.special.entr(p).sum()) for name, p in sides.items()}
    mode = _mode(space, probabilities)
    known = {}
    if truth is not None and any(float(p.max() - p.min()) > 1e-9 for p in probabilities.values()):
        known["truth"] = truth(mode)
    facts: dict[str, Any] = {"entropy": entropy, "likeliest": space.format(mode), **known}
    if state.policy_optimiser:
        facts["policy_lr"] = state.policy_optimiser.param_groups[0]["lr"]
    if goals := state.setup.goals:
        kept = {name: (p > 0.5 if name in several else p >= 0).nonzero()[:, 0] for name, p in probabilities.items()}
        gates = {name: Gate(p, tuple(kept[name].tolist())) for name, p in probabilities.items()}
        facts["costs"] = {goal.name: float(goal.cost(gates)) / goal.limit for goal in goals}
    if sizes := _size_moments(space, probabilities):
        facts["sizes"] = sizes
    return facts


def _mode(space: Space, probabilities: Mapping[str, Tensor]) -> Arch:
    least = {name: 0.5 if isinstance(decision, Subset) else 0.0 for name, decision in space.decisions.items()}
    return space.discretise({name: p.numpy() - least[name] for name, p in probabilities.items()})


def _size_moments(space: Space, probabilities: Mapping[str, Tensor]) -> dict[str, list[float]]:
    """Return mean and standard deviation of every size under the policy."""
    found = {}
    for name, decision in space.decisions.items():
        if isinstance(decision, Integer):
            options, p = torch.tensor(decision.options).double(), probabilities[name].detach().cpu().double()
            mean = float((p * options).sum())
            deviation = float((p * (options - mean) ** 2).sum().clamp(min=0).sqrt())
            found[name] = [round(mean, 3), round(deviation, 3)]
    return found
