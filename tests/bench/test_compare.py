"""Comparing strategies: the closed form of random search, pairs, incumbents, and what the figures mean."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from renascent.bench.compare import (
    STEP_SECONDS,
    Contest,
    Runs,
    at_fidelity,
    check,
    compare,
    evaluator,
    incumbents,
    stacked,
    standings,
    step_seconds,
)
from renascent.bench.tables.columns import Column, Problem
from renascent.bench.tables.table import Table
from renascent.core.codecs.nats_topology import topology_space
from renascent.core.errors import UserError
from renascent.loops.trials import Simulated, Trial, trials
from renascent.strategies.trials.bohb import BOHB
from renascent.strategies.trials.protocol import Outcome, Proposal
from renascent.strategies.trials.random import RandomSearch
from renascent.strategies.trials.rea import REA

SPACE = topology_space(3)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Return a made table of 125 cells: results that nearly follow the signal, latency, a curve of four epochs."""
    rng = np.random.default_rng(0)
    archs = np.array(list(np.ndindex(5, 5, 5)))
    worth = 50 + 10 * (archs == 3).sum(1) + rng.standard_normal(125)
    curve = worth[:, None] - np.array([20, 10, 5, 0]) + rng.standard_normal((125, 4))
    columns = {
        Column("val_accuracy", "d", 4, at=(1, 2, 3, 4)): curve,
        Column("test_accuracy", "d", 4): worth + 0.5 * rng.standard_normal(125),
        Column("seconds_per_epoch", "d"): 10 + 5 * rng.random(125),
        Column("latency_ms", device="phone"): 1 + (archs >= 2).sum(1) + rng.random(125),
    }
    problem = Problem("d", "val_accuracy:d:4", "seconds_per_epoch:d", "test_accuracy:d:4")
    table = Table.of("made", SPACE, archs, columns, [problem])
    return str(table.save(tmp_path_factory.mktemp("table") / "made.safetensors"))


def expected_of_random(signal, result, trials):
    """Return the mean result of the best of K random draws: sum_i result_i [(i/N)^K - ((i-1)/N)^K], ties averaged."""
    _, place, count = np.unique(signal, return_inverse=True, return_counts=True)
    mean, share = np.bincount(place, result) / count, np.cumsum(count) / len(signal)
    return float((mean * (share**trials - (share - count / len(signal)) ** trials)).sum())


def test_random_search_has_its_closed_form(path):
    found = compare({"random": RandomSearch()}, [Contest(path, "d", trials=20)], runs=2000)["d"]["random"]
    held = evaluator(Contest(path, "d"))
    signal = np.array([row[0][-1] for row in held.signal])
    error = found.results.std(ddof=1) / math.sqrt(2000)
    assert abs(found.results.mean() - expected_of_random(signal, held.result, 20)) < 3 * error
    assert set(found.trials) == {20}


def test_processes_change_nothing(path):
    strategies, contests = {"rea": REA(), "bohb": BOHB()}, [Contest(path, "d", seconds=3000)]
    one = compare(strategies, contests, runs=60, processes=1)
    two = compare(strategies, contests, runs=60, processes=2)
    for name in strategies:
        for field in dataclasses.fields(Runs):
            assert np.array_equal(
                getattr(one["d"][name], field.name), getattr(two["d"][name], field.name), equal_nan=True
            )


def test_seeds_are_the_same_whatever_else_runs(path):
    contest = Contest(path, "d", trials=15)
    many = compare({"rea": REA()}, [contest], runs=30)["d"]["rea"].results
    few = compare({"random": RandomSearch(), "rea": REA()}, [contest], runs=5, seed=25)["d"]["rea"].results
    assert many[25:].tolist() == few.tolist()


def test_bohb_halves_on_a_table_with_curves(path):
    """Nine in thirteen trainings of the first bracket are short, so that a budget buys more trials."""
    contest = Contest(path, "d", seconds=3000)
    found = compare({"bohb": BOHB(eta=2), "random": RandomSearch()}, [contest], runs=40)["d"]
    assert found["bohb"].trials.mean() > 1.5 * found["random"].trials.mean()
    held = evaluator(contest)
    assert at_fidelity(BOHB(), held) == BOHB(min_epochs=1, max_epochs=4)
    assert at_fidelity(BOHB(min_epochs=2, max_epochs=3), held) == BOHB(min_epochs=2, max_epochs=3)
    shorter, longer = (BOHB(eta=2, max_epochs=epochs) for epochs in (2, 4))
    few, many = (compare({"bohb": it}, [contest], runs=20)["d"]["bohb"].trials.mean() for it in (longer, shorter))
    assert many > 1.3 * few  # of 1 and 2 epochs, not of 1, 2 and 4
    for wrong in (BOHB(max_epochs=5), BOHB(min_epochs=5)):
        with pytest.raises(UserError, match="has them of 1 to 4; give min_epochs and max_epochs inside that"):
            compare({"random": RandomSearch(), "bohb": wrong}, [contest], runs=1)


def test_halving_on_the_table_that_ships():
    """Brackets of 1, 4 and 12 epochs: the best third goes on, a budget buys twice the trials, and that pays."""
    contest = Contest(None, "digits", seconds=30)
    strategies = {"hyperband": BOHB(random_fraction=1.0), "random": RandomSearch()}
    found = compare(strategies, [contest], runs=200)["digits"]
    assert found["hyperband"].trials.mean() > 2 * found["random"].trials.mean()
    gap = found["hyperband"].results - found["random"].results
    assert gap.mean() > 1.5 * gap.std(ddof=1) / math.sqrt(200)
    held = evaluator(contest)
    done = list(trials(BOHB(), held.table.space, Simulated(held), count=40, seed=1))
    first = {t.proposal.note[2]: t for t in done if t.proposal.note[:2] == [0, 0]}
    second = [t.proposal.note[2] for t in done if t.proposal.note[:2] == [0, 1]]
    best = sorted(first, key=lambda slot: -first[slot].outcome.score)[:3]
    assert sorted(best) == sorted(second)
    assert {t.proposal.epochs for t in done} == {1, 4, 12}
    assert all(t.outcome.seconds == t.proposal.epochs * held.seconds[held.row(t.proposal.picks)] for t in done)


def test_the_choice_is_the_best_of_the_longest_trainings(path):
    held = evaluator(Contest(path, "d"))

    def trial(number, row, epochs, score):
        picks = tuple(np.array(np.unravel_index(row, (5, 5, 5))).tolist())
        return Trial(number, Proposal(picks, epochs), Outcome(score, 10.0), 10.0 * number, 10.0 * number + 10)

    told = [(1, 60.0), (1, 50.0), (4, 40.0), (2, 90.0), (4, 41.0)]
    done = [trial(number, 3 + number, *one) for number, one in enumerate(told)]
    ends, rows = incumbents(done, held)
    assert ends.tolist() == [10, 30, 50]
    assert rows.tolist() == [3, 5, 7]


def test_curves_are_the_results_over_time(path):
    contest = Contest(path, "d", seconds=2000)
    found = compare({"random": RandomSearch()}, [contest], runs=10)["d"]["random"]
    assert found.curves.shape == (10, 101)  # a hundred looks, twenty seconds apart
    long = dataclasses.replace(contest, seconds=20_000)
    assert (step_seconds(contest), step_seconds(long)) == (20, STEP_SECONDS)
    assert np.isnan(found.curves[:, 0]).all()
    assert found.curves[:, -1].tolist() == found.results.tolist()


def test_short_runs_go_on_as_they_ended():
    assert stacked([np.array([1.0, 2.0]), np.array([3.0])]).tolist() == [[1, 2], [3, 3]]


def test_constraints_bind_every_result(path):
    contest = Contest(path, "d", trials=20, constraints=("latency_ms:phone<=2",))
    held = evaluator(contest)
    allowed = set(held.result[held.allowed].tolist())
    found = compare({"rea": REA(), "random": RandomSearch()}, [contest], runs=20)["d"]
    assert 0 < held.allowed.sum() < 125
    for runs in found.values():
        assert set(runs.results.tolist()) <= allowed
        assert set(runs.trials) == {20}


def test_objectives_give_a_hypervolume(path):
    contest = Contest(path, "d", trials=30, objectives=("latency_ms:phone",))
    found = compare({"random": RandomSearch()}, [contest], runs=10)["d"]["random"]
    more = compare({"random": RandomSearch()}, [dataclasses.replace(contest, trials=90)], runs=10)["d"]["random"]
    assert ((found.hypervolumes > 0) & (found.hypervolumes <= more.hypervolumes) & (more.hypervolumes <= 1)).all()


def test_a_hypervolume_of_single_seeds_is_at_most_1(tmp_path):
    """The best seed of an architecture is above the best mean."""
    rng = np.random.default_rng(0)
    archs = np.array(list(np.ndindex(5, 5, 5)))
    columns = {
        Column("val_accuracy", "d", 4, seeds=(0, 1, 2)): 50 + 10 * rng.standard_normal((125, 3)),
        Column("seconds_per_epoch", "d"): np.ones(125),
        Column("latency_ms", device="phone"): rng.random(125),
    }
    problem = Problem("d", "val_accuracy:d:4", "seconds_per_epoch:d", "val_accuracy:d:4")
    path = str(Table.of("made", SPACE, archs, columns, [problem]).save(tmp_path / "made.safetensors"))
    contest = Contest(path, "d", trials=400, objectives=("latency_ms:phone",))
    found = compare({"random": RandomSearch()}, [contest], runs=10)["d"]["random"].hypervolumes
    assert ((found > 0.7) & (found <= 1)).all()


@pytest.mark.parametrize(
    ("limits", "words"), [({"seconds": 50}, "50 seconds on d is below one trial"), ({"trials": 0}, "0 trials")]
)
def test_a_budget_below_one_trial(path, limits, words):
    with pytest.raises(UserError, match=words):
        check(Contest(path, "d", **limits))


def test_standings():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal(50) + 90, rng.standard_normal(50) + 90.5
    empty = np.empty((50, 0))
    held = standings(
        {name: Runs(values, np.full(50, 7.0), empty, np.empty(0)) for name, values in (("a", a), ("b", b))}
    )
    test = stats.ttest_rel(a, b)
    assert held["a"]["mean"] == pytest.approx(a.mean())
    assert held["a"]["std"] == pytest.approx(a.std(ddof=1))
    low, high = stats.t.interval(0.95, 49, a.mean(), stats.sem(a))
    assert held["a"]["ci95"] == pytest.approx((high - low) / 2)
    assert held["a"]["paired"]["b"]["p"] == pytest.approx(test.pvalue)
    assert held["a"]["paired"]["b"]["difference"] / held["a"]["paired"]["b"]["standard_error"] == pytest.approx(
        test.statistic
    )
    assert held["a"]["rank"] == pytest.approx(1 + (b > a).mean())
    assert held["a"]["rank"] + held["b"]["rank"] == pytest.approx(3)


def test_standings_of_one_run_claim_nothing():
    one = Runs(np.array([90.0]), np.array([3.0]), np.empty((1, 0)), np.empty(0))
    held = standings({"a": one, "b": one})["a"]
    paired = held["paired"]["b"]
    assert (held["std"], held["ci95"], paired["p"], paired["standard_error"]) == (None, None, None, None)
    assert held["rank"] == 1.5
