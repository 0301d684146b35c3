"""What searches a space where nothing is named, and what is said before it begins."""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import renascent as rn
from renascent.cli.commands import search as command
from renascent.core.files import read_json
from renascent.core.names import name_of
from renascent.core.protocols import Goal
from renascent.core.thin import has_subsets
from renascent.experiment.defaults import SUBSETS, default_strategy, named_default
from renascent.experiment.forecast import (
    CELL_STEPS,
    MOBILE,
    PLAIN,
    STEPS,
    TIMED,
    forecast,
    outlook,
    shrinking,
    trainings,
)
from renascent.nets import SPACES
from renascent.nets.sizes.mobile_v2 import MobileNetV2
from renascent.strategies import STRATEGIES

SHAPE, CLASSES = (1, 8, 8), 10
SMALL, MOBILE_NET = rn.ResNetCifar(layers_count=8), MobileNetV2(small=True, width=0.1, lowest=16)
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


@pytest.mark.parametrize("name", SPACES)
def test_every_space_has_a_default_that_can_search_it_by_name_and_as_an_object(name: str) -> None:
    space = SPACES[name]()
    strategy = default_strategy(space)
    assert (
        name_of(strategy, STRATEGIES)
        == named_default(name, {})
        == command.command([name]).parts["flags"].settings.strategy
    )
    assert getattr(strategy, "takes_subsets", True) or not has_subsets(space.space)


@pytest.mark.parametrize("name", SUBSETS)
def test_a_flag_that_makes_subsets_brings_what_prunes(name: str) -> None:
    flag, value = SUBSETS[name]
    space = SPACES[name](**{flag.removeprefix("--"): value})
    assert has_subsets(space.space)
    assert type(default_strategy(space)) is rn.DSONAS
    assert "dso-nas" in command.command([name, flag, value]).chosen
    assert "gdas" in command.command([name, flag, value, "--strategy", "gdas"]).chosen


def test_what_is_said_was_measured() -> None:
    if not RESULTS.exists():
        pytest.skip("the benchmarks are not installed beside these tests")
    text = (RESULTS / "README.md").read_text()
    for part in ("Sizes under a budget", "Does it pay?", "Topology search", "Cells and chains", "The curve"):
        assert part in text
    rows = [
        row for row in read_json(RESULTS / "2026-11-29-curve-cifar10.json")["rows"] if row["code"] == "as committed"
    ]
    # of seed 0, too, which makes other networks on another processor
    more = read_json(RESULTS / "2026-11-29-curve-cifar10-bf16.json")["rows"]
    rows += [{**row, "seed": 2} for row in more if row["seed"] == 0]
    about = ((PLAIN, "uniform-both"), (MOBILE, "uniform-depth"), (TIMED, "uniform-depth"))
    for measured, how in about:
        network = {"ResNet-20": "resnet20", "MobileNet-V2": "mobilenet-v2"}[measured.of.partition(" ")[0]]
        assert measured.of.endswith(" (three seeds)")
        for case in measured.cases:
            cost = {"the MACs": "macs", "the latency": "latency_ms"}[case.cost]
            for method, trained, told in (("fbnetv2", 5, case.searched), (how, 6, case.scaled)):
                wanted = (network, f"{cost}<={case.share}x", method, trained)
                keys = ("network", "budget", "method", "trained")
                mine = {row["seed"]: row["test"] for row in rows if tuple(row[key] for key in keys) == wanted}
                assert round(100 * statistics.mean(mine[seed] for seed in range(3)), 1) == told
    held = read_json(RESULTS / "2026-11-25-size-search-cost.json")["steps"]["resnet20"]
    sizes = [round(held[name]["ratio"], 2) for name in held]
    assert [STEPS["rsps"].weight, *STEPS["tas"][:2], *STEPS["fbnetv2"][:2]] == [sizes[0], *sizes[3:7]]
    steps, passes = held["NES and TuNAS: weight step / child's step"], held["TuNAS: evaluation / child's forward"]
    assert STEPS["tunas"][:2] == (sizes[0], round(passes["ms"] / steps["plain_ms"], 2))
    held = read_json(RESULTS / "2026-11-24-step-cost.json")["steps"]
    kinds = ("sampled weight", "GDAS architecture", "DARTS weight", "DARTS or SETN architecture")
    sampled, gdas, mixed, logits = (round(held[f"{kind} step"]["ratio"], 2) for kind in kinds)
    second = round(held["DARTS second-order architecture step"]["ratio"], 2)
    assert [CELL_STEPS[name][:2] for name in ("rsps", "gdas", "setn", "darts", "darts-second-order")] == [
        (sampled, 0.0),
        (sampled, gdas),
        (sampled, logits),
        (mixed, logits),
        (mixed, second),
    ]


def test_the_cost_of_a_search_is_that_of_its_steps_times_what_it_draws() -> None:
    exact = rn.cost_of("macs", SMALL, SHAPE, CLASSES).exact
    whole = exact(SMALL.space.indices(SMALL.reference)[None])[0]
    rows = np.random.default_rng(5).integers(0, SMALL.space.counts, size=(1000, len(SMALL.space.counts)))
    share = exact(rows).mean() / whole
    assert trainings(SMALL, "rsps", SHAPE, CLASSES) == pytest.approx(STEPS["rsps"].weight * share, rel=0.06)
    assert trainings(SMALL, "fbnetv2", SHAPE, CLASSES) == pytest.approx(1.02 + 0.74 / 4)
    assert trainings(SMALL, "fbnetv2", SHAPE, CLASSES, 1) == pytest.approx(1.02 + 0.74)
    larger = exact(np.maximum(rows[:500], rows[500:])).mean() / whole
    assert trainings(SMALL, "tas", SHAPE, CLASSES) == pytest.approx((1.22 + 1.07) * larger, rel=0.06)
    assert trainings(SMALL, "tunas", SHAPE, CLASSES) == pytest.approx((1.03 + 0.39) * share, rel=0.06)
    assert trainings(SMALL, "nes", SHAPE, CLASSES) is None
    ends = exact(np.array([[0] * rows.shape[1], np.array(SMALL.space.counts) - 1])).sum() / whole
    told = trainings(SMALL, "fbnetv2", SHAPE, CLASSES, sandwich=3)
    assert told == pytest.approx(1.02 + 0.74 / 4 + 1.03 * (ends + 2 * share), rel=0.06)
    pixels = rn.ResNetCifar(layers_count=8, lowest=4, highest=8)  # one resolution a step
    exact, widest = rn.cost_of("macs", pixels, SHAPE, CLASSES).exact, {**pixels.reference, "resolution": 4}
    images = [exact(pixels.space.indices({**widest, "resolution": size})[None])[0] for size in (4, 8)]
    drawn = trainings(pixels, "fbnetv2", SHAPE, CLASSES)
    assert drawn == pytest.approx((1.02 + 0.74 / 4) * np.mean(images) / images[-1], rel=0.06)
    cells = rn.NatsTopology(channels=4, cells=1)
    assert trainings(cells, "darts", SHAPE, CLASSES) == sum(CELL_STEPS["darts"][:2])
    assert trainings(rn.MBConv(small=True), "darts", SHAPE, CLASSES) is None


@pytest.mark.parametrize(
    ("space", "budget", "expected"),
    [
        (SMALL, "macs<=0.5x", rn.Uniform(depth=True)),
        (SMALL, "macs<=0.5x,params<=0.5x", rn.Uniform(depth=True)),
        (SMALL, None, rn.FBNetV2()),
        (SMALL, "latency_ms<=0.5x", rn.Uniform(depth_first=True)),
        (SMALL, "macs<=0.5x,latency_ms<=0.5x", rn.FBNetV2()),  # not measured
        (rn.ResNetCifar(layers_count=8, depths=False), "latency_ms<=0.5x", rn.FBNetV2()),
        (SMALL, "macs<=0.0001x", rn.FBNetV2()),  # narrower and less deep than anything there is
        (MOBILE_NET, "macs<=0.5x", rn.FBNetV2()),
        (MOBILE_NET, "latency_ms<=0.5x", rn.Uniform(depth_first=True)),
    ],
)
def test_uniform_scaling_shrinks_where_no_search_was_measured_to_do_better(
    space: rn.ResNetCifar, budget: str | None, expected: object
) -> None:
    strategy, why = shrinking(space, budget, SHAPE, CLASSES)
    assert strategy == expected
    assert why.startswith("nothing is searched: measured on") == isinstance(expected, rn.Uniform)
    assert why.endswith("; --strategy fbnetv2 searches") == bool(why)


def test_it_is_said_before_anything_is_trained(tmp_path: Path, without_measuring: None) -> None:
    task, heard = rn.load_task("digits", options=rn.ImageOptions(limit=60)), []
    found = rn.search(SMALL, None, task, epochs=1, batch=16, budget="macs<=0.4x", out=tmp_path / "r", say=heard.append)
    assert found.facts["strategy"] == "fbnetv2"
    assert [event["event"] for event in heard[:3]] == ["feasible", "forecast", "epoch"]
    first, second = heard[1]["text"].splitlines()
    assert first.startswith("fbnetv2 will take 1 step of 16 images; a network drawn evenly has ")
    assert first.endswith("by its measured steps about 1.2 times a training of the reference for as many epochs")
    case = PLAIN.cases[0]
    of = "measured on ResNet-20 (three seeds), test accuracy on CIFAR-10, search beside"
    assert second.startswith(f"{of} widths and depths scaled by one factor, in less time: ")
    assert f"{case.searched:g} % beside {case.scaled:g} % at 25 % of the MACs" in second
    assert second.endswith("; --strategy uniform --depth scales in seconds")
    goals = tuple(
        Goal(name, 1.0, lambda gates: torch.zeros(()), lambda rows: rows.sum(1)) for name in ("macs", "latency_ms")
    )
    assert forecast(SMALL, rn.Uniform(), task, 0, 16, goals) == ""
    parts = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 16, 1), nn.ReLU()
    torch.manual_seed(0)
    net = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
    told = forecast(rn.adapt(net, SHAPE), rn.NES(), task, 3, 16, goals[:1])
    assert "nes will take 3 steps of 16 images; a network drawn evenly has" in told and "by its measured" not in told
    told = told.splitlines()[1]
    mobile = of.replace("ResNet-20", "MobileNet-V2")
    assert told.startswith(f"{mobile} blocks left out, then widths scaled, in")
    assert told.endswith("at 10 % of the MACs; --strategy uniform scales in seconds")  # no block of it can go
    told = outlook(SMALL, "fbnetv2", SHAPE, CLASSES, "latency_ms<=0.5x")[1]
    assert told.endswith("of the latency; --strategy uniform --depth-first scales in seconds")
    # as the baseline is scaled, where what bounds it is known by now
    other = told.replace("--depth-first", "--depth") + " (in another way, which leaves more here)"
    assert forecast(SMALL, rn.NES(), task, 3, 16, goals[1:]).splitlines()[1] == other
    nothing = Goal("macs", -1.0, goals[0].cost, goals[0].exact)
    assert forecast(SMALL, rn.NES(), task, 3, 16, [nothing]).endswith("; nothing that is scaled keeps this budget")
    assert outlook(SMALL, "fbnetv2", SHAPE, CLASSES, "macs<=0.5x")[1] == second
    assert forecast(SMALL, rn.NES(), task, 3, 16, goals).splitlines()[1] == second
