"""The Pareto front against its definition, and the hypervolume against boxes and cubes."""

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renascent.bench.tables.objectives import hypervolume, pareto
from renascent.core.errors import UserError


def defined(points):
    """Return the front by its definition, pair by pair."""

    def beats(a, b):
        return all(x >= y for x, y in zip(a, b, strict=True)) and any(x > y for x, y in zip(a, b, strict=True))

    return [not any(beats(other, point) for other in points) for point in points]


def boxes(points, reference):
    """Return the volume by inclusion and exclusion over all sets of boxes."""
    total = 0.0
    for size in range(1, len(points) + 1):
        for some in itertools.combinations(points, size):
            sides = [max(0.0, min(p[k] for p in some) - r) for k, r in enumerate(reference)]
            total += (-1) ** (size + 1) * math.prod(sides)
    return total


@given(
    st.integers(1, 4).flatmap(
        lambda d: st.lists(st.lists(st.integers(0, 4), min_size=d, max_size=d), min_size=1, max_size=25)
    )
)
@settings(deadline=None)
def test_front_is_what_nothing_dominates(points):
    assert pareto(points).tolist() == defined(points)


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_no_points_no_front(objectives):
    assert pareto(np.empty((0, objectives))).shape == (0,)
    assert hypervolume(np.empty((0, objectives)), [0.0] * objectives) == 0.0


def test_equal_points_are_on_the_front_together():
    assert pareto([[2, 1], [1, 2], [2, 1], [1, 1]]).tolist() == [True, True, True, False]
    assert pareto([[2, 1, 0], [2, 1, 0], [1, 1, 0]]).tolist() == [True, True, False]


def test_nan_is_on_no_front_and_infinity_is_a_number():
    nan, inf = math.nan, math.inf
    assert pareto([[nan, 9], [1, 1], [2, -inf], [0, 0]]).tolist() == [False, True, True, False]
    assert pareto([[nan, 1]]).tolist() == [False]
    assert hypervolume([[nan, 9], [1, 1], [2, -inf]], [0, 0]) == 1.0


def test_a_whole_benchmark_takes_milliseconds():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(15_625, 2))
    pareto(points)
    began = time.perf_counter()
    front = pareto(points)
    took = time.perf_counter() - began
    began = time.perf_counter()
    slow = np.array([not ((points >= p).all(1) & (points > p).any(1)).any() for p in points[:1000]])
    assert (slow == front[:1000]).all()
    assert took < (time.perf_counter() - began), "all points against one another, for a 15th of them, is slower"


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_boxes_by_inclusion_and_exclusion(objectives):
    rng = np.random.default_rng(objectives)
    for _ in range(10):
        points, reference = rng.normal(size=(7, objectives)), rng.normal(size=objectives) - 1
        assert hypervolume(points, reference) == pytest.approx(boxes(points, reference), abs=1e-12)


@given(st.lists(st.lists(st.integers(0, 5), min_size=3, max_size=3), min_size=1, max_size=8))
@settings(deadline=None)
def test_volume_of_grid_points_is_the_count_of_cubes(points):
    cubes = {c for p in points for c in itertools.product(*(range(n) for n in p))}
    assert hypervolume(points, [0, 0, 0]) == len(cubes)


def test_hypervolume_ignores_points_below_the_reference():
    assert hypervolume([[1, 1], [5, 0], [-1, 9]], [0, 0]) == 1.0
    assert hypervolume([[0, 0]], [0, 0]) == 0.0


@pytest.mark.parametrize("points", [[1, 2], [[[1]]], np.empty((3, 0))])
def test_shape_of_points(points):
    with pytest.raises(UserError, match=r"give \(points, objectives\)"):
        pareto(points)


def test_shape_of_the_reference():
    with pytest.raises(UserError, match=r"reference has shape \(3,\): give one number for each of 2 objectives"):
        hypervolume([[1, 2]], [0, 0, 0])
