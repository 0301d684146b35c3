"""The numbers of the papers, written down a second time."""

import pytest

from renascent.core.protocols import WeightRule
from renascent.experiment.recipes import RECIPES
from renascent.loops.fit import Fit
from renascent.nets.cells.nats import NatsTopology
from renascent.strategies import STRATEGIES
from renascent.strategies.darts import DARTS, DARTSSecondOrder
from renascent.strategies.enas import ENAS
from renascent.strategies.gdas import GDAS
from renascent.strategies.rsps import RSPS
from renascent.strategies.setn import SETN
from renascent.tasks import DATASETS
from renascent.tasks.prepare import ImageOptions

LOGITS = {"arch_lr": 3e-4, "arch_weight_decay": 1e-3}

EXPECTED = {
    "nats-topology-rsps": RSPS(candidates=100),
    "nats-topology-darts": DARTS(**LOGITS),
    "nats-topology-darts-second-order": DARTSSecondOrder(**LOGITS),
    "nats-topology-gdas": GDAS(**LOGITS, tau_start=10.0, tau_end=0.1),
    "nats-topology-setn": SETN(**LOGITS, candidates=100),
    "nats-topology-enas": ENAS(
        controller_lr=1e-3,
        controller_steps=50,
        controller_samples=20,
        entropy_weight=1e-4,
        baseline_decay=0.99,
        hidden=32,
        layers=2,
        tanh_constant=2.5,
        temperature=5.0,
        clip=5.0,
        candidates=100,
    ),
}


def test_table_names_its_recipes() -> None:
    assert [recipe.name for recipe in RECIPES.values()] == list(RECIPES)
    assert all((recipe.search is None) != (recipe.fit is None) for recipe in RECIPES.values())


def test_every_strategy_has_its_search() -> None:
    searches = [recipe.search for recipe in RECIPES.values() if recipe.search is not None]
    assert {type(part.strategy) for part in searches} == set(STRATEGIES.values())


@pytest.mark.parametrize("name", EXPECTED)
def test_search_is_that_of_nats_bench(name: str) -> None:
    part = RECIPES[name].search
    assert part is not None
    assert part.strategy == EXPECTED[name]
    assert part.space == NatsTopology(channels=16, cells=5, nodes=4)
    assert (part.data, part.options) == (
        "cifar10",
        ImageOptions(split="official", augment_val=not name.endswith("enas")),
    )
    assert (part.epochs, part.batch) == (100, 64)
    assert part.weights == WeightRule(lr=0.025, lr_end=0.001, momentum=0.9, nesterov=True, weight_decay=5e-4, clip=5.0)
    assert RECIPES[name].paper == "arXiv:2009.00437"


@pytest.mark.parametrize(("name", "epochs"), [("nats-h0", 12), ("nats-h1", 200), ("nats-h2", 90)])
def test_training_is_that_of_nats_bench(name: str, epochs: int) -> None:
    rule = WeightRule(lr=0.1, lr_end=0.0, momentum=0.9, nesterov=True, weight_decay=5e-4, clip=0.0)
    assert RECIPES[name].fit == Fit(epochs=epochs, batch=256, weights=rule)
    assert RECIPES[name].paper == "arXiv:2009.00437"


def test_data_sets_bring_mirroring_and_padded_crop() -> None:
    found = {name: DATASETS[name].augmentation for name in ("cifar10", "cifar100", "imagenet16-120")}
    assert {name: (a.flip, a.pad, a.cutout) for name, a in found.items()} == {
        "cifar10": (True, 4, 0),
        "cifar100": (True, 4, 0),
        "imagenet16-120": (True, 2, 0),
    }


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
