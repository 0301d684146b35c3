"""The multi-trial loop: its clock, its workers, its budgets, and going on by replay."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from renascent.core.errors import UserError
from renascent.core.space import Choice, Space
from renascent.loops.replay import recorded
from renascent.loops.run import Run
from renascent.loops.trials import Asked, RealTime, Simulated, Stream, Trial, trials
from renascent.strategies.trials import MULTITRIAL
from renascent.strategies.trials.bohb import BOHB
from renascent.strategies.trials.protocol import Outcome, Proposal
from renascent.strategies.trials.random import RandomSearch
from renascent.strategies.trials.rea import REA

SPACE = Space({f"d{k}": Choice(tuple("vwxyz")) for k in range(4)})


def evaluate(proposal, seed):
    """Return a score and a time that are functions of the architecture and the seed."""
    rng = np.random.default_rng([*proposal.picks, seed])
    return Outcome(float(rng.random()), float(1 + rng.integers(9)))


class Fixed:
    """Proposes what it is told to; knows what it was told, and what was pending when it was asked."""

    def __init__(self, *picks):
        self.picks, self.pending = picks, []

    def init(self, space):
        return ()

    def ask(self, s, rng, pending):
        self.pending.append([p.picks[0] for p in pending])
        return Proposal((self.picks[len(self.pending) - 1], 0, 0, 0))

    def tell(self, s, proposal, outcome):
        return (*s, proposal.picks[0])


def test_workers_go_on_as_soon_as_they_are_free():
    """Trials of 5, 2, 1, 4 seconds on two workers, by hand."""
    took = {0: 5.0, 1: 2.0, 2: 1.0, 3: 4.0}
    strategy = Fixed(0, 1, 2, 3)
    workers = Simulated(lambda p, seed: Outcome(0.0, took[p.picks[0]]), 2)
    done = list(trials(strategy, SPACE, workers, count=4))
    assert [(t.number, t.began, t.ended) for t in done] == [(1, 0, 2), (2, 2, 3), (0, 0, 5), (3, 3, 7)]
    assert strategy.pending == [[], [0], [0], [0]]


def test_a_trial_that_ends_after_the_budget_is_not_there():
    done = list(trials(Fixed(*[0] * 9), SPACE, Simulated(lambda p, seed: Outcome(0.0, 3.0)), seconds=10))
    assert [t.ended for t in done] == [3, 6, 9]
    assert len(list(trials(Fixed(*[0] * 9), SPACE, Simulated(lambda p, seed: Outcome(0.0, 3.0)), seconds=9))) == 3


@pytest.mark.parametrize("name", MULTITRIAL)
@pytest.mark.parametrize("workers", [1, 3])
def test_replay_goes_on_where_it_stopped(name, workers):
    strategy, events = MULTITRIAL[name](), []

    def whole():
        return trials(strategy, SPACE, Simulated(evaluate, workers), count=40, seed=3, asked=events.append)

    for trial in whole():
        events.append(trial)  # noqa: PERF402 (what is asked comes in between)
    done = [event for event in events if isinstance(event, Trial)]
    for cut in (1, 7, len(events) // 2, len(events) - 1):
        history = events[:cut]
        rest = trials(strategy, SPACE, Simulated(evaluate, workers), count=40, seed=3, history=history)
        before = [event for event in history if isinstance(event, Trial)]
        assert before + list(rest) == done


@pytest.mark.parametrize("name", MULTITRIAL)
def test_a_recorded_search_goes_on_after_a_kill(name, tmp_path):
    strategy = MULTITRIAL[name]()

    def search(folder, stop=None):
        run = Run.start(folder, {"strategy": name}, resume=True)
        found = []
        for trial in recorded(run, strategy, SPACE, Simulated(evaluate, 2), count=25, seed=1):
            found.append(trial)
            if len(found) == stop:
                break
        return found

    alone = search(tmp_path / "alone")
    for stop in (1, 9, 24):
        search(tmp_path / "cut", stop)
        with (tmp_path / "cut" / "events.jsonl").open("a") as file:
            file.write('{"event": "asked", "numb')  # the kill came in the middle of a line
    assert search(tmp_path / "cut") == alone


def test_damaged_events_are_said(tmp_path):
    run = Run.start(tmp_path / "run", {})
    run.events_file.write_text('{"event": "trial"}\n')
    with pytest.raises(UserError, match="damaged"):
        list(recorded(run, RandomSearch(), SPACE, Simulated(evaluate), count=1))


def test_trials_infeasible_proposal_is_free_and_uncounted():
    def picky(proposal, seed):
        fine = proposal.picks[0] > 1
        return Outcome(1.0, 2.0) if fine else Outcome(-math.inf, 0.0, {}, feasible=False)

    done = list(trials(REA(population=4), SPACE, Simulated(picky), count=30, seed=0))
    fine = [t for t in done if t.outcome.feasible]
    assert len(fine) == 30 < len(done)
    assert fine[-1].ended == 60


def test_a_strategy_that_never_keeps_the_constraints_is_stopped(monkeypatch):
    monkeypatch.setattr("renascent.loops.trials.PATIENCE", 50)
    never = Simulated(lambda p, seed: Outcome(-math.inf, 0.0, {}, feasible=False))
    with pytest.raises(UserError, match="50 proposals in a row"):
        list(trials(RandomSearch(), SPACE, never, count=1))


def test_real_time_on_a_pool():
    with ThreadPoolExecutor(2) as pool:
        done = list(trials(BOHB(), SPACE, RealTime(evaluate, pool, 2), count=12, seed=0))
    assert len(done) == 12
    assert all(0 <= t.began <= t.ended for t in done)
    assert [t.ended for t in done] == sorted(t.ended for t in done)
    for trial in done:
        assert trial.outcome.score in {evaluate(trial.proposal, seed).score for seed in seeds_of(trial)}


def seeds_of(trial):
    """Return the seed that the loop gave a trial: asking BOHB took some numbers, so all positions are tried."""
    rng = Stream(0).at(trial.number)
    return [int(rng.random() * 2**31) for _ in range(400)]


def test_real_time_goes_on_from_what_earlier_sessions_took():
    history = [
        Asked(0, Proposal((0, 0, 0, 0)), 5, 0.0),
        Trial(0, Proposal((0, 0, 0, 0)), Outcome(1.0, 70.0), 0.0, 100.0),
    ]
    with ThreadPoolExecutor(1) as pool:
        done = list(trials(RandomSearch(), SPACE, RealTime(evaluate, pool, 1), count=3, history=history))
    assert [t.number for t in done] == [1, 2]
    assert all(100 <= t.began <= t.ended < 160 for t in done)
    with ThreadPoolExecutor(1) as pool:
        assert not list(trials(RandomSearch(), SPACE, RealTime(evaluate, pool, 1), seconds=90, history=history))


def test_streams_are_those_of_numpys_own_jumps():
    for seed, number in ((0, 0), (3, 5), (11, 4000)):
        jumped = np.random.Generator(np.random.PCG64(seed).jumped(number))
        assert Stream(seed).at(number).random(5).tolist() == jumped.random(5).tolist()


def test_neighbouring_streams_are_not_alike():
    """Positions a power of two apart would be: the mean of many first numbers is then off by several deviations."""
    stream = Stream(0)
    firsts = np.array([stream.at(number).random(2) for number in range(4000)])
    assert abs(np.corrcoef(firsts[:-1, 0], firsts[1:, 0])[0, 1]) < 4 / math.sqrt(4000)
    assert abs(firsts.mean() - 0.5) < 4 / math.sqrt(12 * 8000)


@pytest.mark.parametrize("answer", [None, (0, 0, 0, 0)])
def test_what_is_no_proposal_is_one_line(answer):
    wrong = type("Wrong", (Fixed,), {"ask": lambda self, *given: answer})()
    with pytest.raises(UserError, match=r"Wrong\.ask has to return a Proposal, and not"):
        next(trials(wrong, SPACE, Simulated(evaluate), count=3))


@pytest.mark.parametrize("method", ["init", "ask", "tell"])
def test_a_strategy_that_fails_is_one_line_that_says_where(method):
    """Its process could send no traceback that says it."""

    def fail(self, *given):
        raise KeyError("two\nlines")

    failing = type("Failing", (Fixed,), {method: fail})(0, 0, 0)
    line = rf"Failing\.{method} fails \(KeyError: .*\), test_trials.py:\d+: mend it"
    with pytest.raises(UserError, match=line) as e:
        next(trials(failing, SPACE, Simulated(evaluate), count=3))
    assert "\n" not in str(e.value)
