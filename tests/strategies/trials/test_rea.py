"""REA against a trace worked out by hand: whom it draws, who is the parent, what changes, and who dies."""

import numpy as np
import pytest

from renascent.core.errors import UserError
from renascent.core.space import Choice, Space
from renascent.strategies.trials._picks import mutated
from renascent.strategies.trials.protocol import Outcome, Proposal
from renascent.strategies.trials.rea import REA

SPACE = Space({"a": Choice(("x", "y", "z")), "b": Choice(("p", "q"))})


class Scripted:
    """A generator whose numbers are written down."""

    def __init__(self, *numbers: float) -> None:
        self.numbers = list(numbers)

    def random(self, size: int) -> np.ndarray:
        taken, self.numbers = self.numbers[:size], self.numbers[size:]
        return np.array(taken)


def told(strategy, state, *pairs):
    for picks, score in pairs:
        state = strategy.tell(state, Proposal(picks), Outcome(score, 1.0))
    return state


def test_a_trace_by_hand():
    rea = REA(population=3, sample=2)
    state = told(rea, rea.init(SPACE), ((0, 0), 9.0), ((1, 0), 5.0))
    # two members are fewer than three: a random architecture, a = floor(0.5 x 3), b = floor(0.9 x 2)
    assert rea.ask(state, Scripted(0.5, 0.9), []).picks == (1, 1)
    state = told(rea, state, ((1, 1), 7.0))
    # drawn: members floor(0.4 x 3) = 1 and floor(0.99 x 3) = 2; the parent is (1, 1), of 7 points against 5.
    # decision floor(0.2 x 2) = 0 goes from 1 to (1 + 1 + floor(0.6 x 2)) mod 3 = 0
    assert rea.ask(state, Scripted(0.4, 0.99, 0.2, 0.6), []).picks == (0, 1)
    state = told(rea, state, ((0, 1), 1.0))
    # the oldest is gone though it was the best, and the child is in though it is the worst
    assert state.members == (((1, 0), 5.0), ((1, 1), 7.0), ((0, 1), 1.0))
    state = told(rea, state, ((2, 0), 2.0), ((2, 1), 3.0))
    assert [score for _, score in state.members] == [1.0, 2.0, 3.0]


def test_members_under_way_count_as_members_of_the_first_population():
    rea = REA(population=2, sample=1)
    state, under_way = told(rea, rea.init(SPACE), ((0, 0), 1.0)), [Proposal((1, 0))]
    assert rea.ask(state, Scripted(0.0, 0.0, 0.0), under_way).picks == (1, 0)  # a child of (0, 0)
    assert rea.ask(state, Scripted(0.9, 0.9), []).picks == (2, 1)  # still a random one


def test_rea_infeasible_member_is_dropped():
    rea = REA()
    state = rea.init(SPACE)
    assert rea.tell(state, Proposal((0, 0)), Outcome(-np.inf, 0.0, {}, feasible=False)) == state


def test_mutation_reaches_every_neighbour_equally_and_nothing_else():
    rng, seen = np.random.default_rng(0), {}
    for _ in range(3000):
        child = mutated((1, 0, 0), (3, 2, 1), rng)
        seen[child] = seen.get(child, 0) + 1
    assert set(seen) == {(0, 0, 0), (2, 0, 0), (1, 1, 0)}
    assert abs(seen[1, 1, 0] - 1500) < 4 * (3000 * 0.25) ** 0.5
    assert abs(seen[0, 0, 0] - 750) < 4 * (3000 * 0.1875) ** 0.5


@pytest.mark.parametrize("settings", [{"population": 0}, {"sample": 0}])
def test_impossible_settings(settings):
    with pytest.raises(UserError, match="give a number"):
        REA(**settings)


def test_a_space_without_a_choice():
    with pytest.raises(UserError, match="nothing to mutate"):
        REA().init(Space({"a": Choice(("x",))}))
