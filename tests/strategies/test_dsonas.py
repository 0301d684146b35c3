"""DSO-NAS: its scale step through the real network against the paper's equations, what is off, and for how long."""

import dataclasses

import numpy as np
import pytest
import torch

from renascent.core.errors import UserError
from renascent.core.gates import Gate
from renascent.core.protocols import Goal, Progress
from renascent.strategies.dsonas import DSONAS


def begun(cell, strategy):
    """Return a search of cells whose scales are in float64, as the network's weights are."""
    held = cell(strategy)
    extra = held.state.extra
    extra |= {"scales": extra["scales"].double(), "speed": extra["speed"].double()}
    return held


def at(cell, strategy, seed=0):
    """Return a search whose scales and momentum are random; most of both is zero."""
    held = begun(cell, strategy)
    s, rng = held.state, torch.Generator().manual_seed(seed)
    shape = s.extra["scales"].shape
    scales, speed = (torch.randn(shape, generator=rng, dtype=torch.float64) for _ in range(2))
    scales *= torch.rand(shape, generator=rng) > 0.6
    speed *= torch.rand(shape, generator=rng) > 0.6
    s.extra |= {"scales": scales * s.extra["open"], "speed": speed * s.extra["open"]}
    return held


def slope_of(s, batch, ahead):
    """Return the gradient of the loss with every option in the sum, whatever its scale."""
    weights = ahead.clone().requires_grad_()
    every = tuple(range(weights.shape[1]))
    gates = {name: Gate(row, every) for name, row in zip(s.space.decisions, weights, strict=True)}
    return torch.autograd.grad(s.setup.task.loss(s.net, batch, gates).loss, weights)[0]


@pytest.mark.parametrize("seed", range(3))
def test_a_scale_step_is_equations_6_to_8(cell, seed):
    strategy = DSONAS(sparsity=0.3, scale_lr=0.05, scale_momentum=0.8)
    held = at(cell, strategy, seed)
    s = held.state
    scales, speed = s.extra["scales"].clone(), s.extra["speed"].clone()
    ahead = scales + 0.8 * speed
    assert bool(((ahead == 0) & s.extra["open"]).any()), "some are to have their gradient by a probe"
    z = ahead - 0.05 * slope_of(s, held.val, ahead)
    wanted = torch.where(z.abs() > 0.05 * 0.3, z - z.sign() * 0.05 * 0.3, torch.zeros_like(z))
    strategy._scale_step(s, held.val)
    mask = s.extra["open"]
    torch.testing.assert_close(s.extra["scales"], wanted * mask, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(s.extra["speed"], (wanted - ahead + 0.8 * speed) * mask, rtol=1e-9, atol=1e-12)


def test_what_is_off_is_not_derived_though_training_looks_ahead_through_it(cell):
    strategy = DSONAS()
    s = begun(cell, strategy).state
    s.extra["scales"] = 0.1 * s.extra["open"].double()
    s.extra["scales"][:, 1] = 0.0
    s.extra["speed"][:, 1] = -9.0
    assert set(strategy.derive(s, None).values()) == {s.space.options("0-1")[2]}
    assert all(float(p[1]) == 0 for p in strategy.probabilities(s).values())


def test_an_edge_at_a_dead_node_never_comes_back_and_another_may(cell):
    strategy = DSONAS(sparsity=1e-6, scale_lr=1e-3)
    held = at(cell, strategy)
    s = held.state
    rows = list(s.space.decisions)
    s.extra["scales"] = s.extra["open"].double()
    s.extra["speed"] = torch.zeros_like(s.extra["scales"])
    s.extra["scales"][rows.index("0-2"), 2] = 0.0  # an operation of an edge between nodes that stay
    s.extra["scales"][rows.index("0-1")] = 1e-12  # so near zero that a step may end on it
    s.extra["sparsity"] = torch.tensor(1.0)
    strategy._price(s)
    s.extra["penalty"] = torch.zeros_like(s.extra["penalty"])
    s.extra["penalty"][rows.index("0-1")] = 1e9
    strategy._scale_step(s, held.val)
    for name in ("0-1", "1-2"):
        row = rows.index(name)
        assert not s.extra["scales"][row].any()
        assert not s.extra["open"][row].any()
    assert s.extra["scales"][rows.index("0-2"), 2] != 0


def test_one_penalty_each_and_a_new_one_only_when_a_support_changes(cell, monkeypatch):
    strategy = DSONAS(sparsity=0.1, scale_lr=0.1, scale_momentum=0.0)
    held = at(cell, strategy)
    s, asked = held.state, []
    factors = np.arange(s.extra["scales"].numel(), dtype=np.float64).reshape(s.extra["scales"].shape) / 100

    def penalties(cost, arch, size):
        asked.append((cost, size))
        return factors

    monkeypatch.setattr(s.net, "penalties", penalties, raising=False)
    s.extra["scales"] = 10.0 * s.extra["open"].double()
    s.extra["speed"] = torch.zeros_like(s.extra["scales"])
    ahead = s.extra["scales"].clone()
    z = ahead - 0.1 * slope_of(s, held.val, ahead)
    strategy._scale_step(s, held.val)
    wanted = (z - 0.1 * 0.1 * torch.from_numpy(factors)) * s.extra["open"]
    torch.testing.assert_close(s.extra["scales"], wanted, rtol=1e-12, atol=1e-12)
    assert asked == [("macs", (8, 8))], "nothing went out"
    strategy._scale_step(s, held.val)
    assert len(asked) == 1
    s.extra["scales"][0, 2] = 1e-9
    s.extra["penalty"][0, 2] = 1e9
    strategy._scale_step(s, held.val)
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("settings", "log"),
    [
        ({"pretrain": 0.5}, "train train train val train val"),
        ({"pretrain": 0.0, "weights_per_scale": 2}, "train train val train train val"),
        ({"pretrain": 0.4, "split": False}, "train train train train train train"),
    ],
)
def test_scales_move_after_pre_training_and_by_their_own_data(cell, streams, settings, log):
    strategy, given = DSONAS(**settings), []
    held = begun(cell, strategy)
    before = held.state.extra["scales"].clone()
    data = streams(held, given)
    for k in range(4):
        strategy.step(held.state, data, Progress(k, 4, 4))
        moved = not torch.equal(before, held.state.extra["scales"])
        assert moved == ("val" in given or len(given) > k + 1)
    assert " ".join(given) == log


def test_the_penalty_follows_a_line_to_the_limit(cell):
    strategy = DSONAS(sparsity=0.01, pretrain=0.5)
    setup, used = cell(strategy).state.setup, [2.0, 2.0, 1.0, 9.0]
    goal = Goal("units", 1.0, lambda gates: None, lambda rows: np.array([used[0]]))
    s, seen = strategy.init(dataclasses.replace(setup, goals=(goal,))), []
    for k in (5, 6, 8, 9):
        strategy._follow(s, Progress(k, 11, 1))
        seen.append(float(s.extra["sparsity"]))
        used.pop(0)
    # wanted: 2, 2 - 1/5, 2 - 3/5, 2 - 4/5
    logs = np.log(0.01) + np.cumsum([0.0, 0.5 * 0.2, 0.5 * -0.4, 0.5 * 7.8])
    np.testing.assert_allclose(np.log(seen), logs, atol=1e-9)
    used[:] = [1e6]
    strategy._follow(s, Progress(9, 11, 1))
    assert float(s.extra["sparsity"]) == pytest.approx(1.0)


def test_where_all_is_cut_it_is_one_line(subsets):
    with pytest.raises(UserError, match="no path from input to output is left: give a smaller `sparsity`"):
        subsets(DSONAS(sparsity=100, pretrain=0.0), epochs=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sparsity": 0}, "sparsity is 0"),
        ({"sparsity": -1.0}, "sparsity is -1"),
        ({"pretrain": 1.0}, "pretrain is 1"),
        ({"pretrain": -0.1}, "pretrain is -0.1"),
        ({"weights_per_scale": 0}, "weights_per_scale is 0"),
        ({"adaptive": "mac"}, "did you mean 'macs'"),
    ],
)
def test_what_makes_no_sense_is_refused(settings, message):
    with pytest.raises(UserError, match=message):
        DSONAS(**settings)
