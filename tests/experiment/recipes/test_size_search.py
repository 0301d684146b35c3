"""The numbers of the papers on sizes, written down a second time."""

import pytest

from renascent.core.protocols import Progress, WeightRule
from renascent.experiment.recipes import RECIPES
from renascent.nets import SPACES
from renascent.nets.sizes.nats_size import NatsSize
from renascent.nets.sizes.resnet_cifar import ResNetCifar
from renascent.strategies.fbnetv2 import FBNetV2
from renascent.strategies.nes import NES
from renascent.strategies.tas import TAS
from renascent.strategies.tunas import TuNAS
from renascent.tasks.prepare import ImageOptions

IMAGENET = 1_281_167
"""Training images, of 1000 classes."""


@pytest.mark.parametrize(("name", "steps"), [("mobilenet-v1", 2000), ("mobilenet-v2", 2000), ("resnet50", 1000)])
def test_nes_is_75_rounds_of_weight_steps_and_20_updates_of_100_evaluations(name: str, steps: int) -> None:
    part = RECIPES[f"nes-{name}"].search
    assert part is not None
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
    part = RECIPES[f"tas-resnet{layers}"].search
    assert part is not None
    assert part.space == ResNetCifar(layers_count=layers, widths=True, depths=True, tied=False)
    settings = {"arch_lr": 1e-3, "arch_weight_decay": 1e-3, "tau_start": 10.0, "tau_end": 0.1}
    assert part.strategy == TAS(**settings, samples=2, cost_weight=2.0, tolerance=0.05)
    assert (part.data, part.options.val, part.epochs, part.batch) == ("cifar10", 0.5, 600, 256)
    assert part.weights == WeightRule(lr=0.1, lr_end=0.0, momentum=0.9, weight_decay=5e-4, clip=0.0)


@pytest.mark.parametrize("layers", [18, 50])
def test_tas_on_imagenet(layers: int) -> None:
    part = RECIPES[f"tas-resnet{layers}"].search
    assert part is not None
    assert part.space == SPACES[f"resnet{layers}"]()
    assert (part.epochs, part.batch, part.weights.lr, part.weights.weight_decay) == (120, 256, 0.1, 1e-4)


@pytest.mark.parametrize(
    ("name", "strategy"),
    [
        ("tas", TAS(arch_lr=3e-4, arch_weight_decay=1e-3, samples=2)),
        (
            "fbnetv2",
            FBNetV2(arch_lr=3e-4, arch_weight_decay=1e-3, tau_start=10.0, tau_end=0.1, policy_warmup=0.0),
        ),
        ("tunas", TuNAS(arch_lr=3e-4, arch_lr_growth=1.0, filter_warmup=0.0, policy_warmup=0.0)),
        ("tunas-warmup", TuNAS(arch_lr=3e-4, arch_lr_growth=1.0, filter_warmup=0.25, policy_warmup=0.25)),
    ],
)
def test_search_of_nats_bench_sizes(name: str, strategy: object) -> None:
    part = RECIPES[f"nats-size-{name}"].search
    assert part is not None
    assert part.strategy == strategy
    assert part.space == NatsSize()
    assert (part.data, part.options) == ("cifar10", ImageOptions(split="official", augment_val=True))
    assert (part.epochs, part.batch) == (100, 64)
    assert part.weights == WeightRule(lr=0.025, lr_end=0.001, momentum=0.9, nesterov=True, weight_decay=5e-4, clip=0.0)
