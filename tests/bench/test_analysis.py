"""The numbers of a benchmark's anatomy: against scipy, against hand-made tables, and against what is published."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from renascent.bench.analysis import anatomy, correlations, front, kendall, ranks, spearman, views
from renascent.bench.importers import open_table
from renascent.bench.tables.columns import Column, Problem
from renascent.bench.tables.objectives import pareto
from renascent.bench.tables.table import Table
from renascent.core.codecs.nats_topology import topology_space
from renascent.core.errors import UserError

SPACE = topology_space(3, ("none", "skip_connect", "nor_conv_3x3"))
SEEDS, AT = (0, 1, 2), (1, 2, 3, 4)
ROWS = 27

NB201 = Path(os.environ.get("RENASCENT_DATA", "nowhere")) / "nas" / "nb201.npz"
needs_nb201 = pytest.mark.skipif(not NB201.exists(), reason="needs nas/nb201.npz in the folder RENASCENT_DATA")


def built(problems=None):
    """A table as `bench build` makes one: a data set, seeds and a value per epoch."""
    rng = np.random.default_rng(3)
    curves = [rng.uniform(20, 90, size=(ROWS, len(SEEDS), len(AT))) for _ in range(2)]
    columns = {
        Column("val_accuracy", "digits", 4, seeds=SEEDS, at=AT): curves[0],
        Column("test_accuracy", "digits", 4, seeds=SEEDS, at=AT): curves[1],
        Column("seconds_per_epoch", "digits"): np.ones(ROWS),
        Column("params"): rng.integers(100, 10_000, ROWS),
    }
    problem = Problem("digits", "val_accuracy:digits:4", "seconds_per_epoch:digits", "test_accuracy:digits:4")
    rows = [SPACE.indices(arch) for arch in SPACE]
    return Table.of("built", SPACE, rows, columns, [problem] if problems is None else problems)


def plain(nodes=3, **arrays):
    """A table of one number for each row: data set -> results, and `signal_...` where it differs."""
    columns, problems = {Column("seconds_per_epoch"): np.ones(len(next(iter(arrays.values()))))}, []
    for name, values in arrays.items():
        columns[Column("test_accuracy", name, 2)] = np.asarray(values, dtype=float)
        columns[Column("val_accuracy", name, 1)] = np.asarray(values, dtype=float)[::-1].copy()
        problems.append(Problem(name, f"val_accuracy:{name}:1", "seconds_per_epoch", f"test_accuracy:{name}:2"))
    count = len(next(iter(arrays.values())))
    space = topology_space(nodes)
    return Table.of("plain", space, [space.indices(space.at(k)) for k in range(count)], columns, problems)


def test_a_constant_column_correlates_with_nothing():
    values = np.array([[1.0, 5.0, 3.0], [2.0, 5.0, 1.0], [3.0, 5.0, 2.0]])
    for found in (spearman(values), kendall(values)):
        assert np.isnan(found[1]).all() and np.isnan(found[:, 1]).all()
        assert found[0, 0] == 1.0
        assert np.isfinite(found[0, 2])


def test_ranks_count_from_the_best():
    assert ranks([3.0, 9.0, 9.0, 1.0]).tolist() == [3, 1, 2, 4]


def test_facts_of_a_built_table():
    table = built()
    (view,) = views(table)
    facts = anatomy(table, [view])
    told = facts["problems"]["digits"]
    trainings = table.array("test_accuracy:digits:4")[..., -1]
    means = trainings.mean(1)
    assert (told["rows"], told["missing"]) == (ROWS, 0)
    assert told["mean"] == pytest.approx(means.mean())
    assert told["std"] == pytest.approx(means.std(ddof=1))
    assert told["seed_std"] == pytest.approx(math.sqrt(trainings.var(1, ddof=1).mean()))
    assert told["best"]["row"] == means.argmax()
    assert told["best"]["arch"] == table.space.format(table.arch(int(means.argmax())))
    assert told["best"]["params"] == table.array("params")[means.argmax()]
    signal = table.array("val_accuracy:digits:4")[..., -1].mean(1)
    assert told["signal"]["best"]["row"] == signal.argmax()
    assert told["signal"]["best"]["accuracy"] == pytest.approx(means[signal.argmax()])
    assert told["signal"]["below_best"] == pytest.approx(means.max() - means[signal.argmax()])
    assert told["signal"]["spearman"] == pytest.approx(spearmanr(signal, means).statistic)
    assert told["validation"]["kendall"] == pytest.approx(kendalltau(signal, means).statistic)
    assert facts["ranking"] == []
    assert facts["notes"] == [
        "digits: the table has no column of macs, so accuracy is not set against it.",
        "digits is the only data set, so there is no ranking across data sets.",
    ]
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts


def test_front_is_cheapest_first_and_of_what_is_known():
    table = built()
    (view,) = views(table)
    rows = front(view, "params")
    points = np.stack([-view.costs["params"], view.result], 1)
    assert sorted(rows) == np.flatnonzero(pareto(points)).tolist()
    costs, results = view.costs["params"][rows], view.result[rows]
    assert (np.diff(costs) >= 0).all() and (np.diff(results) >= 0).all()
    view.result[rows[0]] = np.nan
    assert rows[0] not in front(view, "params")


def test_rows_without_a_number_are_left_out_and_counted():
    results = np.linspace(10, 90, 60)
    results[[4, 7]] = np.nan
    table = plain(a=results, b=np.linspace(90, 10, 60))
    seen = views(table)
    facts = anatomy(table, seen)
    assert (facts["problems"]["a"]["rows"], facts["problems"]["a"]["missing"]) == (58, 2)
    assert facts["problems"]["b"]["missing"] == 0
    # the signals are the results turned round: rows 4, 7 and their mirror images lack something
    assert facts["correlations"]["missing"] == 4
    assert facts["problems"]["a"]["signal"]["missing"] == 4
    assert "a: 2 of 60 architectures have no result and are left out." in facts["notes"]
    assert [told["ranks"] for told in facts["ranking"]] == [{"a": 1, "b": 58}, {"a": 58, "b": 1}]


def test_top_slices_are_the_best_by_the_first_data_set_and_large_enough():
    rng = np.random.default_rng(0)
    values = [rng.normal(50, 10, 125), rng.normal(50, 10, 125)]
    found = correlations(views(plain(a=values[0], b=values[1])))
    assert found["names"] == ["a result", "b result", "a signal", "b signal"]
    assert [(part["top_percent"], part["rows"]) for part in found["slices"]] == [(100, 125)]
    assert found["left_out"] == [{"top_percent": p, "rows": n} for p, n in ((10, 12), (5, 6), (1, 1))]
    assert found["slices"][0]["spearman"][0][1] == pytest.approx(spearmanr(*values).statistic)
    values = [rng.normal(50, 10, 400), rng.normal(50, 10, 400)]
    found = correlations(views(plain(nodes=4, a=values[0], b=values[1])))
    assert [(part["top_percent"], part["rows"]) for part in found["slices"]] == [(100, 400), (10, 40), (5, 20)]
    best = np.argsort(-values[0])[:20]
    assert found["by"] == "a result"
    assert found["slices"][2]["kendall"][0][1] == pytest.approx(kendalltau(values[0][best], values[1][best]).statistic)


def test_ties_for_the_best_signal_are_averaged():
    columns = {
        Column("val_accuracy", "d", 1): np.array([70.0, 90.0, 90.0, 10.0]),
        Column("test_accuracy", "d", 1): np.array([60.0, 80.0, 90.0, 95.0]),
        Column("seconds_per_epoch"): np.ones(4),
    }
    space = topology_space(3)
    problem = Problem("d", "val_accuracy:d:1", "seconds_per_epoch", "test_accuracy:d:1")
    table = Table.of("ties", space, [space.indices(space.at(k)) for k in range(4)], columns, [problem])
    told = anatomy(table, views(table))["problems"]["d"]
    assert (told["signal"]["ties"], told["signal"]["best"]["accuracy"]) == (2, 85.0)
    assert told["signal"]["below_best"] == 10.0
    assert told["signal"]["spearman"] is None, "four architectures say too little"
    assert told["pareto"] == {}


def test_a_problem_of_which_nothing_is_known_is_left_out():
    table = plain(a=np.full(30, np.nan), b=np.arange(30.0))
    seen = views(table)
    assert [view.name for view in seen] == ["b"]
    assert "a is left out: no result is known." in anatomy(table, seen)["notes"]


@pytest.mark.parametrize("problems", [[], None])
def test_nothing_to_analyse(problems):
    table = plain(a=np.full(5, np.nan)) if problems is None else built(problems=problems)
    with pytest.raises(UserError, match="poses no problem with a known result: nothing to analyse"):
        views(table)


@needs_nb201
def test_analysis_matches_published_nas_bench_201_numbers():
    table = open_table(NB201)
    facts = anatomy(table, views(table))
    told = facts["problems"]
    assert list(told) == ["cifar10", "cifar100", "imagenet16-120"]
    assert [round(p["best"]["accuracy"], 2) for p in told.values()] == [94.37, 73.51, 47.31]
    assert [p["best"]["row"] for p in told.values()] == [6111, 9930, 857]
    assert [round(p["signal"]["spearman"], 3) for p in told.values()] == [0.772, 0.825, 0.818]
    assert told["cifar10"]["validation"]["best"]["value"] == pytest.approx(91.607, abs=1e-3)
    assert told["cifar10"]["columns"]["validation"] == "val_accuracy:cifar10-valid:200"
    assert facts["notes"] == []
    part = facts["correlations"]["slices"][2]
    assert (part["top_percent"], part["rows"]) == (5, 781)
    results = [np.asarray(table.values(f"test_accuracy:{name}:200"), dtype=float) for name in told]
    best = np.argsort(-results[0], kind="stable")[:781]
    for i in range(3):
        for j in range(3):
            expected = spearmanr(results[i][best], results[j][best]).statistic
            assert part["spearman"][i][j] == pytest.approx(expected, abs=1e-9)
