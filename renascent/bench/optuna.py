"""Optuna and renascent, both ways: its samplers as strategies here, spaces and tables from here as its objectives.

Needs the extra `renascent[optuna]`.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from renascent.bench.tables.table import Table
from renascent.bench.tabular import Constraint, Tabular
from renascent.core.errors import UserError, missing_extra, unknown
from renascent.core.space import Arch, Choice, Integer, Space
from renascent.strategies.trials.protocol import Outcome, Proposal, option_counts


class SamplerState(NamedTuple):
    """distributions: of each decision's option index, by name.  trials: (picks, score), None where one failed."""

    distributions: dict[str, Any]
    trials: tuple[tuple[tuple[int, ...], float | None], ...] = ()


@dataclass(frozen=True, kw_only=True)
class OptunaSampler:
    """Let a sampler of Optuna propose. A Choice is a category to it, an Integer a whole number.

    Args:
        sampler: a class of optuna.samplers that a seed is enough to make.

    References:
        Akiba, Sano, Yanase, Ohta and Koyama, Optuna: A Next-generation Hyperparameter Optimization Framework, KDD 2019,
        arXiv:1907.10902; and the sampler's own paper.
    """

    sampler: str = "TPESampler"

    def init(self, space: Space) -> SamplerState:
        optuna = _optuna()
        known = [name for name in optuna.samplers.__all__ if name.endswith("Sampler") and not name.startswith("Base")]
        if self.sampler not in known:
            raise unknown("sampler of Optuna", self.sampler, known)
        self._made(0)
        found = optuna.distributions
        kinds = [
            found.IntDistribution(0, count - 1)
            if isinstance(decision, Integer)
            else found.CategoricalDistribution(tuple(range(count)))
            for decision, count in zip(space.decisions.values(), option_counts(space), strict=True)
        ]
        return SamplerState(dict(zip(space.decisions, kinds, strict=True)))

    def ask(self, s: SamplerState, rng: np.random.Generator, pending: Sequence[Proposal]) -> Proposal:
        optuna = _optuna()
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # or it tells of every study
        try:
            # a study of its own for every question, so that asking changes nothing
            study = optuna.create_study(direction="maximize", sampler=self._made(int(rng.integers(2**31))))
            running = [(proposal.picks, None, optuna.trial.TrialState.RUNNING) for proposal in pending]
            states = optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.FAIL
            told = [(picks, score, states[score is None]) for picks, score in s.trials]
            for picks, score, kind in (*told, *running):
                params = dict(zip(s.distributions, picks, strict=True))
                trial = optuna.trial.create_trial(params=params, distributions=s.distributions, value=score, state=kind)
                study.add_trial(trial)
            params = study.ask(s.distributions).params
        finally:
            optuna.logging.set_verbosity(verbosity)
        return Proposal(tuple(int(params[name]) for name in s.distributions))

    def tell(self, s: SamplerState, proposal: Proposal, outcome: Outcome) -> SamplerState:
        score = outcome.score if math.isfinite(outcome.score) else None
        return s._replace(trials=(*s.trials, (proposal.picks, score)))

    def _made(self, seed: int) -> Any:
        try:
            return getattr(_optuna().samplers, self.sampler)(seed=seed)
        except (TypeError, ImportError) as e:
            raise UserError(f"sampler '{self.sampler}' cannot be made of a seed alone ({e}): name another") from None


def suggest(trial: Any, space: Space) -> Arch:
    """Let a trial of Optuna choose an architecture, decision by decision; those that do not matter are not asked for.

    trial: an `optuna.Trial`. Raises UserError for a decision that is neither Choice nor Integer.
    """
    values: dict[str, Any] = {}
    for name, decision in space.decisions.items():
        when = decision.when
        if when and values.get(when[0]) not in when[1]:
            continue
        if not isinstance(decision, Choice | Integer):
            raise UserError(f"decision '{name}' cannot be suggested: give Choices and Integers")
        steps = {b - a for a, b in itertools.pairwise(decision.options)} if isinstance(decision, Integer) else set()
        if len(steps) == 1:
            low, high = decision.options[0], decision.options[-1]
            values[name] = trial.suggest_int(name, low, high, step=steps.pop())
        else:
            values[name] = trial.suggest_categorical(name, decision.options)
    return space.arch(values)


def objective(
    table: Table, problem: str, constraints: Sequence[Constraint] = (), seed: int = 0
) -> Callable[[Any], float]:
    """Return an objective for `study.optimize`, to be maximised: the signal of a table's problem, in %.

    It reports every epoch that the table knows, for pruners, and sets the attributes `arch` (the exchange string) and
    `seconds` (that the training would have taken); a broken constraint prunes the trial at no cost.
    seed: with the trial's number it picks one of the trainings that the table knows.
    Raises UserError for a problem or a column that is not there, BudgetError for a constraint that nothing keeps.
    """
    optuna, found = _optuna(), Tabular(table, problem, constraints)

    def judge(trial: Any) -> float:
        arch = suggest(trial, table.space)
        picks, score = tuple(table.space.indices(arch).tolist()), -math.inf
        trial.set_user_attr("arch", table.space.format(arch))
        chosen = int(np.random.default_rng([seed, trial.number]).integers(2**31))
        for epochs in found.places:
            outcome = found(Proposal(picks, epochs), chosen)
            trial.set_user_attr("seconds", outcome.seconds)
            if not outcome.feasible:
                raise optuna.TrialPruned("the architecture breaks a constraint")
            score = outcome.score
            trial.report(score, epochs)
            if epochs != found.epochs and trial.should_prune():
                raise optuna.TrialPruned
        return score

    return judge


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise missing_extra("optuna", "optuna") from None
    return optuna
