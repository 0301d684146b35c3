"""Random architectures to compare with: inside the budget, of all parts of it, and drawn again alike."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from renascent.core.errors import BudgetError, UserError
from renascent.core.protocols import Goal
from renascent.core.space import Choice, Integer, Space
from renascent.costs.budget import Budget
from renascent.experiment.result import Result
from renascent.experiment.search import search
from renascent.loops.fit import Fit
from renascent.nets.sizes.nats_size import NatsSize
from renascent.nets.sizes.resnet_cifar import ResNetCifar
from renascent.nets.sizes.space import SizedSpace
from renascent.reports.summary import summary
from renascent.results.baselines import Baselines, goals_of, sample_feasible
from renascent.results.budgeted import LATENCY_FILE
from renascent.results.facts import Cost
from renascent.strategies.rsps import RSPS
from renascent.tasks.load import load
from renascent.tasks.prepare import ImageOptions

SMALL, DEEP = ResNetCifar(layers_count=8), ResNetCifar(layers_count=14)


@pytest.mark.parametrize(
    ("config", "text"),
    [*((DEEP, text) for text in ("macs<=0.3x", "macs<=0.5x,params<=0.2x")), (NatsSize(), "macs<=0.25x")],
)
def test_they_are_inside_and_use_the_budget(config: SizedSpace, text: str) -> None:
    goals = Budget.parse(text).goals(config, (3, 16, 16), 10)
    rng = np.random.default_rng(1)
    archs = [sample_feasible(config.space, goals, rng) for _ in range(20)]
    rows = np.stack([config.space.indices(arch) for arch in archs])
    usage = np.max([goal.exact(rows) / goal.limit for goal in goals], axis=0)
    assert usage.max() <= 1
    assert usage.min() > 0.9
    assert len(set(archs)) == 20
    again = np.random.default_rng(1)
    assert [sample_feasible(config.space, goals, again) for _ in range(20)] == archs


def test_sample_feasible_keeps_a_feasible_draw() -> None:
    """With a budget that every architecture keeps, samples are uniform."""
    space = Space({"a": Integer((1, 2, 3)), "b": Choice(("x", "y"))})
    flat = Goal("macs", 1.0, lambda gates: gates, lambda rows: np.full(len(rows), 0.5))
    rng = np.random.default_rng(0)
    drawn = [sample_feasible(space, [flat], rng) for _ in range(600)]
    counts = np.bincount([space.index(arch) for arch in drawn], minlength=6)
    assert counts.sum() == 600
    assert np.abs(counts - 100).max() < 4 * np.sqrt(600 * (1 / 6) * (5 / 6))


def test_sample_feasible_infeasible_budget_is_refused() -> None:
    space = Space({"a": Integer((1, 2))})
    goal = Goal("macs", 0.5, lambda gates: gates, lambda rows: rows.sum(1) + 1.0)
    with pytest.raises(BudgetError, match=r"no architecture .* was found with macs<=0.5: give a larger budget"):
        sample_feasible(space, [goal], np.random.default_rng(0))


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    task = load("digits", options=ImageOptions(limit=200))
    folder = tmp_path_factory.mktemp("searched") / "run"
    search(SMALL, RSPS(candidates=2), task, epochs=1, batch=32, budget="macs<=0.3x,params<=0.5x", out=folder)
    return folder


@pytest.fixture
def found(searched: Path, tmp_path: Path) -> Result:
    return Result.load(shutil.copytree(searched, tmp_path / "run"))


def test_the_budget_of_a_search_is_made_again(found: Result) -> None:
    goals = goals_of(found)
    assert {goal.name: goal.limit for goal in goals} == {
        name: cost["limit"] for name, cost in found.facts["costs"].items()
    }
    baselines = Baselines.of(found, 0, 3)
    assert baselines.budget == "macs<=0.3x,params<=0.5x"
    for arch in baselines.archs:
        costs = baselines.costs(arch)
        assert all(costs[goal.name] <= goal.limit for goal in goals)
    assert Baselines.of(found, 0, 3).archs == baselines.archs != Baselines.of(found, 1, 3).archs


def test_fit_trains_them_and_says_so(found: Result) -> None:
    task = load("digits", options=ImageOptions(limit=200))
    found.fit(task, Fit(epochs=1, batch=32), random_cells=2)
    facts = json.loads((found.folder / "fit" / "result.json").read_text())
    assert facts["random_within"] == "macs<=0.3x,params<=0.5x"
    assert [cell["arch"] for cell in facts["random_cells"]] == [
        found.space.space.format(arch) for arch in Baselines.of(found, 0, 2).archs
    ]
    for cell in facts["random_cells"]:
        assert all(cell["costs"][name] <= cost["limit"] for name, cost in found.facts["costs"].items())
    assert "(2 architectures inside the budget, trained identically; the result is" in summary(found)


def test_without_a_budget_they_cost_what_they_will(found: Result) -> None:
    config = json.loads((found.folder / "config.json").read_text())
    del config["budget"]
    (found.folder / "config.json").write_text(json.dumps(config))
    baselines = Baselines.of(found, 5, 4)
    rng = np.random.default_rng([5, 1])
    assert baselines.archs == [found.space.space.sample(rng) for _ in range(4)]
    assert baselines.budget is None
    assert baselines.costs(baselines.archs[0]) == {}


def test_they_differ_from_the_result_and_from_one_another(found: Result) -> None:
    archs = Baselines.of(found, 0, 30).archs
    assert len(archs) == 30 == len({*archs, found.arch}) - 1
    space = Space({"a": Integer((1, 2, 3)), "b": Choice(("x", "y"))})
    one = space.arch({"a": 1, "b": "x"})
    few: Any = SimpleNamespace(space=SimpleNamespace(space=space), arch=one, asked=SimpleNamespace(budget=None))
    assert {*Baselines.of(few, 0, 8).archs} == {*space} - {one}


def timed(found: Result, budget: str, **stored: object) -> None:
    config = json.loads((found.folder / "config.json").read_text())
    (found.folder / "config.json").write_text(json.dumps(config | {"budget": budget}))
    if stored:
        held = {"weights": [0.1, 1e-6, 1e-7, 0.01], "error": 0.05, **stored}
        (found.folder / LATENCY_FILE).write_text(json.dumps(held))


def test_a_latency_fitted_in_the_search_is_read_again(found: Result) -> None:
    timed(found, "latency_ms<=0.5x", reference_ms=3.0)
    (goal,) = goals_of(found)
    assert goal.limit == 1.5
    reference = found.space.space.indices(SMALL.reference)[None]
    assert goal.exact(reference)[0] > 0.1
    timed(found, "latency_ms<=0.5x", weights=3)
    with pytest.raises(UserError, match=r"latency\.json is damaged \(weights is 3, no list\): repeat the search"):
        goals_of(found)


def test_baselines_get_the_measured_latency_limit(found: Result) -> None:
    """What was found takes 3 ms where 4 were predicted: so those of 4 predicted ms are what it competes with."""
    timed(found, "latency_ms<=0.5x", reference_ms=6.0)
    cost = Cost(limit=3.0, promised=4.0, measured=3.0)
    found.about = replace(found.about, costs={"latency_ms": cost})
    assert [goal.limit for goal in goals_of(found)] == [4.0]
    found.about = replace(found.about, costs={"latency_ms": replace(cost, measured=None)})
    assert [goal.limit for goal in goals_of(found)] == [3.0]


def test_a_latency_from_a_table_is_refused_before_a_folder_is_made(found: Result) -> None:
    timed(found, "latency_ms<=8")
    with pytest.raises(UserError, match="does not hold what its budget") as caught:
        found.fit(load("digits", options=ImageOptions(limit=200)), Fit(epochs=1), random_cells=1)
    assert "\n" not in str(caught.value)
    assert not (found.folder / "fit").exists()
    assert Baselines.of(found, 0, 0).archs == []
