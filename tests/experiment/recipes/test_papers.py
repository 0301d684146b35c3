"""The numbers of the papers, written down a second time."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from renascent.core.errors import UserError
from renascent.core.protocols import Progress, WeightRule
from renascent.experiment.recipes import RECIPES, SUMMARIES
from renascent.experiment.recipes.recipe import SearchPart
from renascent.loops.fit import Fit, fit
from renascent.loops.run import Run, read_events
from renascent.nets import SPACES
from renascent.nets.cells.darts import DartsCells
from renascent.nets.cells.mbconv import MBConv
from renascent.nets.cells.nats import NatsTopology
from renascent.nets.cells.pyramid import PyramidTree
from renascent.nets.sizes.nats_size import NatsSize
from renascent.nets.sizes.resnet_cifar import ResNetCifar
from renascent.strategies import STRATEGIES
from renascent.strategies.darts import DARTS, DARTSSecondOrder
from renascent.strategies.enas import ENAS
from renascent.strategies.fbnetv2 import FBNetV2
from renascent.strategies.gdas import GDAS
from renascent.strategies.nes import NES
from renascent.strategies.proxyless import Proxyless
from renascent.strategies.proxyless_reinforce import ProxylessReinforce
from renascent.strategies.rsps import RSPS
from renascent.strategies.setn import SETN
from renascent.strategies.tas import TAS
from renascent.strategies.tunas import TuNAS
from renascent.tasks import DATASETS
from renascent.tasks.distill import Distillation, Distilled
from renascent.tasks.load import load
from renascent.tasks.prepare import ImageOptions

IMAGENET = 1_281_167
"""Training images, of 1000 classes."""

LOGITS = {"arch_lr": 3e-4, "arch_weight_decay": 1e-3}
TEMPERATURE = {"tau_start": 10.0, "tau_end": 0.1}
CONTROLLER = {"controller_lr": 1e-3, "controller_steps": 50, "controller_samples": 20, "hidden": 32, "layers": 2}
REWARD = {"entropy_weight": 1e-4, "baseline_decay": 0.99, "tanh_constant": 2.5, "temperature": 5.0, "clip": 5.0}

EXPECTED = {
    "nats-topology-rsps": RSPS(candidates=100),
    "nats-topology-darts": DARTS(**LOGITS),
    "nats-topology-darts-second-order": DARTSSecondOrder(**LOGITS),
    "nats-topology-gdas": GDAS(**LOGITS, **TEMPERATURE),
    "nats-topology-setn": SETN(**LOGITS, candidates=100),
    "nats-topology-enas": ENAS(**CONTROLLER, **REWARD, candidates=100),
    "nats-size-tas": TAS(**LOGITS, samples=2),
    "nats-size-fbnetv2": FBNetV2(**LOGITS, **TEMPERATURE, arch_every=1, policy_warmup=0.0),
    "nats-size-tunas": TuNAS(arch_lr=3e-4, arch_lr_growth=1.0, filter_warmup=0.0, policy_warmup=0.0),
    "nats-size-tunas-warmup": TuNAS(arch_lr=3e-4, arch_lr_growth=1.0, filter_warmup=0.25, policy_warmup=0.25),
}
"""The searches of NATS-Bench."""


def rule(decay: float) -> WeightRule:
    return WeightRule(lr=0.1, lr_end=0.0, momentum=0.9, nesterov=True, weight_decay=decay, clip=0.0)


def search_of(name: str) -> SearchPart:
    part = RECIPES[name].search
    assert part is not None
    return part


def test_table_names_its_recipes() -> None:
    for name, recipe in RECIPES.items():
        kind, about, paper = SUMMARIES[name]
        assert (recipe.name, recipe.summary, recipe.paper) == (name, about, paper)
        assert (recipe.search is None, recipe.fit is None) == (kind == "fit", kind == "search")


def test_every_strategy_has_its_search() -> None:
    searches = [recipe.search for recipe in RECIPES.values() if recipe.search is not None]
    assert {type(part.strategy) for part in searches} == set(STRATEGIES.values())


@pytest.mark.parametrize("name", EXPECTED)
def test_search_is_that_of_nats_bench(name: str) -> None:
    part, cells = search_of(name), "topology" in name
    assert part.strategy == EXPECTED[name]
    assert part.space == (NatsTopology(channels=16, cells=5, nodes=4) if cells else NatsSize())
    options = ImageOptions(split="official", augment_val=not name.endswith("enas"))
    assert (part.data, part.options, part.epochs, part.batch) == ("cifar10", options, 100, 64)
    clip = 5.0 if cells else 0.0
    assert part.weights == WeightRule(lr=0.025, lr_end=0.001, momentum=0.9, nesterov=True, weight_decay=5e-4, clip=clip)
    assert RECIPES[name].paper == "arXiv:2009.00437"


@pytest.mark.parametrize(("name", "epochs"), [("nats-h0", 12), ("nats-h1", 200), ("nats-h2", 90)])
def test_training_is_that_of_nats_bench(name: str, epochs: int) -> None:
    assert RECIPES[name].fit == Fit(epochs=epochs, batch=256, weights=rule(5e-4))
    assert RECIPES[name].paper == "arXiv:2009.00437"


def test_data_sets_bring_mirroring_and_padded_crop() -> None:
    found = {name: DATASETS[name].augmentation for name in ("cifar10", "cifar100", "imagenet16-120")}
    assert {name: (a.flip, a.pad, a.cutout) for name, a in found.items()} == {
        "cifar10": (True, 4, 0),
        "cifar100": (True, 4, 0),
        "imagenet16-120": (True, 2, 0),
    }


@pytest.mark.parametrize(("name", "steps"), [("mobilenet-v1", 2000), ("mobilenet-v2", 2000), ("resnet50", 1000)])
def test_nes_is_75_rounds_of_weight_steps_and_20_updates_of_100_evaluations(name: str, steps: int) -> None:
    part = search_of(f"nes-{name}")
    assert part.space == SPACES[name]()
    assert isinstance(part.strategy, NES)
    assert part.strategy == NES(sigma=1.25, mean_lr=5.0, rounds=75, updates=20, evaluations=100)
    assert not part.strategy.antithetic and not part.strategy.rank_shaping
    assert (part.batch, part.options) == (256, ImageOptions(val=50 * 1000, image_size=224))
    total = part.epochs * ((IMAGENET - 50_000) // 256)
    assert total / 75 == pytest.approx(steps, rel=0.03)
    rounds = [part.strategy._due(Progress(k, total, total)) for k in range(total)]
    assert {due for due in rounds if due[0]} == {(20, 100)}
    assert sum(due[0] > 0 for due in rounds) == 75


@pytest.mark.parametrize("layers", [20, 32, 56, 110, 164])
def test_tas_on_cifar(layers: int) -> None:
    part = search_of(f"tas-resnet{layers}")
    assert part.space == ResNetCifar(layers_count=layers, widths=True, depths=True, tied=False)
    settings = {"arch_lr": 1e-3, "arch_weight_decay": 1e-3, **TEMPERATURE}
    assert part.strategy == TAS(**settings, samples=2, cost_weight=2.0, tolerance=0.05)
    assert (part.data, part.options.val, part.epochs, part.batch) == ("cifar10", 0.5, 600, 256)
    assert part.weights == rule(5e-4)


@pytest.mark.parametrize("layers", [18, 50])
def test_tas_on_imagenet(layers: int) -> None:
    part = search_of(f"tas-resnet{layers}")
    assert part.space == SPACES[f"resnet{layers}"]()
    assert (part.data, part.options) == ("imagenet", ImageOptions(image_size=224))
    assert (part.epochs, part.batch, part.weights) == (120, 256, rule(1e-4))


CELLS = {
    "gdas-cells": (DartsCells(channels=16, nodes=4, cells=2), EXPECTED["nats-topology-gdas"], 240, (0, 1, 2, 3)),
    "gdas-cells-fixed": (
        DartsCells(channels=16, nodes=4, cells=2, reduction="fixed"),
        EXPECTED["nats-topology-gdas"],
        240,
        (0, 1, 2, 3),
    ),
    "darts-cells-first": (DartsCells(channels=16, layers_count=8), DARTS(**LOGITS), 50, ()),
    "darts-cells-second": (DartsCells(channels=16, layers_count=8), DARTSSecondOrder(**LOGITS), 50, ()),
}


@pytest.mark.parametrize("name", CELLS)
def test_searches_of_cells_are_those_of_the_papers(name: str) -> None:
    part = search_of(name)
    assert (part.space, part.strategy, part.epochs, part.seeds) == CELLS[name]
    assert (part.data, part.options.val, part.batch) == ("cifar10", 0.5, 64)
    momentum = {"momentum": 0.9, "nesterov": False, "clip": 5.0}
    assert part.weights == WeightRule(lr=0.025, lr_end=0.001, weight_decay=3e-4, **momentum)
    assert RECIPES[name].paper == ("arXiv:1910.04465" if "gdas" in name else "arXiv:1806.09055")


def test_trainings_of_cells_are_those_of_darts() -> None:
    momentum = {"momentum": 0.9, "nesterov": False, "clip": 5.0}
    weights = WeightRule(lr=0.025, lr_end=0.0, weight_decay=3e-4, **momentum)
    assert RECIPES["cells-fit-cifar"].fit == Fit(epochs=600, batch=96, weights=weights, drop_path=0.2, auxiliary=0.4)
    assert RECIPES["cells-fit-cifar"].cutout == 16
    weights = WeightRule(lr=0.1, lr_end=0.0, weight_decay=3e-5, decay_per_epoch=0.97, **momentum)
    wanted = Fit(epochs=250, batch=128, weights=weights, label_smoothing=0.1, auxiliary=0.4)
    assert RECIPES["cells-fit-imagenet"].fit == wanted


def test_cells_are_trained_in_the_networks_of_the_papers() -> None:
    """GDAS and DARTS: C = 36 and N = 6 on CIFAR; on ImageNet 14 cells, as wide as the mobile setting lets them be."""
    space = DartsCells(channels=4, layers_count=3, nodes=1)
    arch = space.space.parse("normal=|sep_conv_3x3~0|skip_connect~1|,reduce=|max_pool_3x3~0|max_pool_3x3~1|")
    found: Any = SimpleNamespace(space=space, arch=arch, about=SimpleNamespace(space="darts-cells"))
    task: Any = SimpleNamespace(channels=3, size=(64, 64), classes=10)
    assert RECIPES["cells-fit-cifar"].network_for(found, task) == DartsCells(channels=36, cells=6, nodes=1)
    assert RECIPES["cells-fit-imagenet"].most_macs == 600_000_000

    def of(channels: int) -> DartsCells:
        return DartsCells(channels=channels, cells=4, nodes=1, stem="imagenet")

    def taken(channels: int) -> int:
        with FlopCounterMode(display=False) as counter:
            of(channels).network(arch, 3, 10).eval()(torch.zeros(1, 3, 64, 64))
        return int(counter.get_total_flops()) // 2

    most = max(channels for channels in range(2, 18, 2) if taken(channels) < 1_000_000)
    assert 2 < most < 16
    small = dataclasses.replace(RECIPES["cells-fit-imagenet"], most_macs=1_000_000)
    assert small.network_for(found, task) == of(most)
    assert small.network_for(found, task, channels=6) == of(6)
    unchanged: Any = SimpleNamespace(space=object())  # as a model of the user's own, which is not copied
    assert RECIPES["nats-h0"].network_for(unchanged, task) is None
    with pytest.raises(UserError, match="images of 64 x 64 take more than 10 multiply-accumulates"):
        dataclasses.replace(small, most_macs=10).network_for(found, task)


def test_the_best_of_several_seeds_counts_unless_one_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []

    def search(*_: object, seed: int, out: Path, **others: object) -> SimpleNamespace:
        asked.append((seed, out))
        return SimpleNamespace(seed=seed, about=SimpleNamespace(search_score={0: 0.3, 1: 0.2, 2: 0.5, 3: 0.4}[seed]))

    monkeypatch.setattr("renascent.experiment.search.search", search)
    monkeypatch.setattr("renascent.experiment.recipes.recipe.load", lambda name, options: (name, options))
    assert RECIPES["gdas-cells"].run(out=tmp_path).seed == 2
    assert asked == [(seed, tmp_path / f"seed-{seed}") for seed in range(4)]
    assert RECIPES["gdas-cells"].run(out=tmp_path, seed=1).seed == 1
    assert asked[4:] == [(1, tmp_path)]


@pytest.mark.parametrize("form", ["", "-reinforce"])
def test_proxyless_on_cifar(form: str) -> None:
    """Sec. 4.1: B = 18, F = 400, 5,000 images to validate on, Adam 0.006 by gradient and 0.01 by REINFORCE."""
    part = search_of(f"proxyless-cifar{form}")
    assert part.space == PyramidTree(blocks=18, final_channels=400)
    authors = {"samples": 10, "cost_exponent": -0.1, "baseline_decay": 0.99, "cost_below": False}
    same = {"arch_every": 1, "policy_warmup": 0.0, "label_smoothing": 0.0}
    reinforced = ProxylessReinforce(arch_lr=0.01, **authors, **same)
    assert part.strategy == (reinforced if form else Proxyless(paths=2, arch_lr=6e-3, cost_weight=0.1, **same))
    assert (part.data, part.options, part.epochs, part.batch) == ("cifar10", ImageOptions(val=5000), 200, 64)
    assert part.weights == rule(1e-4)


@pytest.mark.parametrize("form", ["", "-reinforce"])
def test_proxyless_on_imagenet(form: str) -> None:
    part = search_of(f"proxyless-imagenet{form}")
    assert part.space == MBConv(width=1.0, small=False, blocks=(4, 4, 4, 4, 4, 1))
    authors = {"arch_lr": 1e-3, "arch_every": 5, "policy_warmup": 40 / 160, "label_smoothing": 0.1}
    assert part.strategy == (ProxylessReinforce(**authors, samples=10) if form else Proxyless(**authors, paths=2))
    assert (part.data, part.options, part.epochs) == ("imagenet", ImageOptions(val=50_000, image_size=224), 160)
    assert part.batch == 256
    assert part.weights == dataclasses.replace(rule(4e-5), lr=0.025)


@pytest.mark.parametrize(("name", "epochs", "dropped"), [("fit", 300, 0.0), ("fit-droppath", 600, 0.2)])
def test_proxyless_training(name: str, epochs: int, dropped: float) -> None:
    """Sec. 4.1: as the search, 300 epochs in place of 200, and 600 with drop path; cutout."""
    recipe = RECIPES[f"proxyless-{name}"]
    assert recipe.fit == Fit(epochs=epochs, batch=64, weights=rule(1e-4), drop_path=dropped)
    assert (recipe.cutout, recipe.distillation, recipe.paper) == (16, None, "arXiv:1812.00332")
    net = PyramidTree(blocks=1, final_channels=68)
    built = net.network(net.reference, 3, 10)
    assert built.drop_path == 0


LOSSES = {
    "tas-cifar": Distillation(label_weight=0.1, soft_weight=0.9, temperature=4.0, temperature_squared=True),
    "tas-cifar-as-printed": Distillation(label_weight=0.9, soft_weight=0.1, temperature=4.0, temperature_squared=False),
    "tas-imagenet": Distillation(label_weight=0.5, soft_weight=0.5, temperature=4.0),
}


@pytest.mark.parametrize("name", LOSSES)
def test_tas_training_is_that_of_the_paper_runs_and_learns_on_digits(name: str, tmp_path: Path) -> None:
    large, recipe = name == "tas-imagenet", RECIPES[name]
    epochs, decay, smoothing = (120, 1e-4, 0.1) if large else (300, 5e-4, 0.0)
    assert recipe.fit == Fit(epochs=epochs, batch=256, weights=rule(decay), label_smoothing=smoothing)
    assert (recipe.distillation, recipe.paper) == (LOSSES[name], "arXiv:1905.09717")

    def net(width: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))

    torch.manual_seed(0)
    task = load("digits", options=ImageOptions(limit=1000))
    settings = Fit(epochs=2, batch=32, weights=rule(5e-4))
    teacher = fit(net(64), task, settings, run=Run.start(tmp_path / "teacher", {})).net
    taught = Distilled(task, teacher, recipe.distillation)
    fitted = fit(net(16), taught, settings, run=Run.start(tmp_path / "student", {}))
    assert fitted.scores["test"] > 0.5  # chance is 0.1
    losses = [event["train_loss"] for event in read_events(tmp_path / "student") if event["event"] == "epoch"]
    assert losses[1] < losses[0]


def test_run_gives_search_what_the_recipe_says(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = {}

    def search(space: object, strategy: object, task: object, **others: object) -> None:
        heard.update(others, strategy=strategy, task=task)

    monkeypatch.setattr("renascent.experiment.search.search", search)
    monkeypatch.setattr("renascent.experiment.recipes.recipe.load", lambda name, options: (name, options))
    RECIPES["nats-topology-setn"].run(seed=3)
    assert heard["task"] == ("cifar10", ImageOptions(split="official", augment_val=True))
    assert (heard["epochs"], heard["batch"], heard["seed"]) == (100, 64, 3)
    assert heard["strategy"] == EXPECTED["nats-topology-setn"]
