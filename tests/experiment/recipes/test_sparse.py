"""The numbers of DSO-NAS and BayesNAS, written down a second time."""

from types import SimpleNamespace
from typing import Any

import pytest

from renascent.core.errors import UserError
from renascent.core.protocols import Progress, WeightRule
from renascent.core.space import Subset
from renascent.experiment.recipes import RECIPES
from renascent.loops.fit import Fit
from renascent.nets.cells.darts import DartsCells
from renascent.nets.cells.dso import DSO
from renascent.nets.cells.pyramid import PyramidTree
from renascent.strategies._bilevel import arch_due
from renascent.strategies._stages import stage
from renascent.strategies.bayesnas import BayesNAS
from renascent.strategies.dsonas import DSONAS
from renascent.tasks.prepare import ImageOptions

NAG = {"momentum": 0.9, "nesterov": True, "clip": 0.0}
PLAIN = {"momentum": 0.9, "nesterov": False, "clip": 5.0}

DSO_SEARCHES = {
    "dso-share": (DSO(blocks=(8, 8, 8), levels=4, share=True), ImageOptions(val=0.5, augment_val=True), 1),
    "dso-full": (DSO(blocks=(8, 8, 8), levels=4, share=False), ImageOptions(val=0.5, augment_val=True), 1),
    "dso-share-4-1": (DSO(blocks=(8, 8, 8), levels=4, share=True), ImageOptions(val=10_000, augment_val=True), 4),
    "dso-imagenet": (
        DSO(blocks=(2, 2, 13, 6), levels=4, share=True, stem="imagenet"),
        ImageOptions(val=0.2, augment_val=True, image_size=224),
        4,
    ),
}
BAYES_SEARCHES = {
    **{
        f"bayesnas-{value}": (DartsCells(channels=36, layers_count=8, nodes=4, decisions="subset"), value, 18)
        for value in (0.01, 0.007, 0.005)
    },
    "bayesnas-tree": (PyramidTree(blocks=18, final_channels=400, tree="A"), 0.01, 32),
}


@pytest.mark.parametrize("name", DSO_SEARCHES)
def test_searches_of_dso_nas_are_those_of_the_paper(name: str) -> None:
    """Sec. 4.2, 4.3 and Table 3: 120 + 120 epochs at batch 128, or 30 + 30 at 256, at a constant rate of 0.1."""
    part, large = RECIPES[name].search, name == "dso-imagenet"
    assert part is not None
    space, options, ratio = DSO_SEARCHES[name]
    settings = {"scale_lr": 0.1, "scale_momentum": 0.9, "split": True, "adaptive": "macs", "sparsity": 1e-2}
    assert part.strategy == DSONAS(pretrain=0.5, weights_per_scale=ratio, **settings)
    assert (part.space, part.options, part.data) == (space, options, "imagenet" if large else "cifar10")
    assert (part.epochs, part.batch) == ((60, 256) if large else (240, 128))
    assert part.weights == WeightRule(lr=0.1, lr_end=0.1, weight_decay=4e-5 if large else 3e-4, **NAG)
    assert {part.weights.rate(t) for t in (0.0, 0.3, 1.0)} == {0.1}
    assert RECIPES[name].paper == "arXiv:1811.01567"


def test_scales_of_dso_nas_rest_for_half_of_the_epochs_and_then_see_each_image_once_an_epoch() -> None:
    for name, (_, options, ratio) in DSO_SEARCHES.items():
        part = RECIPES[name].search
        assert part is not None and isinstance(part.strategy, DSONAS)
        images = 50_000 * (1 - options.val) if options.val < 1 else 50_000 - options.val
        each, epochs = int(images // part.batch), part.epochs
        due = [
            arch_due(Progress(k, each * epochs, each), part.strategy.pretrain, ratio)
            for k in range(each * epochs // 2 - each, each * epochs // 2 + each)
        ]
        assert not any(due[: each - 1])
        assert sum(due[each:]) * part.batch == pytest.approx(50_000 - images, rel=0.02)


def test_the_spaces_of_dso_nas_have_the_papers_blocks_and_scales() -> None:
    full = DSO_SEARCHES["dso-full"][0].space
    assert (len(full.decisions), sum(full.counts)) == (24 * 17, 24 * 128) == (408, 3072)
    assert sum(DSO_SEARCHES["dso-imagenet"][0].blocks) == 23


@pytest.mark.parametrize("name", BAYES_SEARCHES)
def test_searches_of_bayesnas_are_those_of_the_thesis(name: str) -> None:
    """Sec. 5-1 and 5-2: momentum 0.9 and a fixed rate of 0.1; an epoch plainly and one with scales."""
    part = RECIPES[name].search
    assert part is not None
    space, shrinkage, batch = BAYES_SEARCHES[name]
    settings = {"scale_lr": 0.1, "scale_momentum": 0.9, "curvature_draws": 200, "shrinkage_zero": 0.0}
    assert part.strategy == BayesNAS(shrinkage=shrinkage, iterations=1, warmup=0.5, **settings)
    assert (part.space, part.data, part.options) == (space, "cifar10", ImageOptions(val=0.5))
    assert (part.epochs, part.batch) == (2, batch)
    assert part.weights == WeightRule(lr=0.1, lr_end=0.1, weight_decay=3e-4, **PLAIN)
    assert RECIPES[name].paper == "arXiv:1905.04123"
    each = 25_000 // batch
    stages = [stage(Progress(k, 2 * each, each), 1, 0.5, 200) for k in range(2 * each)]
    assert [now.joint for now in stages] == [False] * each + [True] * each
    assert (sum(now.measures for now in stages), [now.ends for now in stages].index(True)) == (200, 2 * each - 1)


def test_the_spaces_of_bayesnas_have_no_zero_operation_and_nine_paths() -> None:
    cells, tree = (BAYES_SEARCHES[name][0].space.decisions for name in ("bayesnas-0.01", "bayesnas-tree"))
    assert all(isinstance(decision, Subset) for decision in (cells | tree).values())
    assert all(len(decision.options) == 7 and "none" not in decision.options for decision in cells.values())
    assert (len(cells), len(tree), sum(len(d.options) for d in tree.values())) == (2 * 14, 54 * 6, 54 * 13)


def test_the_training_of_dso_nas_on_cifar_is_that_of_the_paper() -> None:
    """Sec. 4.2: six periods of 10 epochs and more, each twice as long as the one before, are the 630 epochs."""
    recipe = RECIPES["dso-fit-cifar"]
    rule = WeightRule(lr=0.05, lr_end=0.001, weight_decay=3e-4, restart_epochs=10, restart_factor=2, **NAG)
    assert recipe.fit == Fit(epochs=630, batch=128, weights=rule, drop_path=0.5, auxiliary=0.4)
    assert (recipe.cutout, dict(recipe.network), recipe.most_macs) == (16, {"dropout": 0.6}, 0)
    assert recipe.fit.epochs == 10 * (2**6 - 1)
    assert rule.rate(1.0, 629.9) == pytest.approx(0.001, rel=1e-3)  # at the end of the sixth


def test_the_training_of_dso_nas_on_imagenet_is_that_of_the_paper() -> None:
    recipe = RECIPES["dso-fit-imagenet"]
    rule = WeightRule(lr=0.5, lr_end=0.0, weight_decay=4e-5, linear=True, **NAG)
    assert recipe.fit == Fit(epochs=240, batch=1024, weights=rule, label_smoothing=0.1, auxiliary=0.4)
    assert [rule.rate(t) for t in (0.0, 0.5, 1.0)] == [0.5, 0.25, 0.0]
    assert dict(recipe.network) == {"blocks": (2, 2, 13, 6), "stem": "imagenet"}
    assert (recipe.cutout, recipe.most_macs) == (0, 600_000_000)


def test_the_trainings_of_bayesnas_are_those_of_the_thesis() -> None:
    cells, trees = RECIPES["bayesnas-fit"], RECIPES["bayesnas-tree-fit"]
    rule = WeightRule(lr=0.025, lr_end=0.0, weight_decay=3e-4, **PLAIN)
    assert cells.fit == Fit(epochs=600, batch=128, weights=rule, drop_path=0.2, auxiliary=0.4)
    assert (cells.cutout, dict(cells.network)) == (16, {"channels": 36, "layers_count": 20})
    rule = WeightRule(lr=0.1, lr_end=0.0, weight_decay=1e-4, **NAG)
    assert trees.fit == Fit(epochs=300, batch=64, weights=rule)
    assert (trees.cutout, dict(trees.network)) == (16, {})
    placing = DartsCells(layers_count=20, decisions="subset").placing
    assert placing == ((6, 13), 20)  # at a third and at two thirds


def found(space: Any, name: str) -> Any:
    """Return what a search is, as far as a recipe looks at it: the architecture is the reference."""
    return SimpleNamespace(space=space, arch=space.reference, about=SimpleNamespace(space=name))


def test_a_block_found_on_cifar_is_trained_in_the_network_for_imagenet() -> None:
    task: Any = SimpleNamespace(channels=3, size=(224, 224), classes=1000)
    searched = DSO(share=True, blocks=(1, 1, 1))
    network = RECIPES["dso-fit-imagenet"].network_for(found(searched, "dso"), task, channels=8)
    assert network == DSO(share=True, blocks=(2, 2, 13, 6), stem="imagenet", channels=8)
    assert network.space.decisions == searched.space.decisions


def test_a_training_with_dropout_is_refused_for_a_network_without() -> None:
    task: Any = SimpleNamespace(channels=3, size=(32, 32), classes=10)
    with pytest.raises(UserError, match="recipe 'dso-fit-cifar' sets dropout of a network, which darts-cells lacks"):
        RECIPES["dso-fit-cifar"].network_for(found(DartsCells(), "darts-cells"), task)
