"""Searches for sizes, as the papers set them. A budget is given when they are run, such as "macs<=0.5x".

Where a paper's text does not give a number, the docstring says so, and what is used.
"""

from __future__ import annotations

from renascent.core.protocols import OneShot, SpaceConfig, WeightRule
from renascent.experiment.recipes.recipe import Recipe, SearchPart
from renascent.nets.sizes.mobile_v1 import MobileNetV1
from renascent.nets.sizes.mobile_v2 import MobileNetV2
from renascent.nets.sizes.nats_size import NatsSize
from renascent.nets.sizes.resnet import ResNetImages
from renascent.nets.sizes.resnet_cifar import ResNetCifar
from renascent.strategies.fbnetv2 import FBNetV2
from renascent.strategies.nes import NES
from renascent.strategies.tas import TAS
from renascent.strategies.tunas import TuNAS
from renascent.tasks.prepare import ImageOptions

IMAGENET = "imagenet"
"""A folder of images: of this name where the search is started, or given as `data`."""


def nes_mobilenet_v1() -> Recipe:
    """Return the search of widths and resolution: 75 rounds of 2000 weight steps and 20 updates."""
    return _nes("mobilenet-v1", MobileNetV1(), epochs=31, lr=0.05, decay=4e-5)


def nes_mobilenet_v2() -> Recipe:
    """Return the search of widths, depth and resolution: 75 rounds of 2000 weight steps and 20 updates."""
    return _nes("mobilenet-v2", MobileNetV2(), epochs=31, lr=0.05, decay=4e-5)


def nes_resnet50() -> Recipe:
    """Return the search of widths: 75 rounds of 1000 weight steps and 20 updates."""
    return _nes("resnet50", ResNetImages(layers_count=50), epochs=16, lr=0.1, decay=1e-4)


def tas_cifar(layers_count: int) -> Recipe:
    """Return the search of widths and depths on CIFAR-10, Sec. 4.1: 600 epochs, half of the images to validate on."""
    return Recipe(
        name=f"tas-resnet{layers_count}",
        search=SearchPart(
            space=ResNetCifar(layers_count=layers_count),
            strategy=TAS(),
            data="cifar10",
            options=ImageOptions(),
            epochs=600,
            batch=256,
            weights=_rule(0.1, 5e-4),
        ),
    )


def tas_imagenet(layers_count: int) -> Recipe:
    """Return the search of widths on ImageNet, Sec. 4.1: 120 epochs, half of the images to validate on.

    That half is held out of a folder `train/` without `val/`; the official validation images go into `test/`.
    The space is ours: the widths of stages and inside blocks, not those of every convolution.
    """
    return Recipe(
        name=f"tas-resnet{layers_count}",
        search=SearchPart(
            space=ResNetImages(layers_count=layers_count),
            strategy=TAS(),
            data=IMAGENET,
            options=ImageOptions(image_size=224),
            epochs=120,
            batch=256,
            weights=_rule(0.1, 1e-4),
        ),
    )


def nats_tas() -> Recipe:
    """Return TAS on the size space of NATS-Bench."""
    return _nats("tas", TAS(arch_lr=3e-4))


def nats_fbnetv2() -> Recipe:
    """Return FBNet-V2 there. NATS-Bench's temperature falls linearly, this one exponentially, between the same ends."""
    return _nats(
        "fbnetv2", FBNetV2(arch_lr=3e-4, arch_weight_decay=1e-3, tau_start=10.0, tau_end=0.1, policy_warmup=0.0)
    )


def nats_tunas() -> Recipe:
    """Return TuNAS there, without warm-up."""
    return _nats("tunas", _tunas(0.0))


def nats_tunas_warmup() -> Recipe:
    """Return TuNAS there, its policy still and filters warmed up for a quarter of the search."""
    return _nats("tunas-warmup", _tunas(0.25))


def _tunas(warmup: float) -> TuNAS:
    return TuNAS(arch_lr=3e-4, arch_lr_growth=1.0, filter_warmup=warmup, policy_warmup=warmup)


def _nes(name: str, space: SpaceConfig, *, epochs: int, lr: float, decay: float) -> Recipe:
    """The weights' learning rate and decay are the usual ones of these networks: no number is known to us.

    The epochs are the paper's weight steps at batch 256, with 50 images of each class of ImageNet held out of a folder
    `train/` without `val/`; the official validation images go into `test/`.
    """
    return Recipe(
        name=f"nes-{name}",
        search=SearchPart(
            space=space,
            strategy=NES(),
            data=IMAGENET,
            options=ImageOptions(val=50_000, image_size=224),
            epochs=epochs,
            batch=256,
            weights=_rule(lr, decay),
        ),
    )


def _nats(name: str, strategy: OneShot) -> Recipe:
    """The settings of the authors' code (AutoDL-Projects, search-size): as for topology, but gradients not clipped.

    It has one learning rate, 3e-4, for the logits of all three, and no cost term: that begins with a budget.
    """
    return Recipe(
        name=f"nats-size-{name}",
        search=SearchPart(
            space=NatsSize(),
            strategy=strategy,
            data="cifar10",
            options=ImageOptions(split="official", augment_val=True),
            epochs=100,
            batch=64,
            weights=WeightRule(lr=0.025, lr_end=0.001, momentum=0.9, nesterov=True, weight_decay=5e-4, clip=0.0),
        ),
    )


def _rule(lr: float, decay: float) -> WeightRule:
    return WeightRule(lr=lr, lr_end=0.0, momentum=0.9, nesterov=True, weight_decay=decay, clip=0.0)
