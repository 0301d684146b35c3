"""BOHB: its densities and its schedule against computations of their own, and nothing trained twice."""

import itertools
import statistics

import numpy as np
import pytest

from renascent.core.errors import UserError
from renascent.core.space import Choice, Integer, Space
from renascent.loops.trials import Simulated, trials
from renascent.strategies.trials._halving import promoted, rungs
from renascent.strategies.trials._kde import Density, fitted
from renascent.strategies.trials.bohb import BOHB
from renascent.strategies.trials.protocol import Outcome, Proposal

SPACE = Space({"a": Choice(tuple("uvwxy")), "b": Choice(("p", "q")), "c": Integer((8, 16, 24))})
COUNTS = (5, 2, 3)


# --- the model


def by_hand(data, counts, least, point):
    """Return the density at one point: a mean over the data of products, in plain loops."""
    n, d = len(data), len(counts)
    widths = []
    for k, count in enumerate(counts):
        rule = 1.06 * statistics.pstdev(row[k] for row in data) * n ** (-1 / (4 + d))
        widths.append(min(max(rule, least), (count - 1) / count))
    total = 0.0
    for row in data:
        product = 1.0
        for k, count in enumerate(counts):
            product *= 1 - widths[k] if row[k] == point[k] else widths[k] / (count - 1)
        total += product
    return total / n


def test_the_density_is_that_of_plain_loops():
    rng = np.random.default_rng(0)
    for n in (4, 9, 40):
        data = [tuple(int(rng.integers(c)) for c in COUNTS) for _ in range(n)]
        density = fitted(np.array(data), np.array(COUNTS), 0.3)
        points = list(itertools.product(*map(range, COUNTS)))
        ours = density(np.array(points))
        assert ours == pytest.approx([by_hand(data, COUNTS, 0.3, point) for point in points], rel=1e-12)
        assert ours.sum() == pytest.approx(1)  # a distribution over the whole space


def test_good_and_bad_share_out_the_answers_of_the_longest_training():
    """Eqs 2 and 3: the best max(d + 1, 15 %), and the worst max(d + 1, the others); none of both below d + 3."""
    bohb = BOHB(min_epochs=1, max_epochs=3, eta=3)
    state = bohb.init(SPACE)
    rng = np.random.default_rng(1)
    for n in range(1, 41):
        picks = tuple(int(rng.integers(c)) for c in COUNTS)
        state = bohb.tell(state, Proposal(picks, 1, [1000 + n, 0, 0]), Outcome(float(n % 7), 1.0))
        models = bohb.models(state)
        assert (models is None) == (n < 6)
        if models:
            first = max(4, int(0.15 * n))
            assert (len(models[0].data), len(models[1].data)) == (first, max(4, n - first))
    best = {tuple(row) for row in models[0].data.tolist()}
    seen = state.seen[1]
    assert list(seen.scores) == sorted(seen.scores)
    assert best == {tuple(row) for row in seen.codes[:6].tolist()}
    # six answers after three epochs count more than forty after one
    for n in range(6):
        state = bohb.tell(state, Proposal((n % 5, 0, 0), 3, [2000 + n, 0, 0]), Outcome(1.0, 1.0))
    assert len(bohb.models(state)[0].data) == 4


def test_proposals_have_the_best_ratio_of_what_was_drawn():
    bohb = BOHB(samples=6)
    state = bohb.init(SPACE)
    rng = np.random.default_rng(2)
    for n in range(30):
        picks = tuple(int(rng.integers(c)) for c in COUNTS)
        state = bohb.tell(state, Proposal(picks, 1, [500 + n, 0, 0]), Outcome(-float(picks[0]), 1.0))
    good, bad = bohb.models(state)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        rng.random()  # whether to be random at all
        candidates = [tuple(row) for row in bohb.drawn(good, rng).tolist()]
        ratio = [
            by_hand(good.data.tolist(), COUNTS, 0.3, c) / by_hand(bad.data.tolist(), COUNTS, 0.3, c) for c in candidates
        ]
        asked = bohb.ask(state, np.random.default_rng(seed), [])
        assert asked.picks == candidates[int(np.argmax(ratio))]


def test_candidates_are_drawn_from_the_widened_density():
    density = Density(np.array([[1, 0, 2]]), np.array([0.1, 0.05, 0.4]), np.array(COUNTS))
    bohb, rng = BOHB(samples=20_000, bandwidth_factor=3.0), np.random.default_rng(3)
    drawn = bohb.drawn(density, rng)
    for k, (centre, width, count) in enumerate(zip((1, 0, 2), (0.3, 0.15, 2 / 3), COUNTS, strict=True)):
        shares = np.bincount(drawn[:, k], minlength=count) / len(drawn)
        expected = np.where(np.arange(count) == centre, 1 - width, width / (count - 1))
        assert shares == pytest.approx(expected, abs=0.015)


# --- the schedule


def test_the_schedule_is_hyperbands():
    """R = 81, eta = 3: arXiv:1603.06560, Algorithm 1, worked out by hand."""
    brackets = [[(r.size, r.epochs) for r in rungs(k, 3, 1, 81)] for k in range(6)]
    assert brackets[0] == [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)]
    assert brackets[1] == [(34, 3), (11, 9), (3, 27), (1, 81)]
    assert brackets[2] == [(15, 9), (5, 27), (1, 81)]
    assert brackets[3] == [(8, 27), (2, 81)]
    assert brackets[4] == [(5, 81)]
    assert brackets[5] == brackets[0]


def test_equals_are_promoted_in_their_order():
    assert promoted({3: ((0,), 1.0), 0: ((1,), 1.0), 2: ((2,), 2.0)}, 2) == [2, 0]


@pytest.mark.parametrize("workers", [1, 4, 13])
def test_nothing_is_trained_twice_and_only_the_best_go_on(workers):
    """Also while answers are out, and come back in another order than they were asked for."""
    bohb = BOHB(min_epochs=1, max_epochs=9, eta=3)

    def evaluate(proposal, seed):
        rng = np.random.default_rng([*proposal.picks, proposal.epochs])
        return Outcome(float(rng.random()), float(proposal.epochs * (1 + rng.random())))

    done = list(trials(bohb, SPACE, Simulated(evaluate, workers), count=150, seed=5))
    places = [tuple(t.proposal.note) for t in done]
    assert len(set(places)) == len(places) == 150
    held = dict(zip(places, done, strict=True))
    for (bracket, rung, slot), trial in held.items():
        plan = rungs(bracket, 3, 1, 9)
        assert trial.proposal.epochs == plan[rung].epochs
        if rung == 0:
            assert slot < plan[0].size
            continue
        below = {p: t for p, t in held.items() if p[:2] == (bracket, rung - 1)}
        assert len(below) == plan[rung - 1].size
        assert all(t.ended <= trial.began for t in below.values())
        better = [p for p, t in below.items() if t.outcome.score > below[bracket, rung - 1, slot].outcome.score]
        assert len(better) < plan[rung].size
        assert trial.proposal.picks == below[bracket, rung - 1, slot].proposal.picks
    if workers == 1:
        assert [rung for _, rung, _ in places[:13]] == [0] * 9 + [1] * 3 + [2]


def test_a_worker_never_waits():
    bohb = BOHB(min_epochs=1, max_epochs=9, eta=3)
    state = bohb.init(SPACE)
    pending = []
    for n in range(30):
        pending.append(bohb.ask(state, np.random.default_rng(n), pending))
    assert len({tuple(p.note) for p in pending}) == 30
    assert {p.note[0] for p in pending} == {0, 1, 2, 3, 4}  # 9 + 5 + 3, and so on


def test_impossible_settings():
    with pytest.raises(UserError, match="at most max_epochs"):
        BOHB(min_epochs=13)
    with pytest.raises(UserError, match="good is 2"):
        BOHB(good=2)
