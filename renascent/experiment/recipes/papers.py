"""The numbers of the papers. Searches get a budget, such as "macs<=0.5x", when they are run.

Where a paper's text does not give a number, this file says so, and what is used. The mirroring and padded crop of the
papers are those of the data set: `tasks.DATASETS`.
"""

from typing import Any

from renascent.core.protocols import OneShot, SpaceConfig, WeightRule
from renascent.experiment.recipes import SUMMARIES, sparse
from renascent.experiment.recipes.recipe import Recipe, SearchPart
from renascent.loops.fit import Fit
from renascent.nets.cells.darts import DartsCells
from renascent.nets.cells.mbconv import MBConv
from renascent.nets.cells.nats import NatsTopology
from renascent.nets.cells.pyramid import PyramidTree
from renascent.nets.sizes.mobile_v1 import MobileNetV1
from renascent.nets.sizes.mobile_v2 import MobileNetV2
from renascent.nets.sizes.nats_size import NatsSize
from renascent.nets.sizes.resnet import ResNetImages
from renascent.nets.sizes.resnet_cifar import ResNetCifar
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
from renascent.tasks.distill import Distillation
from renascent.tasks.prepare import ImageOptions

IMAGENET = "imagenet"
"""A folder of images: of this name where the search is started, or given as `data`.

Where images are held out, it has `train/` without `val/`; the official validation images go into `test/`.
"""


def _sgd(lr: float, decay: float) -> WeightRule:
    return WeightRule(lr=lr, lr_end=0.0, momentum=0.9, nesterov=True, weight_decay=decay, clip=0.0)


def _nats(space: SpaceConfig, strategy: OneShot, clip: float, augment_val: bool = True) -> SearchPart:
    """Return a search on CIFAR-10 as the authors' code has it (AutoDL-Projects)."""
    return SearchPart(
        space=space,
        strategy=strategy,
        data="cifar10",
        options=ImageOptions(split="official", augment_val=augment_val),
        epochs=100,
        batch=64,
        weights=WeightRule(lr=0.025, lr_end=0.001, momentum=0.9, nesterov=True, weight_decay=5e-4, clip=clip),
    )


def _dartslike(lr: float, decay: float, **about: Any) -> WeightRule:
    """Return the rule of DARTS's searches and trainings: plain momentum, gradients of a norm of at most 5."""
    return WeightRule(lr=lr, momentum=0.9, nesterov=False, weight_decay=decay, clip=5.0, **about)


def _cells(space: DartsCells, strategy: OneShot, epochs: int, seeds: tuple[int, ...]) -> SearchPart:
    return SearchPart(
        space=space,
        strategy=strategy,
        data="cifar10",
        options=ImageOptions(),
        epochs=epochs,
        batch=64,
        weights=_dartslike(0.025, 3e-4, lr_end=0.001),
        seeds=seeds,
    )


def _imagenet(space: SpaceConfig, strategy: OneShot, epochs: int, weights: WeightRule, val: float = 0.5) -> SearchPart:
    options = ImageOptions(val=val, image_size=224)
    return SearchPart(
        space=space, strategy=strategy, data=IMAGENET, options=options, epochs=epochs, batch=256, weights=weights
    )


def _tas_cifar(layers: int) -> SearchPart:
    return SearchPart(
        space=ResNetCifar(layers_count=layers),
        strategy=TAS(arch_lr=1e-3),
        data="cifar10",
        options=ImageOptions(),
        epochs=600,
        batch=256,
        weights=_sgd(0.1, 5e-4),
    )


TOPOLOGY: dict[str, OneShot] = {
    "rsps": RSPS(candidates=100),
    "darts": DARTS(arch_lr=3e-4, arch_weight_decay=1e-3),
    "darts-second-order": DARTSSecondOrder(arch_lr=3e-4, arch_weight_decay=1e-3),
    "gdas": GDAS(arch_lr=3e-4, arch_weight_decay=1e-3, tau_start=10.0, tau_end=0.1),
    "setn": SETN(arch_lr=3e-4, arch_weight_decay=1e-3, candidates=100),
    "enas": ENAS(),
}
"""The weight-sharing searches of NATS-Bench, Dong, Liu, Musial and Gabrys, arXiv:2009.00437, Sec. 5."""

SIZES: dict[str, OneShot] = {
    "tas": TAS(arch_lr=3e-4),
    "fbnetv2": FBNetV2(
        arch_lr=3e-4, arch_every=1, arch_weight_decay=1e-3, tau_start=10.0, tau_end=0.1, policy_warmup=0.0
    ),
    "tunas": TuNAS(arch_lr=3e-4, arch_lr_growth=1.0, filter_warmup=0.0, policy_warmup=0.0),
    "tunas-warmup": TuNAS(arch_lr=3e-4, arch_lr_growth=1.0, filter_warmup=0.25, policy_warmup=0.25),
}
"""Those of its size space: one learning rate for the logits of all, and no cost term, which begins with a budget.

NATS-Bench's temperature of FBNet-V2 falls linearly, this one exponentially, between the same ends.
"""

CELLS: dict[str, tuple[DartsCells, OneShot, int, tuple[int, ...]]] = {
    "gdas-cells": (DartsCells(channels=16, cells=2), TOPOLOGY["gdas"], 240, (0, 1, 2, 3)),
    "gdas-cells-fixed": (DartsCells(channels=16, cells=2, reduction="fixed"), TOPOLOGY["gdas"], 240, (0, 1, 2, 3)),
    "darts-cells-first": (DartsCells(channels=16, layers_count=8), TOPOLOGY["darts"], 50, ()),
    "darts-cells-second": (DartsCells(channels=16, layers_count=8), TOPOLOGY["darts-second-order"], 50, ()),
}
"""Searches of DARTS cells: the space, the strategy, epochs, and the seeds of which the best counts.

GDAS, Dong and Yang, arXiv:1910.04465, Sec. 4.1, whose text has no batch size: that of DARTS, Liu, Simonyan and Yang,
arXiv:1806.09055, Sec. A.1.
"""

TREES: dict[str, OneShot] = {"": Proxyless(arch_lr=6e-3), "-reinforce": ProxylessReinforce(arch_lr=0.01)}
"""ProxylessNAS on CIFAR-10, Cai, Zhu and Han, arXiv:1812.00332, Sec. 4.1.

The paper gives the validation images, Adam and the epochs; batch and the weights' rule are those usual for PyramidNet.
"""

CHAINS: dict[str, OneShot] = {
    "": Proxyless(arch_lr=1e-3, arch_every=5, policy_warmup=0.25, label_smoothing=0.1),
    "-reinforce": ProxylessReinforce(arch_lr=1e-3, arch_every=5, policy_warmup=0.25, label_smoothing=0.1),
}
"""ProxylessNAS on ImageNet, Sec. 4.2. The paper gives the validation images and Adam; the rest is the authors' setting.

Of their 160 epochs the first 40 have weight steps only.
"""

NES_SPACES = {
    "mobilenet-v1": (MobileNetV1(), 31, _sgd(0.05, 4e-5)),
    "mobilenet-v2": (MobileNetV2(), 31, _sgd(0.05, 4e-5)),
    "resnet50": (ResNetImages(layers_count=50), 16, _sgd(0.1, 1e-4)),
}
"""What NES searches: the space, epochs and the weights' rule, whose numbers are the usual ones: none is known to us.

The epochs are the paper's iterations: 75 rounds of 2000 weight steps (of ResNet-50: 1000) at batch 256, with 50 images
of each class held out, are 31.2 (15.6) epochs of 1,231,167 images. Its text says "about 64" (32), twice as many.
"""

SEARCHES: dict[str, SearchPart] = {
    # the authors' bilevel searches augment the validation half too; ENAS's controller sees plain images
    **{
        f"nats-topology-{name}": _nats(NatsTopology(channels=16, cells=5), strategy, 5.0, name != "enas")
        for name, strategy in TOPOLOGY.items()
    },
    **{name: _cells(*about) for name, about in CELLS.items()},
    **{f"nats-size-{name}": _nats(NatsSize(), strategy, 0.0) for name, strategy in SIZES.items()},
    **{
        f"nes-{name}": _imagenet(space, NES(), epochs, weights, val=50_000)
        for name, (space, epochs, weights) in NES_SPACES.items()
    },
    # Dong and Yang, NeurIPS 2019, arXiv:1905.09717, Sec. 4.1: widths and depths; half of the images to validate on
    **{f"tas-resnet{layers}": _tas_cifar(layers) for layers in (20, 32, 56, 110, 164)},
    # the space is ours: the widths of stages and inside blocks, not those of every convolution
    **{
        f"tas-resnet{layers}": _imagenet(ResNetImages(layers_count=layers), TAS(arch_lr=1e-3), 120, _sgd(0.1, 1e-4))
        for layers in (18, 50)
    },
}

TREE = PyramidTree(blocks=18, final_channels=400)


def _trees(strategy: OneShot) -> SearchPart:
    options = ImageOptions(val=5000)
    return SearchPart(
        space=TREE, strategy=strategy, data="cifar10", options=options, epochs=200, batch=64, weights=_sgd(0.1, 1e-4)
    )


SEARCHES |= {f"proxyless-cifar{form}": _trees(strategy) for form, strategy in TREES.items()}
SEARCHES |= {
    f"proxyless-imagenet{form}": _imagenet(MBConv(), strategy, 160, _sgd(0.025, 4e-5), val=50_000)
    for form, strategy in CHAINS.items()
}

SEARCHES |= sparse.SEARCHES

CIFAR = Fit(epochs=300, batch=256, weights=_sgd(0.1, 5e-4))

TRAININGS: dict[str, tuple[Fit, Distillation | None]] = {
    # H0 to H2 of NATS-Bench, Table 3
    **{
        f"nats-{name}": (Fit(epochs=epochs, batch=256, weights=_sgd(0.1, 5e-4)), None)
        for name, epochs in (("h0", 12), ("h1", 200), ("h2", 90))
    },
    # of DARTS, Sec. 3.2 and A.2: CIFAR-10, and ImageNet
    "cells-fit-cifar": (
        Fit(epochs=600, batch=96, weights=_dartslike(0.025, 3e-4, lr_end=0.0), drop_path=0.2, auxiliary=0.4),
        None,
    ),
    "cells-fit-imagenet": (
        Fit(
            epochs=250,
            batch=128,
            weights=_dartslike(0.1, 3e-5, lr_end=0.0, decay_per_epoch=0.97),
            label_smoothing=0.1,
            auxiliary=0.4,
        ),
        None,
    ),
    # of TAS, with the unpruned network as teacher; 0.1 label + 0.9 T^2 soft targets is what works
    "tas-cifar": (CIFAR, Distillation.recipe()),
    # the paper's text gives lambda = 0.9, and the equation puts it before the labels' loss
    "tas-cifar-as-printed": (CIFAR, Distillation.as_printed(0.9)),
    "tas-imagenet": (
        Fit(epochs=120, batch=256, weights=_sgd(0.1, 1e-4), label_smoothing=0.1),
        Distillation.recipe(large_images=True),
    ),
    # ProxylessNAS: as its search, but for the epochs; the paper does not say how often a path is dropped
    "proxyless-fit": (Fit(epochs=300, batch=64, weights=_sgd(0.1, 1e-4)), None),
    "proxyless-fit-droppath": (Fit(epochs=600, batch=64, weights=_sgd(0.1, 1e-4), drop_path=0.2), None),
    **{name: (fit, None) for name, fit in sparse.TRAININGS.items()},
}

CUTOUT = {"cells-fit-cifar": 16, "proxyless-fit": 16, "proxyless-fit-droppath": 16, **sparse.CUTOUT}
"""Trainings whose images have a square cut out: its side in pixels."""

LARGER: dict[str, dict[str, Any]] = {
    "cells-fit-cifar": {"network": {"channels": 36, "cells": 6, "layers_count": 0}},
    # GDAS: as wide as the mobile setting lets it be, C = 50 for its cell
    "cells-fit-imagenet": {"network": {"cells": 4, "layers_count": 0, "stem": "imagenet"}, "most_macs": 600_000_000},
    **sparse.LARGER,
}
"""Trainings of another network than was searched, mostly a larger one, of the same decisions."""


def recipe(name: str) -> Recipe:
    """Return the recipe of a name."""
    search, (fit, distillation) = SEARCHES.get(name), TRAININGS.get(name, (None, None))
    _, about, paper = SUMMARIES[name]
    about_all: dict[str, Any] = {"name": name, "summary": about, "paper": paper}
    more: dict[str, Any] = {"cutout": CUTOUT.get(name, 0), **LARGER.get(name, {})}
    return Recipe(**about_all, search=search, fit=fit, distillation=distillation, **more)
