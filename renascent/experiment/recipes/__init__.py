"""The papers' settings by name: whole searches, and trainings of one network. To list them makes none."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from renascent.core.names import Names

if TYPE_CHECKING:
    from renascent.experiment.recipes.recipe import Recipe

NATS, TAS, ESTIMATOR = "arXiv:2009.00437", "arXiv:1905.09717", "arXiv:1106.4487"
GDAS, DARTS = "arXiv:1910.04465", "arXiv:1806.09055"
PROXYLESS = "arXiv:1812.00332"
DSO, BAYES = "arXiv:1811.01567", "arXiv:1905.04123"


class Summary(NamedTuple):
    """What a recipe is. kind: "search" or "fit".  about: one line.  paper: where the settings come from."""

    kind: str
    about: str
    paper: str


def _nats(what: str, strategy: str) -> Summary:
    return Summary("search", f"the {what} search of NATS-Bench with {strategy}: CIFAR-10, 100 epochs", NATS)


def _network(epochs: int) -> Summary:
    return Summary("fit", f"NATS-Bench's training of one network: {epochs} epochs, SGD 0.1 to 0, batch 256", NATS)


def _nes(space: str, epochs: int, said: int) -> Summary:
    about = f"NES's search of {space}'s sizes: a folder of images, {epochs} epochs at batch 256 (text: {said})"
    return Summary("search", about, ESTIMATOR)


def _tas(layers: int, what: str, data: str) -> Summary:
    return Summary("search", f"TAS's search of ResNet-{layers}'s {what}: {data} epochs, SGD 0.1 to 0", TAS)


def _taught(what: str) -> Summary:
    return Summary("fit", f"TAS's training on {what}, T = 4", TAS)


def _cells(what: str, paper: str) -> Summary:
    return Summary("search", f"the search of DARTS cells by {what}, batch 64, half of CIFAR-10 to validate on", paper)


def _proxyless(what: str, how: str) -> Summary:
    return Summary("search", f"ProxylessNAS's search {what}, {how}", PROXYLESS)


def _path(what: str) -> Summary:
    return Summary("fit", f"ProxylessNAS's training on CIFAR: {what}, cutout 16", PROXYLESS)


def _dso(what: str, how: str = "half of it to learn scales from") -> Summary:
    about = f"DSO-NAS's search of {what}: CIFAR-10, {how}, 120 + 120 epochs at batch 128"
    return Summary("search", about, DSO)


def _bayes(shrinkage: float) -> Summary:
    about = f"BayesNAS's search of DARTS cells, lambda {shrinkage}: C36, 8 cells, 1 + 1 epochs at batch 18"
    return Summary("search", about, BAYES)


TREE = "of a PyramidNet of trees: CIFAR-10, 200 epochs"
CHAIN = "of the MBConv chain: a folder of images, 160 epochs at batch 256"
UPDATES = {"": "by gradient", "-reinforce": "by REINFORCE"}

TOPOLOGY = ("rsps", "darts", "darts-second-order", "gdas", "setn", "enas")

SUMMARIES = {
    **{f"nats-topology-{strategy}": _nats("topology", strategy) for strategy in TOPOLOGY},
    **{f"nats-{name}": _network(epochs) for name, epochs in (("h0", 12), ("h1", 200), ("h2", 90))},
    **{f"nes-{name}": _nes(name, 31, 64) for name in ("mobilenet-v1", "mobilenet-v2")},
    "nes-resnet50": _nes("resnet50", 16, 32),
    **{f"tas-resnet{n}": _tas(n, "widths and depths", "CIFAR-10, 600") for n in (20, 32, 56, 110, 164)},
    **{f"tas-resnet{n}": _tas(n, "widths", "a folder of images, 120") for n in (18, 50)},
    **{f"nats-size-{strategy}": _nats("size", strategy) for strategy in ("tas", "fbnetv2", "tunas", "tunas-warmup")},
    "gdas-cells": _cells("GDAS: C16 N2, 240 epochs, the best of 4 seeds", GDAS),
    "gdas-cells-fixed": _cells("GDAS with the fixed reduction cell: C16 N2, 240 epochs, the best of 4 seeds", GDAS),
    "darts-cells-first": _cells("first-order DARTS: C16, 8 cells, 50 epochs", DARTS),
    "darts-cells-second": _cells("second-order DARTS: C16, 8 cells, 50 epochs", DARTS),
    "cells-fit-cifar": Summary(
        "fit", "DARTS's training on CIFAR: C36 N6, 600 epochs, drop path 0.2, auxiliary head 0.4, cutout 16", DARTS
    ),
    "cells-fit-imagenet": Summary(
        "fit",
        "DARTS's training on ImageNet: 14 cells below 600 M MACs, 250 epochs, 0.97 an epoch, auxiliary head 0.4",
        DARTS,
    ),
    "tas-cifar": _taught("CIFAR: 300 epochs, SGD 0.1 to 0, 0.1 label + 0.9 T^2 soft"),
    "tas-imagenet": _taught("ImageNet: 120 epochs, SGD 0.1 to 0, smoothing 0.1, 0.5 label + 0.5 T^2 soft"),
    "tas-cifar-as-printed": _taught("CIFAR: 300 epochs, SGD 0.1 to 0, 0.9 label + 0.1 soft, no T^2"),
    **{f"proxyless-cifar{form}": _proxyless(TREE, how) for form, how in UPDATES.items()},
    **{f"proxyless-imagenet{form}": _proxyless(CHAIN, how) for form, how in UPDATES.items()},
    "proxyless-fit": _path("300 epochs"),
    "proxyless-fit-droppath": _path("600 epochs with drop path"),
    "dso-share": _dso("one block for the whole network"),
    "dso-full": _dso("every block by itself"),
    "dso-share-4-1": _dso("one block for the whole network", "a fifth of it to learn scales from"),
    "dso-imagenet": Summary(
        "search", "DSO-NAS's search of one block: ImageNet, 4 : 1 to learn weights and scales, 30 + 30 epochs", DSO
    ),
    "dso-fit-cifar": Summary(
        "fit",
        "DSO-NAS's training on CIFAR: 630 epochs with 5 warm restarts, dropout 0.6, drop path 0.5, cutout 16",
        DSO,
    ),
    "dso-fit-imagenet": Summary(
        "fit", "DSO-NAS's training on ImageNet below 600 M MACs: 240 epochs, 0.5 to 0 on a line, batch 1024", DSO
    ),
    **{f"bayesnas-{shrinkage}": _bayes(shrinkage) for shrinkage in (0.01, 0.007, 0.005)},
    "bayesnas-tree": Summary(
        "search", "BayesNAS's search of tree A in a PyramidNet: 18 blocks a stage, 1 + 1 epochs at batch 32", BAYES
    ),
    "bayesnas-fit": Summary(
        "fit", "BayesNAS's training of cells on CIFAR: DARTS's, C36, 20 cells, 600 epochs at batch 128", BAYES
    ),
    "bayesnas-tree-fit": Summary("fit", "BayesNAS's training of trees on CIFAR: ProxylessNAS's, 300 epochs", BAYES),
}
"""Recipe name -> what it is."""

RECIPES: Names[Recipe] = Names(
    {name: (f"{__name__}.papers:recipe", {"name": name}) for name in SUMMARIES}, use=lambda recipe: recipe()
)
