"""The reference scaled to a budget: the largest network of every way, and how it was scaled."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

import renascent as rn
from renascent.core.nested import uniform_rows
from renascent.core.protocols import Goal
from renascent.core.space import Arch
from renascent.costs.budget import Budget, feasible
from renascent.costs.scaling import scaled, scaled_to
from renascent.nets.cells.nats import NatsTopology
from renascent.nets.sizes.mobile_v2 import MobileNetV2
from renascent.results.uniform import beside_uniform, scaled_parts

SMALL, DEEP = rn.ResNetCifar(layers_count=8), rn.ResNetCifar(layers_count=20)
SHRINKING = MobileNetV2(small=True, width=0.25, lowest=16, highest=32, resolution_step=4)
SHAPE, CLASSES = (1, 8, 8), 10
BUDGET = "macs<=0.3x,params<=0.5x"


def goals_of(text: str, config: Any, shape: tuple[int, int, int] = SHAPE) -> tuple[Goal, ...]:
    return Budget.parse(text).goals(config, shape, CLASSES)


def found_in(config: Any, goals: tuple[Goal, ...], shape: tuple[int, int, int] = SHAPE) -> Arch:
    found = scaled(config, goals, shape, CLASSES)
    assert found is not None
    return found.arch


def by_hand(config: rn.ResNetCifar, goals: tuple[Goal, ...], *, widths: bool = True, depths: bool = False) -> Arch:
    """Return the largest of many factors' networks inside a budget: each size the nearest, equal ones in turn."""
    factors, columns = np.linspace(0, 1, 3001), []
    for name, value in config.reference.items():
        moves = depths if name.startswith("depth") else widths
        wanted = float(str(value)) * (factors if moves else np.ones(3001))
        distance = np.abs(np.array(config.space.options(name)) - wanted[:, None]).round(9)
        columns.append(distance.argmin(1))
    nearest = np.unique(np.stack(columns, axis=1), axis=0)
    between = [
        np.where(np.arange(len(row)) < k, after, row) for row, after in pairwise(nearest) for k in range(len(row))
    ]
    rows = np.stack([*between, nearest[-1]])
    inside = np.all([goal.exact(rows) <= goal.limit for goal in goals], axis=0)
    return config.space.from_indices(rows[np.flatnonzero(inside)[-1]])


@pytest.mark.parametrize("text", ["macs<=0.3x", BUDGET, "params<=0.2x"])
def test_it_is_the_largest_of_all_factors_inside_the_budget(text: str) -> None:
    goals = goals_of(text, SMALL)
    found = found_in(SMALL, goals)
    assert found == by_hand(SMALL, goals)
    held = beside_uniform(SMALL, goals, SHAPE, CLASSES)
    assert held is not None and SMALL.space.parse(held.arch) == found
    assert all(held.costs[goal.name] <= goal.limit for goal in goals)
    assert held.costs["params"] == sum(p.numel() for p in SMALL.network(found, 1, CLASSES).parameters())
    assert scaled_parts(SMALL, found) == "widths"


@pytest.mark.parametrize("share", [0.2, 0.3, 1.0])
def test_depths_are_scaled_with_the_widths_inside_a_counted_budget(share: float) -> None:
    goals = goals_of(f"macs<={share}x", DEEP)
    found = scaled(DEEP, goals, SHAPE, CLASSES)
    assert found is not None and found.way == {"depth": True}
    assert found.arch == by_hand(DEEP, goals, depths=True)
    if share == 1:
        assert found.arch == DEEP.reference and scaled_parts(DEEP, found.arch) == "nothing"
    else:
        assert found.arch != by_hand(DEEP, goals) and scaled_parts(DEEP, found.arch) == "widths and depths"


def a_block(narrow: float, wide: float, limit: float) -> tuple[Goal]:
    """Return a bound on so much a block, of a narrow one and of a wide one."""
    names = list(DEEP.space.decisions)
    depths = [k for k, name in enumerate(names) if name.startswith("depth")]
    widths = [k for k in range(len(names)) if k not in depths]
    most = np.array(DEEP.space.counts)[widths] - 1

    def blocks(rows: Any) -> Any:
        sizes = np.stack([np.array(DEEP.space.options(names[k]))[rows[:, k]] for k in depths])
        return sizes.sum(0) * (narrow + (wide - narrow) * (rows[:, widths] / most).mean(1))

    return (Goal("latency_ms", limit, lambda gates: torch.zeros(()), blocks),)


def test_blocks_go_first_where_that_is_nowhere_smaller() -> None:
    goals = a_block(1.0, 1.01, 6.5)
    found = scaled(DEEP, goals, SHAPE, CLASSES)
    assert found is not None and found.way == {"depth_first": True} and scaled_parts(DEEP, found.arch) == "depths"
    assert found.arch == by_hand(DEEP, goals, widths=False, depths=True)
    narrower = by_hand(DEEP, goals, depths=True)
    assert (DEEP.space.indices(found.arch) >= DEEP.space.indices(narrower)).all() and found.arch != narrower


def test_blocks_go_first_in_a_network_with_depthwise_convolutions() -> None:
    shape, names = (3, 32, 32), list(SHRINKING.space.decisions)
    (goal,) = goals_of("macs<=0.25x", SHRINKING, shape)
    found = scaled(SHRINKING, (goal,), shape, CLASSES)
    rows = uniform_rows(SHRINKING.space, SHRINKING.reference, depth_first=True)
    inside = rows[goal.exact(rows) <= goal.limit]
    assert found == (SHRINKING.space.from_indices(inside[-1]), {"depth_first": True})
    both = uniform_rows(SHRINKING.space, SHRINKING.reference, depth=True)
    both = both[goal.exact(both) <= goal.limit][-1]
    at = [k for k, name in enumerate(names) if name.startswith("depth")]
    assert inside[-1][at].sum() < both[at].sum()


@pytest.mark.parametrize(("limit", "way"), [(6.5, "depth_first"), (8.75, "depth")])
def test_blocks_go_first_where_that_keeps_twice_the_work(limit: float, way: str) -> None:
    """Of blocks that cost up to twice as much when they are wide, a few wide ones do more than some narrow ones."""
    goals = a_block(1.0, 2.0, limit)
    few, both = by_hand(DEEP, goals, widths=False, depths=True), by_hand(DEEP, goals, depths=True)
    work = rn.cost_of("macs", DEEP, SHAPE, CLASSES).exact
    wide, narrow = work(np.stack([DEEP.space.indices(arch) for arch in (few, both)]))
    assert (wide > 2 * narrow) == (way == "depth_first")
    assert (DEEP.space.indices(few) < DEEP.space.indices(both)).any()
    found = scaled(DEEP, goals, SHAPE, CLASSES)
    assert found is not None and found == (few if way == "depth_first" else both, {way: True})


def test_widths_alone_are_scaled_where_a_block_less_leaves_half_of_the_budget() -> None:
    goals = a_block(0.2, 2.0, 2.7)
    alone, both = by_hand(DEEP, goals), by_hand(DEEP, goals, depths=True)
    used = goals[0].exact(np.stack([DEEP.space.indices(arch) for arch in (alone, both)])) / goals[0].limit
    assert used[1] < 0.5 and used[0] > 0.95
    assert scaled(DEEP, goals, SHAPE, CLASSES) == (alone, {})


def test_a_fuller_budget_is_no_reason_to_scale_the_resolution_or_widths_alone() -> None:
    """The demo's network: its widths alone use 98 % of the budget, with depths 76 %, and blocks first 99 %."""
    space, shape = rn.ResNetCifar(layers_count=20, lowest=4, highest=8), (1, 8, 8)
    found = scaled(space, goals_of("macs<=0.1x", space, shape), shape, CLASSES)
    assert found is not None and found.way == {"depth_first": True}
    assert (found.arch["resolution"], found.arch["depth1"], found.arch["stem"]) == (8, 1, 9)


def test_there_is_none_where_nothing_is_inside_or_nothing_is_a_size() -> None:
    assert scaled(DEEP, a_block(1.0, 2.0, -1.0), SHAPE, CLASSES) is None
    assert scaled(NatsTopology(), goals_of("macs<=0.5x", DEEP), SHAPE, CLASSES) is None
    assert scaled(DEEP, (), SHAPE, CLASSES) is None


def test_the_resolution_is_scaled_where_widths_and_depths_cannot_keep_the_budget() -> None:
    shape = (3, 32, 32)
    (goal,) = goals_of("macs<=0.4x", SHRINKING, shape)
    assert found_in(SHRINKING, (goal,), shape)["resolution"] == SHRINKING.reference["resolution"]
    tight = replace(goal, limit=feasible(SHRINKING, [goal])[0].smallest)
    found = scaled(SHRINKING, (tight,), shape, CLASSES)
    assert found is not None and found.way == {"depth": True, "resolution": True}
    assert goal.exact(SHRINKING.space.indices(found.arch)[None])[0] == tight.limit


def test_a_way_names_only_what_is_decided() -> None:
    shallow = rn.ResNetCifar(layers_count=8, depths=False)
    found = scaled(shallow, goals_of("macs<=0.5x", shallow), SHAPE, CLASSES)
    assert found is not None and found.way == {}


def test_a_share_that_is_the_cost_of_a_network_gives_that_network() -> None:
    config = rn.ResNetCifar(layers_count=14)
    cost = rn.cost_of("macs", config, SHAPE, CLASSES)
    goal, whole = Goal("macs", 0.0, cost, cost.exact), cost.exact(config.space.indices(config.reference)[None])[0]
    rows = uniform_rows(config.space, config.reference, depth=True)
    for used in cost.exact(rows)[:-1]:
        (found,) = scaled_to(config, goal, (used / whole,), SHAPE, CLASSES).values()
        assert cost.exact(config.space.indices(found)[None])[0] >= used


def test_shares_are_the_largest_scale_that_fits_once_each() -> None:
    config = rn.ResNetCifar(layers_count=14)
    cost = rn.cost_of("macs", config, SHAPE, CLASSES)
    goal, whole = Goal("macs", 0.0, cost, cost.exact), cost.exact(config.space.indices(config.reference)[None])[0]
    found = scaled_to(config, goal, (1e-6, 0.1, 0.25, 0.5, 0.503), SHAPE, CLASSES)
    assert list(found) == ["0.1x", "0.25x", "0.5x"]  # 0.503x is that of 0.5x, and of the first none is so small
    for name, arch in found.items():
        rows = uniform_rows(config.space, config.reference, depth=True)
        costs = cost.exact(rows)
        used = cost.exact(config.space.indices(arch)[None])[0]
        assert used == costs[costs <= float(name[:-1]) * whole].max()
