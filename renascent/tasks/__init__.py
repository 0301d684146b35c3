"""Data sets by name. A task is what is to be learnt: here, to tell the classes of images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from renascent.core.names import Names

if TYPE_CHECKING:
    from renascent.tasks.sources import DataSet

DATASETS: Names[DataSet] = Names(
    {
        "digits": "renascent.tasks.digits:DIGITS",
        "mnist": "renascent.tasks.mnist:MNIST",
        "fashion-mnist": "renascent.tasks.mnist:FASHION_MNIST",
        "cifar10": "renascent.tasks.cifar:CIFAR10",
        "cifar100": "renascent.tasks.cifar:CIFAR100",
        "imagenet16-120": "renascent.tasks.imagenet16:IMAGENET16_120",
    }
)
