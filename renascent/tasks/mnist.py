"""MNIST and Fashion-MNIST, which share their files' format and names."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from renascent.tasks.augment import Augmentation
from renascent.tasks.download import Archive
from renascent.tasks.formats import Pair, damaged, read_idx, read_mosaics
from renascent.tasks.prepare import Raw
from renascent.tasks.sources import DataSet, present

MNIST_CITATION = "LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition, 1998"
FASHION_CITATION = "Xiao, Rasul and Vollgraf, Fashion-MNIST, arXiv:1708.07747"
FASHION_NAMES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def _idx(folder: Path, roots: tuple[str, ...]) -> tuple[Pair, Pair] | None:
    """Return (train, test) from the first of `roots` in `folder` that holds the four files, plain or .gz."""
    for root in roots:
        found = [[p for p in (folder / root / name, folder / root / f"{name}.gz") if p.is_file()] for name in FILES]
        if all(found):
            paths = [candidates[0] for candidates in found]
            return _pair(*paths[:2]), _pair(*paths[2:])
    return None


def _pair(images: Path, labels: Path) -> Pair:
    x, y = read_idx(images), read_idx(labels)
    if x.ndim != 3 or y.shape != (len(x),):
        raise damaged(labels, f"it has the shape {y.shape} and the images beside it {x.shape}")
    return x[:, None], y.astype(np.int64)


def _mnist(folder: Path) -> Raw | None:
    if (pairs := _idx(folder, ("mnist", "MNIST/raw"))) is None:
        return None
    return Raw(*pairs, tuple("0123456789"), f"MNIST, official idx files; {MNIST_CITATION}")


def _fashion(folder: Path) -> Raw | None:
    if (pairs := _idx(folder, ("fashion-mnist", "FashionMNIST/raw"))) is None:
        return None
    return Raw(*pairs, FASHION_NAMES, f"Fashion-MNIST, official idx files; {FASHION_CITATION}")


def _mosaic(folder: Path, name: str) -> tuple[Pair, Pair] | None:
    train, test, labels = (folder / "images" / f"{name}_{part}" for part in ("train.webp", "test.webp", "labels.npz"))
    if not present(train, test, labels):
        return None
    return (
        read_mosaics([train], labels, "train", tile=28, channels=1),
        read_mosaics([test], labels, "test", tile=28, channels=1),
    )


def _mosaic_mnist(folder: Path) -> Raw | None:
    if (pairs := _mosaic(folder, "mnist")) is None:
        return None
    return Raw(*pairs, tuple("0123456789"), f"MNIST, WebP mosaics in the original order; {MNIST_CITATION}")


def _mosaic_fashion(folder: Path) -> Raw | None:
    if (pairs := _mosaic(folder, "fashion_subset")) is None:
        return None
    sizes = f"{len(pairs[0][1])} training and {len(pairs[1][1])} test images"
    source = f"Fashion-MNIST, a subset of {sizes} in a split of its own, not the official one; {FASHION_CITATION}"
    return Raw(*pairs, FASHION_NAMES, source)


def _archives(site: str, folder: str, checksums: tuple[str, ...]) -> tuple[Archive, ...]:
    sizes = (9.9, 0.03, 1.6, 0.005) if folder == "mnist" else (26.4, 0.03, 4.4, 0.005)
    return tuple(
        Archive(f"{site}/{name}.gz", md5, f"{folder}/{name}.gz", megabytes)
        for name, md5, megabytes in zip(FILES, checksums, sizes, strict=True)
    )


MNIST = DataSet(
    official=_mnist,
    mosaic=_mosaic_mnist,
    augmentation=Augmentation(flip=False, pad=2),  # a mirrored digit is another sign
    archives=_archives(
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        "mnist",
        (
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        ),
    ),
    advice="put its four idx files (train-images-idx3-ubyte.gz, ...) in mnist/ there",
)

FASHION_MNIST = DataSet(
    official=_fashion,
    mosaic=_mosaic_fashion,
    augmentation=Augmentation(flip=True, pad=2),
    archives=_archives(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        "fashion-mnist",
        (
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
    ),
    advice="put its four idx files (train-images-idx3-ubyte.gz, ...) in fashion-mnist/ there",
)
