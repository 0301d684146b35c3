"""A multi-trial search that is written down as it goes, and after a kill goes on by replaying what was written."""

import math
from collections.abc import Iterator
from typing import Any

from renascent.core.errors import UserError
from renascent.core.files import Json, whole_lines
from renascent.core.space import Space
from renascent.loops.run import Run
from renascent.loops.trials import Asked, Trial, Workers, trials
from renascent.strategies.trials.protocol import Outcome, Proposal, Trials


def recorded(
    run: Run,
    strategy: Trials[Any],
    space: Space,
    workers: Workers,
    *,
    seconds: float = math.inf,
    count: float = math.inf,
    seed: int = 0,
) -> Iterator[Trial]:
    """Yield the trials of a search in a run folder: first those of earlier sessions, then new ones as they end.

    Limits and errors as in `loops.trials.trials`. Every proposal and every outcome is a line of events.jsonl; a trial
    that was under way at a kill is run again. If outcomes and their times repeat, an interrupted search has the same
    trials as an uninterrupted one. Raises UserError when the events are damaged.
    """
    try:
        history = [_read(record) for record in whole_lines(run.events_file)]
    except (KeyError, TypeError, ValueError) as e:
        raise UserError(f"{run.events_file} is damaged ({e}): remove its folder and start again") from None
    yield from (event for event in history if isinstance(event, Trial))

    def asked(event: Asked) -> None:
        run.event("asked", number=event.number, proposal=list(event.proposal), seed=event.seed, began=event.began)

    for trial in trials(
        strategy, space, workers, seconds=seconds, count=count, seed=seed, history=history, asked=asked
    ):
        run.event("trial", **_written(trial))
        yield trial


def _written(trial: Trial) -> Json:
    score = trial.outcome.score if math.isfinite(trial.outcome.score) else None  # JSON knows no infinity
    outcome = [score, *trial.outcome[1:]]
    times = {"began": trial.began, "ended": trial.ended}
    return {"number": trial.number, "proposal": list(trial.proposal), "outcome": outcome, **times}


def _read(record: Json) -> Asked | Trial:
    picks, epochs, note = record["proposal"]
    proposal = Proposal(tuple(picks), epochs, note)
    if record["event"] == "asked":
        return Asked(record["number"], proposal, record["seed"], record["began"])
    score, *rest = record["outcome"]
    outcome = Outcome(-math.inf if score is None else score, *rest)
    return Trial(record["number"], proposal, outcome, record["began"], record["ended"])
