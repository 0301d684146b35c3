"""How TAS trains what it found, with the unpruned network as teacher: Dong and Yang, NeurIPS 2019, arXiv:1905.09717.

Its images are mirrored and cropped after padding by 4 (CIFAR), as `tasks.DATASETS` has them.
"""

from __future__ import annotations

from renascent.core.protocols import WeightRule
from renascent.experiment.recipes.recipe import Recipe
from renascent.loops.fit import Fit
from renascent.tasks.distill import Distillation


def cifar() -> Recipe:
    """Return the training on CIFAR: 0.1 label + 0.9 T^2 soft targets at T = 4, which is what works."""
    return _cifar("tas-cifar", Distillation.recipe())


def cifar_as_printed() -> Recipe:
    """Return the training on CIFAR with the loss as the paper prints it: 0.9 label + 0.1 soft targets, without T^2.

    The text gives lambda = 0.9, and the equation puts it before the labels' loss.
    """
    return _cifar("tas-cifar-as-printed", Distillation.as_printed(0.9))


def imagenet() -> Recipe:
    """Return the training on ImageNet: labels smoothed by 0.1 and soft targets, half and half, weight decay 1e-4."""
    return Recipe(
        name="tas-imagenet",
        fit=Fit(epochs=120, batch=256, weights=_weights(1e-4), label_smoothing=0.1),
        distillation=Distillation.recipe(large_images=True),
    )


def _cifar(name: str, distillation: Distillation) -> Recipe:
    return Recipe(
        name=name,
        fit=Fit(epochs=300, batch=256, weights=_weights(5e-4)),
        distillation=distillation,
    )


def _weights(decay: float) -> WeightRule:
    return WeightRule(lr=0.1, lr_end=0.0, momentum=0.9, nesterov=True, weight_decay=decay, clip=0.0)
