"""NAS-Bench-201 as compact arrays: `nb201.npz`, and beside it its hardware and learning curves where they are."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renascent.columns import Column, Problem
from renascent.errors import UserError
from renascent.table import Table
from renascent.topology import OPERATIONS, official_order, topology_space

DATA = {"c10valid": "cifar10-valid", "c10": "cifar10", "c100": "cifar100", "in16": "imagenet16-120"}
"""Suffix of an array -> data set; "cifar10-valid" trains on half of the training images and validates on the rest."""

SEEDS = (777, 888, 999)

PROBLEMS = tuple(
    Problem(name, f"val_accuracy:{search}:12", f"seconds_per_epoch:{search}", f"test_accuracy:{name}:200")
    for name, search in (("cifar10", "cifar10-valid"), ("cifar100", "cifar100"), ("imagenet16-120", "imagenet16-120"))
)
"""The published comparison: search by the accuracy after 12 epochs, judge by the test accuracy after 200."""

ABOUT = {
    "source": "Dong and Yang, NAS-Bench-201, ICLR 2020, arXiv:2001.00326; Dong et al., NATS-Bench, arXiv:2009.00437",
    "fidelity": "one value an architecture for the 12-epoch schedule: there are no curves, so no fidelity below 12",
}


class Npz(Mapping[str, NDArray[Any]]):
    """Arrays of an .npz file, each read when first used. Raises UserError when one cannot be."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with np.load(path, allow_pickle=False) as held:
                self.names = tuple(held.files)
        except (OSError, ValueError, zipfile.BadZipFile) as e:
            raise UserError(f"cannot read the table {path}: {e}; check the name, or get the file again") from None

    def __getitem__(self, name: str) -> NDArray[Any]:
        try:
            with np.load(self.path, allow_pickle=False) as held:
                return np.asarray(held[name])
        except (OSError, ValueError, zipfile.BadZipFile, EOFError) as e:
            raise UserError(f"{self.path} is damaged ({name}: {e}): get the file again") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


class Columns(Mapping[str, NDArray[Any]]):
    """Columns by key, read from files and brought to the table's units when first used."""

    def __init__(self, arrays: Npz, names: Mapping[str, str]) -> None:
        self.arrays, self.names = arrays, names

    def __getitem__(self, key: str) -> NDArray[Any]:
        name = self.names[key]
        values = self.arrays[name]
        if name.startswith(("params_m", "flops_m")):  # millions
            return np.round(values * 1e6).astype(np.int64)
        # the edge TPU could not run some cells, which its file says by -1
        return np.where(values < 0, np.nan, values).astype(values.dtype) if "edgetpu" in name else values

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def read_compact(path: Path) -> Table:
    """Open `nb201.npz`; nothing but its names and architectures is read before it is used.

    Raises UserError for a file that is missing, damaged or something else.
    """
    arrays = Npz(path)
    if "arch_ops" not in arrays.names:
        raise UserError(f"{path} is no table that can be read: give nb201.npz, or a table of `renascent bench`")
    archs = arrays["arch_ops"]
    if not np.array_equal(archs, official_order()):
        raise UserError(f"{path} is not in the order of NAS-Bench-201: get the file again")
    # the means are those of the columns that have seeds, which come last and take their place
    names = sorted(arrays.names, key=lambda name: name.endswith("_seeds"))
    found = {name: column for name in names if (column := _column(name)) is not None}
    columns = {column.key: column for column in found.values()}
    source = Columns(arrays, {column.key: name for name, column in found.items()})
    problems = {p.name: p for p in PROBLEMS if {p.signal, p.seconds, p.result} <= set(columns)}
    return Table("nas-bench-201", topology_space(4, OPERATIONS), archs, columns, problems, ABOUT, source)


def _column(name: str) -> Column | None:
    """Return what an array of `nb201.npz` holds; None for what is no column."""
    if parts := re.fullmatch(r"acc(12|200)_(c10valid|c10|c100|in16)_(val|test|valtest)(_seeds)?", name):
        epochs, data, split, seeds = parts.groups()
        return Column(f"{split}_accuracy", DATA[data], int(epochs), seeds=SEEDS if seeds else ())
    if parts := re.fullmatch(r"(train_time_per_epoch|params_m|flops_m)_(\w+)", name):
        metric = {"train_time_per_epoch": "seconds_per_epoch", "params_m": "params", "flops_m": "macs"}[parts[1]]
        return Column(metric, DATA[parts[2]], measured=metric == "seconds_per_epoch")
    return None
