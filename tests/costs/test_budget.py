"""Bounds as text, and what cannot be kept."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest

from renascent.core.bounds import COSTS, Bound
from renascent.core.errors import BudgetError, UserError
from renascent.core.protocols import Goal
from renascent.costs.budget import Budget, feasibility_text, feasible, keepable, tightened
from renascent.costs.counts import cost_of
from renascent.nets.cells.nats import NatsTopology
from renascent.nets.sizes.mobile_v2 import MobileNetV2
from renascent.nets.sizes.nats_size import NatsSize
from renascent.nets.sizes.resnet_cifar import ResNetCifar
from renascent.nets.toy import ToySpace

SHAPE, CLASSES = (3, 32, 32), 10
TOPOLOGY = NatsTopology(channels=4, cells=1, nodes=3)
SPACES = {
    "sizes": NatsSize(),
    "widths and depths": ResNetCifar(layers_count=14),
    "resolution": MobileNetV2(small=True, width=0.25, lowest=16, highest=32, resolution_step=4),
    "topology": TOPOLOGY,
}


def goals_of(text, config, **about):
    return Budget.parse(text).goals(config, SHAPE, CLASSES, **about)


def never(gates):
    raise AssertionError("feasibility prices architectures, not gates")


# --- text


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("macs<=0.5x", Bound("macs", 0.5, relative=True)),
        ("params <= 2M", Bound("params", 2e6)),
        ("  macs<=1.5G ", Bound("macs", 1.5e9)),
        ("macs<=12k", Bound("macs", 12e3)),
        ("macs<=12K", Bound("macs", 12e3)),
        ("macs<=4.1e7", Bound("macs", 4.1e7)),
        ("macs<=4E7", Bound("macs", 4e7)),
        ("latency_ms<=8", Bound("latency_ms", 8.0)),
        ("latency_ms<=.25x", Bound("latency_ms", 0.25, relative=True)),
        ("memory_access_bytes<=3M", Bound("memory_access_bytes", 3e6)),
        ("activation_bytes<=100", Bound("activation_bytes", 100.0)),
    ],
)
def test_bound_parse_reads_units_and_multiples(text, bound):
    assert Bound.parse(text) == bound


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", r"budget '' cannot be read: write NAME<=NUMBER, as in macs<=0\.5x or params<=2M"),
        ("macs", "budget 'macs' cannot be read: write NAME<=NUMBER"),
        ("macs<0.5x", "cannot be read"),
        ("macs=5", "cannot be read"),
        ("macs>=5", "cannot be read"),
        ("macs<=", "cannot be read"),
        ("macs<=half", "cannot be read"),
        ("macs<=nan", "cannot be read"),
        ("macs<=inf", "cannot be read"),
        ("5<=macs", "cannot be read"),
        ("macs<=1,,params<=2", "budget '' cannot be read"),
        ("macs<=1,", "budget '' cannot be read"),
        ("macs<=..", r"budget 'macs<=\.\.' has no number behind <=: write one, as in macs<=40e6"),
        ("macs<=1-2", "has no number behind <="),
        ("flops<=1G", "unknown cost in the budget 'flops': .*known: macs, params, .*latency_ms"),
        ("mac<=1G", "unknown cost in the budget 'mac': did you mean 'macs'"),
        ("macs<=5ms", "has the unit 'ms': write a plain number, k, M or G behind it, or x"),
        ("macs<=50X", "has the unit 'X'"),
        ("latency_ms<=8ms", r"has the unit 'ms': .*latency_ms is in milliseconds"),
        ("latency_ms<=8M", r"has the unit 'M': .*latency_ms is in milliseconds"),
        ("macs<=0", "budget 'macs<=0' allows nothing: give a finite number above 0"),
        ("macs<=0x", "allows nothing"),
        ("macs<=-3M", "budget 'macs<=-3M' allows nothing: give a finite number above 0"),
        ("macs<=1e999", "budget 'macs<=1e999' bounds nothing: give a finite number above 0"),
        ("macs<=1e308G", "bounds nothing"),
        ("macs<=1,macs<=2", "budget 'macs<=1,macs<=2' bounds macs twice: give each cost once"),
        ("macs<=1,params<=2,macs<=0.5x", "bounds macs twice"),
    ],
)
def test_budget_parse_bad_text_is_one_line(text, says):
    with pytest.raises(UserError, match=says) as refused:
        Budget.parse(text)
    assert "\n" not in str(refused.value)


def test_a_budget_is_written_as_it_is_read():
    for text in ("macs<=0.5x", "macs<=40813184,params<=272474", "latency_ms<=0.123456789", "macs<=1e+15"):
        assert str(Budget.parse(text)) == text
        assert Budget.parse(str(Budget.parse(text))) == Budget.parse(text)
    assert str(Budget.parse(" macs <= 0.5x ,params<=2M")) == "macs<=0.5x,params<=2000000"


def test_budget_timed_only_with_a_latency_bound():
    assert Budget.parse("macs<=1,latency_ms<=2").timed
    assert not Budget.parse("macs<=1").timed


# --- goals


def test_a_multiple_is_of_the_reference_never_of_the_largest():
    config = SPACES["widths and depths"]
    goal, other = goals_of("macs<=0.5x,params<=123", config)
    assert goal.limit == 0.5 * cost_of("macs", config, SHAPE, CLASSES).exact(
        config.space.indices(config.reference)[None]
    )
    assert (other.name, other.limit, other.terms) == ("params", 123.0, None)
    assert goals_of("macs<=100", TOPOLOGY)[0].terms is not None


def test_a_multiple_without_a_reference_is_refused():
    with pytest.raises(UserError, match=r"has no reference network, so macs<=0\.5x means nothing: give a number"):
        goals_of("macs<=0.5x", TOPOLOGY)
    assert TOPOLOGY.reference is None


def test_a_multiple_of_latency_is_of_what_was_measured():
    config = SPACES["sizes"]
    latency = cost_of("params", config, SHAPE, CLASSES)
    (measured,) = goals_of("latency_ms<=0.5x", config, latency=latency, reference_ms=4.0)
    (predicted,) = goals_of("latency_ms<=0.5x", config, latency=latency)
    assert measured.limit == 2.0
    assert predicted.limit == 0.5 * latency.exact(config.space.indices(config.reference)[None])[0]


def test_tightened_changes_one_limit():
    goals = goals_of("macs<=100,params<=200", SPACES["sizes"])
    found = tightened(goals, "params", 0.25)
    assert [goal.limit for goal in found] == [100, 50]
    assert found[0] == goals[0]


# --- feasibility


@pytest.mark.parametrize("name", SPACES)
def test_the_nearest_value_that_a_refusal_names_is_accepted_and_tight(name):
    """For every cost, and limits below the least by a lot and by next to nothing."""
    config, rng = SPACES[name], np.random.default_rng(0)
    for cost in COSTS if name != "topology" else COSTS[:2]:
        (goal,) = goals_of(f"{cost}<=1e15", config)
        (row,) = feasible(config, [goal])
        for share in (*rng.uniform(0.01, 1, size=3), 1 - 1e-9):
            with pytest.raises(BudgetError, match=rf"no architecture of space .* has {cost}<=") as refused:
                feasible(config, [replace(goal, limit=row.smallest * share)])
            nearest = Bound.parse(str(refused.value).partition("the least is ")[2])
            (accepted,) = feasible(config, [replace(goal, limit=nearest.value)])
            assert nearest.name == cost
            assert row.smallest <= accepted.limit <= row.smallest * 1.002


@pytest.mark.parametrize(
    "value", [1.0, 0.1 + 0.2, 999.96, 999.99, 1000.4, 12345.6, 0.012345, 9.9994, 9.9996, 1e6 - 0.2]
)
@pytest.mark.parametrize("cost", ["macs", "latency_ms"])
def test_bound_of_the_least_cost_is_feasible_after_rounding(cost, value):
    """Rounding is up, also just below a unit; a latency has none."""
    config = SPACES["sizes"]

    goal = Goal(cost, value * 0.999, never, lambda rows: np.full(len(rows), value))
    with pytest.raises(BudgetError) as refused:
        feasible(config, [goal])
    bound = Bound.parse(str(refused.value).partition("the least is ")[2])
    assert value <= bound.value <= value * 1.0011


@pytest.mark.parametrize("kind", ["adds", "multiplies"])
def test_bounds_that_cannot_be_kept_together_are_refused_with_the_nearest_that_can(kind):
    """Cheap operations of one kind are dear in the other."""
    config, rng = ToySpace(rows=3), np.random.default_rng(0)
    rows = np.array(list(itertools.product(range(3), repeat=3)))
    for _ in range(10):
        table = rng.uniform(1, 2, size=(3, 3))
        goals = []
        for name, costs in (("macs", table), ("params", 1 / table**2)):
            added = lambda r, costs=costs: 1 + costs[np.arange(3), r].sum(1)  # noqa: E731
            multiplied = lambda r, costs=costs: costs[np.arange(3), r].prod(1)  # noqa: E731
            exact, terms = (added, (1.0, costs)) if kind == "adds" else (multiplied, None)
            goals.append(Goal(name, float(exact(rows).min()), never, exact, terms))
        least = float(np.max([goal.exact(rows) / goal.limit for goal in goals], axis=0).min())
        assert least > 1
        assert not keepable(config, goals)
        with pytest.raises(
            BudgetError, match=r"keeps all bounds together: the nearest is macs<=.*,params<="
        ) as refused:
            feasible(config, goals)
        nearest = Budget.parse(str(refused.value).partition("the nearest is ")[2])
        wider = [replace(g, limit=b.value) for g, b in zip(goals, nearest.bounds, strict=True)]
        feasible(config, wider)
        assert keepable(config, wider)
        if kind == "adds":
            assert max(w.limit / g.limit for w, g in zip(wider, goals, strict=True)) <= least * 1.0011


def test_the_table_shows_the_ends_and_the_reference():
    config = ResNetCifar(layers_count=20)
    rows = feasible(config, goals_of("macs<=0.5x,params<=0.2M", config))
    macs, params = rows
    assert (macs.reference, params.reference) == (40813184.0, 272474.0)
    assert macs.smallest < macs.limit == macs.reference / 2 < macs.largest
    head, *lines = feasibility_text(rows).splitlines()
    assert head.split() == ["budget", "limit", "smallest", "reference", "largest"]
    assert re.fullmatch(r"macs +20,406,592 +\S+ +40,813,184 +\S+", lines[0])
    assert re.fullmatch(r"params +200,000 +\S+ +272,474 +\S+", lines[1])
    alone = feasible(TOPOLOGY, goals_of("macs<=1G", TOPOLOGY))
    assert alone[0].reference is None
    assert feasibility_text(alone).splitlines()[1].split()[3] == "-"


def test_the_ends_are_those_of_enumeration():
    config = TOPOLOGY
    rows = np.array([config.space.indices(arch) for arch in config.space])
    for cost in COSTS[:2]:
        (row,) = feasible(config, goals_of(f"{cost}<=1e15", config))
        prices = cost_of(cost, config, SHAPE, CLASSES).exact(rows)
        assert (row.smallest, row.largest) == (prices.min(), prices.max())
