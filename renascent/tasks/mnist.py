"""MNIST and Fashion-MNIST, which share their files' format and names."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from renascent.tasks.augment import Augmentation
from renascent.tasks.download import Archive
from renascent.tasks.formats import Pair, damaged, read_idx
from renascent.tasks.sources import SUBSET, DataSet, Found, mosaic

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def _idx(roots: tuple[str, ...], folder: Path) -> Found | None:
    """Read the first of `roots` in `folder` that holds the four files, plain or .gz."""
    for root in roots:
        found = [
            [p for p in (folder / root / name, folder / root / f"{name}.gz") if os.path.isfile(p)] for name in FILES
        ]
        if all(found):
            paths = [candidates[0] for candidates in found]
            return Found(_pair(*paths[:2]), _pair(*paths[2:]), "official idx files")
    return None


def _pair(images: Path, labels: Path) -> Pair:
    x, y = read_idx(images), read_idx(labels)
    if x.ndim != 3 or y.shape != (len(x),):
        raise damaged(labels, f"it has the shape {y.shape} and the images beside it {x.shape}")
    return x[:, None], y.astype(np.int64)


def _mnist(title: str, site: str, files: tuple[tuple[str, float], ...], *, flip: bool, **about: Any) -> DataSet:
    """Return one of the two. files: MD5 and megabytes of each of `FILES`.  about: what else makes a `DataSet`."""
    folder = title.lower()
    return DataSet(
        title=title,
        official=partial(_idx, (folder, f"{title.replace('-', '')}/raw")),
        augmentation=Augmentation(flip=flip, pad=2),
        archives=tuple(
            Archive(f"{site}/{name}.gz", md5, f"{folder}/{name}.gz", megabytes)
            for name, (md5, megabytes) in zip(FILES, files, strict=True)
        ),
        advice=f"put its four idx files (train-images-idx3-ubyte.gz, ...) in {folder}/ there",
        **about,
    )


MNIST = _mnist(
    "MNIST",
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    (
        ("f68b3c2dcbeaaa9fbdd348bbdeb94873", 9.9),
        ("d53e105ee54ea40749a09fcbcd1e9432", 0.03),
        ("9fb629c4189551a2d022fa330f9573f3", 1.6),
        ("ec29112dd5afa0611ce80d1b7f02629c", 0.005),
    ),
    flip=False,  # a mirrored digit is another sign
    classes=tuple("0123456789"),
    citation="LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition, 1998",
    mosaic=partial(mosaic, "mnist", 28, 1, "WebP mosaics in the original order"),
)

FASHION_MNIST = _mnist(
    "Fashion-MNIST",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    (
        ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", 26.4),
        ("25c81989df183df01b3e8a0aad5dffbe", 0.03),
        ("bef4ecab320f06d8554ea6380940ec79", 4.4),
        ("bb300cfdad3c16e7a12a480ee83cd310", 0.005),
    ),
    flip=True,
    classes=(
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    citation="Xiao, Rasul and Vollgraf, Fashion-MNIST, arXiv:1708.07747",
    mosaic=partial(mosaic, "fashion_subset", 28, 1, SUBSET),
)
