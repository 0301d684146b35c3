"""Data sets by name. A task is what is to be learnt: here, to tell the classes of images."""

from __future__ import annotations

import os
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

DOWNLOADS = {
    "digits": "already there",
    "mnist": "`download=True` fetches 12 MB",
    "fashion-mnist": "`download=True` fetches 31 MB",
    "cifar10": "`download=True` fetches 162 MB",
    "cifar100": "`download=True` fetches 161 MB",
    "imagenet16-120": "to be put in place by hand",
}
"""How the files of each data set come, said without importing what reads them."""


def is_folder(name: str) -> bool:
    """Return whether a name is that of a folder: an empty one is not, though Python takes it for the present one.

    >>> is_folder("."), is_folder(""), is_folder("x" * 10_000)
    (True, False, False)
    """
    return bool(name) and os.path.isdir(name)
