"""NES: its update by hand, its schedule, and what conditions and bounds do to it."""

import dataclasses

import numpy as np
import pytest
import torch

from renascent.core.gates import one_hot
from renascent.core.protocols import Goal, Progress
from renascent.strategies._evolution import centred_ranks, floored, gaussian
from renascent.strategies.nes import NES


def rows_of(s, points):
    limits = torch.tensor(s.setup.space.counts) - 1
    return torch.minimum(points.floor().clamp_min(0).long(), limits)


def by_hand(s, batch, noise, rho):
    """Return the loss of each architecture floor(H + n), and whether each decision is active in it."""
    space, losses, active = s.setup.space, [], []
    for row in rows_of(s, s.extra["mean"] + noise).tolist():
        arch = space.from_indices(row)
        with torch.no_grad():
            loss = float(s.setup.task.loss(s.net, batch, one_hot(space, arch)).loss)
        for goal in s.setup.goals:
            loss += rho * (float(goal.exact(space.indices(arch)[None])[0]) / goal.limit - 1) ** 2
        losses.append(loss)
        active.append([name in space.active(arch) for name in space.decisions])
    return torch.tensor(losses, dtype=torch.float64), torch.tensor(active)


@pytest.mark.parametrize("shaped", [False, True])
@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize("budget", [None, 0.5])
def test_an_update_is_equation_seven(sized, shaped, antithetic, budget):
    strategy = NES(rho=3.0, rank_shaping=shaped, antithetic=antithetic)
    held = sized(strategy, budget)
    s, sigma, lr, count = held.state, 0.9, 2.0, 6
    s.rng.manual_seed(4)
    noise = gaussian(count, len(s.extra["mean"]), sigma, s.rng, antithetic=antithetic)
    losses, _ = by_hand(s, held.val, noise, 3.0)
    (base,), _ = by_hand(s, held.val, torch.zeros_like(noise[:1]), 3.0)
    change = centred_ranks(losses) if shaped else losses - base
    step = sum(c * n for c, n in zip(change, noise, strict=True)) / (sigma * count)
    wanted = (s.extra["mean"] - lr * step).clamp(0.5, 7.5)
    s.rng.manual_seed(4)
    strategy._update(s, held.val, sigma, lr, count)
    torch.testing.assert_close(s.extra["mean"], wanted, rtol=1e-9, atol=1e-9)
    assert step.abs().min() > 1e-4


DEEP = {"layers_count": 14, "depths": True}
"""Networks in which some decisions are not active."""


def test_nes_inactive_decision_gets_no_step(sized):
    """A decision that is active in no sample stays exactly where it was."""
    strategy = NES()
    held = sized(strategy, **DEEP)
    s = held.state
    space = s.setup.space
    names = list(space.decisions)
    s.extra["mean"][:3] = 0.5  # depth one, far from two
    before = s.extra["mean"].clone()
    strategy._update(s, held.val, 0.05, 5.0, 8)
    moved = {name for name, a, b in zip(names, before, s.extra["mean"], strict=True) if a != b}
    assert moved
    assert not any(".block2." in name for name in moved)


def test_with_some_depths_sampled_the_noise_of_the_others_counts_as_zero(sized):
    """And a row of two depths has four tenths of the noise and of the steps of a width with eight options."""
    strategy = NES()
    held = sized(strategy, **DEEP)
    s = held.state
    assert s.setup.space.counts == (2, 2, 2, *[8] * 13)
    scales = torch.tensor([0.4] * 3 + [1.0] * 13, dtype=torch.float64)
    s.extra["mean"][:3] = 1.0
    batch, sigma, lr = held.val, 0.5, 1.0
    s.rng.manual_seed(7)
    noise = gaussian(10, len(s.extra["mean"]), sigma, s.rng)
    losses, active = by_hand(s, batch, scales * noise, 1.0)
    (base,), _ = by_hand(s, batch, torch.zeros_like(noise[:1]), 1.0)
    assert active.any(0).all() and not active.all()
    wanted = s.extra["mean"] - scales * lr * ((losses - base)[:, None] * noise * active).sum(0) / (sigma * 10)
    s.rng.manual_seed(7)
    strategy._update(s, batch, sigma, lr, 10)
    torch.testing.assert_close(s.extra["mean"], wanted.clamp(0.5), rtol=1e-9, atol=1e-9)


def test_without_deviation_there_is_no_step_and_the_weights_train_at_the_mean(sized, streams):
    strategy = NES(sigma=0.0, rounds=2)
    held = sized(strategy, 0.5)
    s, data, seen = held.state, streams(held), []
    before = s.extra["mean"].clone()
    s.net.register_forward_hook(lambda m, given, out: seen.append([g.active[0] for g in given[1].values()]))
    for k in range(4):
        assert "val_loss" not in strategy.step(s, data, Progress(k, 4, 4))
    assert torch.equal(s.extra["mean"], before)
    assert data.val.given == 0
    assert seen == [before.floor().long().tolist()] * 4
    assert all(float(p.max()) == 1 for p in strategy.probabilities(s).values())


def test_evaluations_compute_what_they_sampled_and_build_no_graph(watched):
    strategy = NES(rounds=1, updates=1, evaluations=30, work=0)
    held = watched(strategy)
    strategy.step(held.state, held.data, Progress(0, 1, 1))
    (first, *rest) = held.seen
    assert first[2]
    assert not any(graph for _, _, graph in rest)
    assert all(len(option) == 1 for picks, _, _ in held.seen for option in picks)
    assert len(rest) == len({picks for picks, _, _ in rest}) <= 9, "an architecture is evaluated once an update"


@pytest.mark.parametrize(
    ("steps", "strategy", "total"),
    [
        (150_000, NES(), 75 * 20 * 100),
        (75_000, NES(), 75 * 20 * 100),  # ResNet: half the weight steps a round
        (7_500, NES(), 75 * 2 * 100),
        (1_500, NES(), 75 * 40),  # one update of 40
        (12, NES(), 12 * 10),
        (12, NES(work=0, rounds=3), 3 * 20 * 100),
        (1, NES(rounds=5), 10),
        (7, NES(rounds=3, updates=2, evaluations=4, work=0), 3 * 2 * 4),
        (30, NES(rounds=3, evaluations=4, updates=2, work=1), 3 * 2 * 4),
    ],
)
def test_the_schedule_fits_any_length(steps, strategy, total):
    due = [strategy._due(Progress(k, steps, steps)) for k in range(steps)]
    assert sum(updates * evaluations for updates, evaluations in due) == total
    assert sum(updates > 0 for updates, _ in due) == min(strategy.rounds, steps)
    assert due[-1][0] > 0, "the last round ends with the run"


def test_deviation_and_rate_fall_on_a_straight_line(watched, monkeypatch):
    seen = []
    monkeypatch.setattr(NES, "_update", lambda self, s, batch, sigma, lr, count: seen.append((sigma, lr)) or {})
    strategy = NES(sigma=1.0, mean_lr=8.0, rounds=4, updates=1)
    held = watched(strategy)
    data = held.data
    for k in range(8):
        strategy.step(held.state, data, Progress(k, 8, 8))
        assert float(held.state.extra["sigma"]) == pytest.approx(1 - k / 8)
    assert seen == [pytest.approx((left, 8 * left)) for left in (7 / 8, 5 / 8, 3 / 8, 1 / 8)]


def test_one_update_uses_one_batch(watched):
    strategy = NES(rounds=1, updates=3, evaluations=12, work=0)
    held = watched(strategy)
    data = held.data
    strategy.step(held.state, data, Progress(0, 1, 1))
    assert data.val.state_dict() == {"given": 3}


def test_the_mean_stays_among_the_options(sized):
    strategy = NES(rho=0.0)
    held = sized(strategy)
    s = held.state
    for _ in range(4):
        strategy._update(s, held.val, 2.0, 1e4, 4)
        assert ((s.extra["mean"] >= 0.5) & (s.extra["mean"] <= 7.5)).all()
        assert {0.5, 7.5} & set(s.extra["mean"].tolist()), "a step as long as this goes to an end"
    arch = strategy.derive(s, lambda arch: 0.0)
    assert s.setup.space.arch(arch) == arch


def test_it_starts_at_the_start_or_in_the_middle(sized):
    middle = sized(NES()).state
    assert middle.extra["mean"].tolist() == [4.0] * 7
    space = middle.setup.space
    start = space.from_indices([0, 1, 2, 3, 5, 6, 7])
    s = sized(NES(), start=start).state
    assert s.extra["mean"].tolist() == [0.5, 1.5, 2.5, 3.5, 5.5, 6.5, 7.5]
    assert NES().derive(s, lambda arch: 0.0) == start


def test_nes_decisions_absent_from_the_start_begin_in_the_middle(sized):
    s = sized(NES(), **DEEP).state
    space = s.setup.space
    again = NES().init(dataclasses.replace(s.setup, start=space.from_indices([0] * len(space.decisions))))
    means = dict(zip(space.decisions, again.extra["mean"].tolist(), strict=True))
    assert means["stem"] == means["stage1.block1.conv1"] == 0.5
    assert means["stage1.block2.conv1"] == 4.0


def test_probabilities_are_those_of_the_floored_gaussian(sized):
    strategy = NES()
    s = sized(strategy).state
    found = strategy.probabilities(s)
    torch.testing.assert_close(found["stem"], floored(torch.tensor(4.0, dtype=torch.float64), 1.25, 8))
    s.extra["sigma"] = torch.tensor(1e-9, dtype=torch.float64)
    logs = strategy.probabilities(s)["stem"].log()
    assert (logs[4:].diff() < 0).all(), "what is near stays likelier than what is far"


def test_a_decision_of_few_options_is_moved_by_less(sized):
    s = sized(NES(), **DEEP).state
    before = NES().probabilities(s)["depth1"]
    torch.testing.assert_close(before, floored(torch.tensor(1.0, dtype=torch.float64), 0.4 * 1.25, 2))


def test_it_finds_the_wanted_cost_when_that_is_all_that_counts(sized, streams):
    """Every option costs its index: with a heavy penalty the mean goes to where the sum is the limit."""
    strategy = NES(rho=5.0, rounds=30, updates=1, evaluations=12, work=0, mean_lr=0.5)
    held = sized(strategy)
    s = held.state
    goal = Goal("units", 14.0, lambda gates: torch.zeros(()), lambda rows: rows.sum(1).astype(np.float64))
    s.setup = dataclasses.replace(s.setup, goals=(goal,))
    data = streams(held)
    assert sum(s.setup.space.indices(strategy.derive(s, lambda arch: 0.0))) == 28
    for k in range(30):
        metrics = strategy.step(s, data, Progress(k, 30, 30))
    assert 12 <= sum(s.setup.space.indices(strategy.derive(s, lambda arch: 0.0))) <= 16
    assert 12 <= float(metrics["cost_units"]) <= 16


def test_the_paper_setting():
    s = NES()
    assert (s.sigma, s.mean_lr, s.rounds, s.updates, s.evaluations) == (1.25, 5.0, 75, 20, 100)
    assert not s.antithetic and not s.rank_shaping
