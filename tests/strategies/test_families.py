"""Networks without a search: by brute force, no larger one of the same kind is inside the budget."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from renascent.core.errors import BudgetError, UserError
from renascent.core.protocols import Goal, Setup
from renascent.core.space import Integer, Space
from renascent.core.within import largest
from renascent.costs.budget import Budget
from renascent.nets.sizes.mobile_v2 import MobileNetV2
from renascent.nets.sizes.resnet import ResNetImages
from renascent.nets.sizes.resnet_cifar import ResNetCifar
from renascent.strategies.magnitude import Magnitude
from renascent.strategies.uniform import Uniform

SPACES = {
    "resnet": ResNetCifar(layers_count=14, lowest=16, highest=32),
    "wider": ResNetImages(layers_count=18, small=True, width=0.1, lowest=32, highest=32),
    "mobilenet": MobileNetV2(small=True, width=0.1, lowest=16, highest=32, resolution_step=4),
}

BUDGETS = ("macs<=0.31x", "macs<=0.6x,params<=0.4x", "activation_bytes<=0.55x,macs<=0.9x", "params<=1x")


def setup(config, **about):
    return Setup(None, None, config.space, reference=config.reference, **about)  # type: ignore[arg-type]


def near(options, wanted, of=1):
    """Return the option nearest to `wanted` / `of`, the smaller of two that are as near. In whole numbers: exactly."""
    return min(options, key=lambda option: (abs(option * of - wanted), option))


def row_of(space, values):
    return tuple(space.options(name).index(values[name]) for name in space.decisions)


def factored(space, reference, kept, most=850):
    """Return the networks that factors k / 499 of the reference's sizes give, but for those that are kept."""
    return [
        row_of(space, {n: v if n in kept else near(space.options(n), v * k, 499) for n, v in reference.items()})
        for k in range(1, most, 7)
    ]


def check_largest(config, every, rows):
    """Hold what is taken to all networks of its kind: it is inside, and none of them that is inside is larger."""
    space = config.space
    # what is left out has no size
    known = np.stack([space.indices(arch) for arch in {space.from_indices(np.array(row)) for row in set(every)}])
    for budget in BUDGETS:
        goals = Budget.parse(budget).goals(config, (3, 32, 32), 10)
        inside = known[np.all([goal.exact(known) <= goal.limit for goal in goals], axis=0)]
        if not len(inside):
            with pytest.raises(BudgetError, match="no network scaled in this way keeps"):
                largest(space, goals, rows)
            continue
        mine = space.indices(largest(space, goals, rows))
        assert any((row == mine).all() for row in inside), budget
        assert (inside <= mine).all(), budget


@pytest.mark.parametrize(("name", "moved"), [*((name, ()) for name in SPACES), ("mobilenet", ("depth", "resolution"))])
def test_uniform_takes_the_largest_network_that_one_factor_gives(name, moved):
    config = SPACES[name]
    space, reference = config.space, config.reference
    kept = {n for n in space.decisions if n.startswith("depth") or n == "resolution"} if not moved else set()
    every = factored(space, reference, kept)
    rows = Uniform(**dict.fromkeys(moved, True)).family(setup(config))
    assert set(every) <= set(map(tuple, rows.tolist()))
    check_largest(config, [*every, *map(tuple, rows.tolist())], rows)


@pytest.mark.parametrize("resolution", [False, True])
@pytest.mark.parametrize("name", ["resnet", "mobilenet"])
def test_depth_first_takes_the_fewest_blocks_before_it_narrows_any(name, resolution):
    config = SPACES[name]
    space, reference = config.space, config.reference
    depths = [n for n in space.decisions if n.startswith("depth")]
    fewest = {**reference, **{n: space.options(n)[0] for n in depths}}
    narrow = factored(space, fewest, {*depths, *(() if resolution else ("resolution",))}, most=499)
    deep = factored(space, reference, set(space.decisions) - set(depths))
    rows = Uniform(depth_first=True, resolution=resolution).family(setup(config))
    assert {*narrow, *deep} <= set(map(tuple, rows.tolist()))
    assert (np.diff(rows, axis=0).sum(axis=1) == 1).all() and (np.diff(rows, axis=0) >= 0).all()
    assert (rows[-1] == space.indices(reference)).all() or name == "mobilenet"
    check_largest(config, [*narrow, *deep, *map(tuple, rows.tolist())], rows)
    with pytest.raises(UserError, match="decides no depth: leave depth_first out"):
        Uniform(depth_first=True).family(setup(SPACES["wider"]))
    with pytest.raises(UserError, match="give one of them"):
        Uniform(depth_first=True, depth=True).family(setup(config))


@pytest.mark.parametrize("name", SPACES)
def test_uniform_gives_only_what_one_factor_gives_but_for_sizes_in_the_middle_of_two(name):
    config = SPACES[name]
    space, reference = config.space, config.reference
    widths = [n for n in space.decisions if not n.startswith("depth") and n != "resolution"]
    for row in Uniform().family(setup(config)).tolist():
        factors = []
        for width in widths:
            options, k = space.options(width), row[list(space.decisions).index(width)]
            least = Fraction(options[k - 1] + options[k], 2) if k else 0
            most = Fraction(options[k] + options[k + 1], 2) if k + 1 < len(options) else 10**9
            factors.append((least / Fraction(reference[width]), most / Fraction(reference[width])))
        assert max(least for least, _ in factors) <= min(most for _, most in factors), row


def test_sizes_that_round_up_at_one_factor_do_so_one_after_another_and_use_the_budget():
    space = Space({name: Integer((2, 4, 6)) for name in ("first", "second", "third")})
    rows = Uniform().family(Setup(None, None, space, reference=space.arch(dict.fromkeys(space.decisions, 6))))
    assert rows.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1], [2, 1, 1], [2, 2, 1], [2, 2, 2]]
    goal = Goal("macs", 11.0, lambda gates: gates, lambda rows: 2.0 * (1 + rows).sum(1))
    assert list(largest(space, [goal], rows).values()) == [4, 4, 2]


def test_uniform_takes_one_step_after_another():
    rows = Uniform(depth=True, resolution=True).family(setup(SPACES["mobilenet"]))
    assert (np.diff(rows, axis=0) >= 0).all()
    assert (np.diff(rows, axis=0).sum(axis=1) == 1).all()
    assert not rows[0].any()
    assert (rows[-1] == np.array(SPACES["mobilenet"].space.counts) - 1).all()


@pytest.mark.parametrize("name", SPACES)
def test_magnitude_takes_the_largest_network_that_one_threshold_gives(name):
    config, rng = SPACES[name], np.random.default_rng(0)
    space, reference = config.space, config.reference
    widths = [n for n in space.decisions if not n.startswith("depth") and n != "resolution"]
    norms = {n: rng.gamma(2.0, size=reference[n]).round(1) + 0.1 for n in widths}
    strengths = {n: -np.sort(-values / values.mean()) for n, values in norms.items()}
    every = []
    for threshold in [np.inf, *np.unique(np.concatenate(list(strengths.values())))]:
        kept = {n: near(space.options(n), int((strengths[n] >= threshold).sum())) for n in widths}
        every.append(row_of(space, {**reference, **kept}))
    rows = Magnitude().family(setup(config, channels=strengths))
    assert set(every) <= set(map(tuple, rows.tolist()))
    assert (np.diff(rows, axis=0).sum(axis=1) == 1).all()  # no more than the steps between two of these, one by one
    assert set(every) >= {tuple(rows[0]), tuple(rows[-1])}
    assert (rows[-1] == space.indices(reference)).all()
    check_largest(config, [*every, *map(tuple, rows.tolist())], rows)


def test_largest_finds_a_network_behind_dearer_ones():
    """A narrower network can cost more: where its widths differ, a shortcut is a convolution."""
    space = Space({"width": Integer((1, 2, 3, 4))})
    costs = np.array([1.0, 5.0, 2.0, 6.0])
    goal = Goal("macs", 2.0, lambda gates: gates, lambda rows: costs[rows[:, 0]])
    assert largest(space, [goal], np.arange(4)[:, None])["width"] == 3


def test_what_no_member_keeps_is_refused_with_the_nearest():
    config = SPACES["resnet"]
    goals = Budget.parse("macs<=10k,params<=1x").goals(config, (3, 32, 32), 10)
    rows = Uniform().family(setup(config))
    least = int(goals[0].exact(rows[:1])[0])
    with pytest.raises(
        BudgetError, match=r"keeps macs<=10k,params<=\S+: the nearest is macs<=[\d.]+M,params"
    ) as refused:
        largest(config.space, goals, rows)
    assert refused.value.exit_code == 3
    assert least <= 1e6 * float(str(refused.value).partition("nearest is macs<=")[2].partition("M")[0])


def test_what_a_family_lacks_is_refused():
    space = Space({"width": Integer((1, 2))})
    with pytest.raises(UserError, match="has no reference network to be scaled"):
        Uniform().family(Setup(None, None, space))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="ranks the channels of a trained network: give its weights"):
        Magnitude().family(setup(SPACES["resnet"]))
