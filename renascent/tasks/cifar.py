"""CIFAR-10 and CIFAR-100: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009."""

from __future__ import annotations

from pathlib import Path

from renascent.tasks.augment import Augmentation
from renascent.tasks.download import Archive
from renascent.tasks.formats import read_cifar, read_mosaics, read_npz
from renascent.tasks.prepare import Raw
from renascent.tasks.sources import DataSet, present
from renascent.tasks.split import official_cifar10_split

CITATION = "Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009"
SITE = "https://www.cs.toronto.edu/~kriz"

NAMES_10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
NAMES_100 = tuple(str(label) for label in range(100))


def _binary_10(folder: Path) -> Raw | None:
    root = folder / "cifar-10-batches-bin"
    train, test = [root / f"data_batch_{i}.bin" for i in range(1, 6)], root / "test_batch.bin"
    if not present(*train, test):
        return None
    return Raw(
        read_cifar(train, 1),
        read_cifar([test], 1),
        NAMES_10,
        f"CIFAR-10, official binary version; {CITATION}",
    )


def _binary_100(folder: Path) -> Raw | None:
    train, test = (folder / "cifar-100-binary" / name for name in ("train.bin", "test.bin"))
    if not present(train, test):
        return None
    source = f"CIFAR-100, official binary version, fine labels; {CITATION}"
    return Raw(read_cifar([train], 2), read_cifar([test], 2), NAMES_100, source)


def _mosaic_10(folder: Path) -> Raw | None:
    root = folder / "images"
    pictures = [*(root / f"cifar10_train_{i}.webp" for i in range(1, 6)), root / "cifar10_test.webp"]
    labels = root / "cifar10_labels.npz"
    if not present(*pictures, labels):
        return None
    (exact,) = read_npz(labels, "test_exact")
    lossy = f"; {(~exact).sum()} of {len(exact)} test images are lossy JPEG copies" if not exact.all() else ""
    return Raw(
        read_mosaics(pictures[:-1], labels, "train", tile=32, channels=3),
        read_mosaics(pictures[-1:], labels, "test", tile=32, channels=3),
        NAMES_10,
        f"CIFAR-10, WebP mosaics in the original training order{lossy}; {CITATION}",
    )


def _mosaic_100(folder: Path) -> Raw | None:
    train, test, labels = (
        folder / "images" / f"cifar100_subset_{part}" for part in ("train.webp", "test.webp", "labels.npz")
    )
    if not present(train, test, labels):
        return None
    pairs = [read_mosaics([path], labels, path.stem.rpartition("_")[2], tile=32, channels=3) for path in (train, test)]
    sizes = f"{len(pairs[0][1])} training and {len(pairs[1][1])} test images"
    source = f"CIFAR-100, a subset of {sizes} in a split of its own, not the official one; {CITATION}"
    return Raw(pairs[0], pairs[1], NAMES_100, source)


CIFAR10 = DataSet(
    official=_binary_10,
    mosaic=_mosaic_10,
    augmentation=Augmentation(flip=True, pad=4),
    archives=(
        Archive(
            f"{SITE}/cifar-10-binary.tar.gz",
            "c32a1d4ab5d03f1284b67883e8d87530",
            "cifar-10-binary.tar.gz",
            162,
        ),
    ),
    advice="put cifar-10-binary.tar.gz, or what is in it (cifar-10-batches-bin/), there",
    official_split=official_cifar10_split,
)

CIFAR100 = DataSet(
    official=_binary_100,
    mosaic=_mosaic_100,
    augmentation=Augmentation(flip=True, pad=4),
    archives=(
        Archive(
            f"{SITE}/cifar-100-binary.tar.gz",
            "03b5dce01913d631647c71ecec9e9cb8",
            "cifar-100-binary.tar.gz",
            161,
        ),
    ),
    advice="put cifar-100-binary.tar.gz, or what is in it (cifar-100-binary/), there",
)
