"""The weight-sharing searches of NATS-Bench, Dong, Liu, Musial and Gabrys, arXiv:2009.00437, Sec. 5, on CIFAR-10."""

from __future__ import annotations

from renascent.core.protocols import OneShot, WeightRule
from renascent.experiment.recipes.recipe import Recipe, SearchPart
from renascent.nets.cells.nats import NatsTopology
from renascent.strategies.darts import DARTS, DARTSSecondOrder
from renascent.strategies.enas import ENAS
from renascent.strategies.gdas import GDAS
from renascent.strategies.rsps import RSPS
from renascent.strategies.setn import SETN
from renascent.tasks.prepare import ImageOptions


def rsps() -> Recipe:
    """Return random search with parameter sharing, best of 100 cells."""
    return _recipe("rsps", RSPS(candidates=100))


def darts() -> Recipe:
    """Return DARTS, first order."""
    return _recipe("darts", DARTS(arch_lr=3e-4, arch_weight_decay=1e-3))


def darts_second_order() -> Recipe:
    """Return DARTS, second order."""
    return _recipe("darts-second-order", DARTSSecondOrder(arch_lr=3e-4, arch_weight_decay=1e-3))


def gdas() -> Recipe:
    """Return GDAS, temperature 10 to 0.1."""
    return _recipe("gdas", GDAS(arch_lr=3e-4, arch_weight_decay=1e-3, tau_start=10.0, tau_end=0.1))


def setn() -> Recipe:
    """Return SETN, best of 100 cells."""
    return _recipe("setn", SETN(arch_lr=3e-4, arch_weight_decay=1e-3, candidates=100))


def enas() -> Recipe:
    """Return ENAS, its LSTM updated 50 times an epoch; best of 100 cells."""
    return _recipe("enas", ENAS())


def _recipe(name: str, strategy: OneShot) -> Recipe:
    return Recipe(
        name=f"nats-topology-{name}",
        search=SearchPart(
            space=NatsTopology(channels=16, cells=5),
            strategy=strategy,
            data="cifar10",
            # the authors' bilevel searches augment the validation half too; ENAS's controller sees plain images
            options=ImageOptions(split="official", augment_val=name != "enas"),
            epochs=100,
            batch=64,
            weights=WeightRule(lr=0.025, lr_end=0.001, momentum=0.9, nesterov=True, weight_decay=5e-4, clip=5.0),
        ),
    )
