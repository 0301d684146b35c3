"""The multi-trial loop: ask, evaluate, tell, against a clock that is simulated or real. It needs no torch."""

import heapq
import math
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from renascent.core.errors import RenascentError, UserError
from renascent.core.outside import check_returned
from renascent.core.space import Space
from renascent.core.text import short
from renascent.strategies.trials.protocol import Evaluator, Outcome, Proposal, Trials

PATIENCE = 10_000
"""Proposals in a row that may break the constraints before the loop gives up."""


class Trial(NamedTuple):
    """One finished trial. number: of its proposal.  began, ended: seconds on the clock."""

    number: int
    proposal: Proposal
    outcome: Outcome
    began: float
    ended: float


class Asked(NamedTuple):
    """One trial under way. number: of its proposal.  seed: of its evaluation.  began: seconds on the clock."""

    number: int
    proposal: Proposal
    seed: int
    began: float


class Workers(Protocol):
    """Where trials run, and the clock. now: seconds."""

    now: float

    def go_on(self, now: float) -> None:
        """Set the clock to where an earlier session left it."""

    def free(self) -> bool:
        """Return whether one more trial can start."""

    def start(self, trial: Asked) -> None:
        """Start a trial, now."""

    def next(self) -> Trial | None:
        """Wait for the trial that ends next, moving the clock to its end; None when none is under way."""


def evaluated(evaluate: Evaluator, proposal: Proposal, seed: int) -> Outcome:
    """Return an evaluator's outcome. Raises UserError, naming it, when it fails, and for what is no outcome."""
    try:
        outcome = evaluate(proposal, seed)
    except RenascentError:
        raise
    except (Exception, SystemExit) as e:
        raise UserError(f"{_named(evaluate)} failed with {type(e).__name__}: {short(str(e))}; mend it") from e
    numbers = isinstance(outcome, Outcome) and all(isinstance(v, int | float | np.number) for v in outcome[:2])
    if not numbers or not 0 <= outcome.seconds < math.inf:
        what = f"an Outcome of a score and of seconds from 0 on, and not {short(outcome)}"
        raise UserError(f"{_named(evaluate)} has to return {what}")
    return outcome


def _named(evaluate: Evaluator) -> str:
    return f"the evaluator {getattr(evaluate, '__qualname__', type(evaluate).__qualname__)}"


class Simulated:
    """Workers whose clock is the sum of what trials say they took: a table's seconds pass in no time.

    evaluate: gives outcomes.  workers: trials under way at a time, each going on as soon as its last one ends.
    """

    def __init__(self, evaluate: Evaluator, workers: int = 1) -> None:
        self.evaluate, self.workers, self.now = evaluate, workers, 0.0
        self.running: list[tuple[float, int, Trial]] = []

    def go_on(self, now: float) -> None:
        self.now = now

    def free(self) -> bool:
        return len(self.running) < self.workers

    def start(self, trial: Asked) -> None:
        outcome = evaluated(self.evaluate, trial.proposal, trial.seed)
        ended = trial.began + outcome.seconds
        heapq.heappush(
            self.running, (ended, trial.number, Trial(trial.number, trial.proposal, outcome, trial.began, ended))
        )

    def next(self) -> Trial | None:
        if not self.running:
            return None
        self.now, _, trial = heapq.heappop(self.running)
        return trial


class RealTime:
    """Workers of a pool, and the clock on the wall.

    evaluate: gives outcomes; a pool of processes pickles it.  workers: trials under way at a time.
    """

    def __init__(self, evaluate: Evaluator, pool: Executor, workers: int) -> None:
        self.evaluate, self.pool, self.workers = evaluate, pool, workers
        self.running: dict[Future[Outcome], Asked] = {}
        self.go_on(0.0)

    def go_on(self, now: float) -> None:
        self.now, self.zero = now, time.monotonic() - now

    def free(self) -> bool:
        return len(self.running) < self.workers

    def start(self, trial: Asked) -> None:
        self.running[self.pool.submit(evaluated, self.evaluate, trial.proposal, trial.seed)] = trial

    def next(self) -> Trial | None:
        if not self.running:
            return None
        done, _ = wait(self.running, return_when=FIRST_COMPLETED)
        future = min(done, key=lambda future: self.running[future].number)
        trial = self.running.pop(future)
        self.now = time.monotonic() - self.zero
        return Trial(trial.number, trial.proposal, future.result(), trial.began, self.now)


JUMP = 0x9E3779B97F4A7C15F39CC0605CEDC835
"""2^128 over the golden ratio, by which PCG64's own `jumped` parts streams; a power of two would correlate them."""


class Stream:
    """Random numbers of every proposal: those of the seed's stream from position number x JUMP on.

    Moving one generator about is several times faster than making one for each proposal.
    """

    def __init__(self, seed: int) -> None:
        self.bits = np.random.PCG64(seed)
        self.rng = np.random.Generator(self.bits)
        self.start = self.bits.state

    def at(self, number: int) -> np.random.Generator:
        """Return the generator, moved to a proposal's numbers; they are good until the next call."""
        self.bits.state = self.start
        self.bits.advance(number * JUMP)
        return self.rng


def trials(
    strategy: Trials[Any],
    space: Space,
    workers: Workers,
    *,
    seconds: float = math.inf,
    count: float = math.inf,
    seed: int = 0,
    history: Sequence[Asked | Trial] = (),
    asked: Callable[[Asked], None] = lambda event: None,
) -> Iterator[Trial]:
    """Yield trials as they end, until `seconds` have passed on the workers' clock, or `count` trials have ended.

    A trial that ends after `seconds` is not yielded. A trial whose architecture breaks a constraint is yielded with an
    outcome that is not feasible; it costs nothing and does not count. The randomness of proposal n depends on seed and
    n alone.
    history: the proposals and outcomes of an earlier session, in order. Outcomes are replayed and unfinished proposals
    started again, so that the search goes on where it stopped.
    asked: hears of every proposal before it starts.
    Raises UserError when the strategy cannot search the space, or proposes nothing that keeps the constraints.
    """
    state, pending, done = _replayed(strategy, space, history)
    number, refused, stream = 1 + max((event.number for event in history), default=-1), 0, Stream(seed)
    workers.go_on(max((event.ended for event in history if isinstance(event, Trial)), default=0.0))
    for waiting in pending.values():
        workers.start(waiting)
    while done < count:
        while workers.free() and workers.now < seconds and done + len(pending) < count:
            rng = stream.at(number)
            proposal = _told(strategy, "ask", state, rng, [event.proposal for event in pending.values()])
            check_returned(strategy, "ask", isinstance(proposal, Proposal), "a Proposal", proposal)
            trial = pending[number] = Asked(number, proposal, int(rng.random() * 2**31), workers.now)
            asked(trial)
            workers.start(trial)
            number += 1
        ended = workers.next()
        if ended is None or ended.ended > seconds:
            return
        del pending[ended.number]
        state = _told(strategy, "tell", state, ended.proposal, ended.outcome)
        done, refused = (done + 1, 0) if ended.outcome.feasible else (done, refused + 1)
        if refused > PATIENCE:
            raise UserError(f"{PATIENCE} proposals in a row break the constraints: loosen them")
        yield ended


def _told(strategy: Trials[Any], method: str, *given: Any) -> Any:
    """Return what a strategy answers. Raises UserError when it fails: its process sends no traceback."""
    try:
        return getattr(strategy, method)(*given)
    except RenascentError:
        raise
    except Exception as e:
        where = traceback.extract_tb(e.__traceback__)[-1]
        place = f"{Path(where.filename).name}:{where.lineno}"
        kind = f"{type(e).__name__}: {short(str(e))}"
        raise UserError(f"{type(strategy).__qualname__}.{method} fails ({kind}), {place}: mend it") from e


def _replayed(
    strategy: Trials[Any], space: Space, history: Sequence[Asked | Trial]
) -> tuple[Any, dict[int, Asked], int]:
    """Return the state after `history`, what had no answer, and how many trials ended."""
    state, pending, done = _told(strategy, "init", space), dict[int, Asked](), 0
    for event in history:
        if isinstance(event, Asked):
            pending[event.number] = event
        else:
            del pending[event.number]
            state = _told(strategy, "tell", state, event.proposal, event.outcome)
            done += event.outcome.feasible
    return state, pending, done
