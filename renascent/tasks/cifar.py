"""CIFAR-10 and CIFAR-100: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009."""

from functools import partial
from pathlib import Path
from typing import Any

from renascent.tasks.augment import Augmentation
from renascent.tasks.download import Archive
from renascent.tasks.formats import damaged, read_cifar, read_npz
from renascent.tasks.sources import SUBSET, DataSet, Found, mosaic, present
from renascent.tasks.split import official_cifar10_split


def _binary(files: tuple[str, ...], label_bytes: int, what: str, folder: Path) -> Found | None:
    """Read the official binary version. files: the last of them is the test split."""
    paths = [folder / file for file in files]
    if not present(*paths):
        return None
    return Found(read_cifar(paths[:-1], label_bytes), read_cifar(paths[-1:], label_bytes), what)


def _mosaic_10(folder: Path) -> Found | None:
    parts = [f"train_{i}" for i in range(1, 6)]
    found = mosaic("cifar10", 32, 3, "WebP mosaics in the original training order", folder, parts)
    if found is None:
        return None
    labels = folder / "images" / "cifar10_labels.npz"
    (exact,) = read_npz(labels, "test_exact")
    if exact.dtype != bool:
        raise damaged(labels, f"its test_exact are {exact.dtype}, not bool")
    lossy = f"; {(~exact).sum()} of {len(exact)} test images are lossy JPEG copies" if not exact.all() else ""
    return found._replace(what=found.what + lossy)


def _cifar(number: int, folder: str, archive_md5: str, megabytes: float, **about: Any) -> DataSet:
    """Return CIFAR-10 or CIFAR-100. folder: in its archive.  about: what else makes a `DataSet`."""
    archive = f"cifar-{number}-binary.tar.gz"
    return DataSet(
        title=f"CIFAR-{number}",
        citation="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
        augmentation=Augmentation(flip=True, pad=4),
        archives=(Archive(f"https://www.cs.toronto.edu/~kriz/{archive}", archive_md5, archive, megabytes),),
        advice=f"put {archive}, or what is in it ({folder}/), there",
        **about,
    )


BATCHES = (*(f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)), "cifar-10-batches-bin/test_batch.bin")

CIFAR10 = _cifar(
    10,
    "cifar-10-batches-bin",
    "c32a1d4ab5d03f1284b67883e8d87530",
    162,
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    official=partial(_binary, BATCHES, 1, "official binary version"),
    mosaic=_mosaic_10,
    official_split=official_cifar10_split,
)

CIFAR100 = _cifar(
    100,
    "cifar-100-binary",
    "03b5dce01913d631647c71ecec9e9cb8",
    161,
    classes=tuple(str(label) for label in range(100)),
    official=partial(
        _binary, ("cifar-100-binary/train.bin", "cifar-100-binary/test.bin"), 2, "official binary version, fine labels"
    ),
    mosaic=partial(mosaic, "cifar100_subset", 32, 3, SUBSET),
)
