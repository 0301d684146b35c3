"""The numbers of DSO-NAS and BayesNAS, which prune scales to zero. What a text does not give is said, and what is used.

In neither is the penalty's weight tied to a size: a budget at the command line, such as "macs<=0.35x", makes one exact.
"""

from typing import Any

from renascent.core.protocols import WeightRule
from renascent.experiment.recipes.recipe import SearchPart
from renascent.loops.fit import Fit
from renascent.nets.cells.darts import DartsCells
from renascent.nets.cells.dso import DSO
from renascent.nets.cells.pyramid import PyramidTree
from renascent.strategies.bayesnas import BayesNAS
from renascent.strategies.dsonas import DSONAS
from renascent.tasks.prepare import ImageOptions

IMAGENET = {"blocks": (2, 2, 13, 6), "stem": "imagenet"}
"""DSO-NAS's network for ImageNet, Sec. 4.3."""


def _nag(lr: float, lr_end: float, decay: float, **about: Any) -> WeightRule:
    return WeightRule(lr=lr, lr_end=lr_end, momentum=0.9, nesterov=True, weight_decay=decay, clip=0.0, **about)


def _dso(share: bool, val: float = 0.5, ratio: int = 1) -> SearchPart:
    """Return a search of DSO-NAS on CIFAR-10, arXiv:1811.01567, Sec. 4.2: half of its epochs move weights only.

    val: images to learn scales from.  ratio: weight steps to one scale step.
    """
    return SearchPart(
        space=DSO(blocks=(8, 8, 8), levels=4, share=share),
        strategy=DSONAS(pretrain=0.5, weights_per_scale=ratio, adaptive="macs"),
        data="cifar10",
        options=ImageOptions(val=val, augment_val=True),
        epochs=240,
        batch=128,
        weights=_nag(0.1, 0.1, 3e-4),
    )


def _bayesian(space: DartsCells | PyramidTree, shrinkage: float, batch: int) -> SearchPart:
    """Return a search of BayesNAS on CIFAR-10, Yang's thesis, Sec. 5-1 and 5-2: an epoch plainly, one with scales.

    What the thesis leaves to DARTS is taken from there: half of the images to validate on, weight decay, clipping.
    """
    return SearchPart(
        space=space,
        strategy=BayesNAS(shrinkage=shrinkage, iterations=1, warmup=0.5),
        data="cifar10",
        options=ImageOptions(),
        epochs=2,
        batch=batch,
        weights=WeightRule(lr=0.1, lr_end=0.1, momentum=0.9, nesterov=False, weight_decay=3e-4, clip=5.0),
    )


CELLS = DartsCells(channels=36, layers_count=8, decisions="subset")
"""The text gives the cells; the channels are the authors'."""

SEARCHES: dict[str, SearchPart] = {
    # the text gives neither channels nor the penalty's weight
    "dso-share": _dso(share=True),
    "dso-full": _dso(share=False),
    # Table 3, in which images are divided as steps are
    "dso-share-4-1": _dso(share=True, val=10_000, ratio=4),
    # Sec. 4.3: 30 epochs of weights, 30 with scales
    "dso-imagenet": SearchPart(
        space=DSO(share=True, levels=4, **IMAGENET),  # type: ignore[arg-type]
        strategy=DSONAS(pretrain=0.5, weights_per_scale=4, adaptive="macs"),
        data="imagenet",
        options=ImageOptions(val=0.2, augment_val=True, image_size=224),
        epochs=60,
        batch=256,
        weights=_nag(0.1, 0.1, 4e-5),
    ),
    **{f"bayesnas-{shrinkage}": _bayesian(CELLS, shrinkage, 18) for shrinkage in (0.01, 0.007, 0.005)},
    "bayesnas-tree": _bayesian(PyramidTree(blocks=18, final_channels=4 * (16 + 84), tree="A"), 0.01, 32),
}

TRAININGS: dict[str, Fit] = {
    # DSO-NAS, Sec. 4.2 and 4.3; batch and decay on CIFAR are those of its search, the auxiliary weight of both CIFAR's
    "dso-fit-cifar": Fit(
        epochs=630,
        batch=128,
        weights=_nag(0.05, 0.001, 3e-4, restart_epochs=10, restart_factor=2),
        drop_path=0.5,
        auxiliary=0.4,
    ),
    "dso-fit-imagenet": Fit(
        epochs=240, batch=1024, weights=_nag(0.5, 0.0, 4e-5, linear=True), label_smoothing=0.1, auxiliary=0.4
    ),
    # BayesNAS, Sec. 5-1: DARTS's training, but for the batch
    "bayesnas-fit": Fit(
        epochs=600,
        batch=128,
        weights=WeightRule(lr=0.025, lr_end=0.0, momentum=0.9, nesterov=False, weight_decay=3e-4, clip=5.0),
        drop_path=0.2,
        auxiliary=0.4,
    ),
    # Sec. 5-2: the pipeline of ProxylessNAS, whose epochs and decay these are
    "bayesnas-tree-fit": Fit(epochs=300, batch=64, weights=_nag(0.1, 0.0, 1e-4)),
}

CUTOUT = dict.fromkeys(("dso-fit-cifar", "bayesnas-fit", "bayesnas-tree-fit"), 16)

LARGER: dict[str, dict[str, Any]] = {
    "dso-fit-cifar": {"network": {"dropout": 0.6}},
    # the paper's networks have 571 to 608 million multiply-accumulates, "under 600M"
    "dso-fit-imagenet": {"network": IMAGENET, "most_macs": 600_000_000},
    "bayesnas-fit": {"network": {"channels": 36, "layers_count": 20}},
}
