"""NAS-Bench-201 as compact arrays: `nb201.npz`, and beside it its hardware and learning curves where they are."""

import math
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from renascent.bench.importers._official import problems
from renascent.bench.importers._plain import DAMAGE
from renascent.bench.tables.columns import Column
from renascent.bench.tables.file import refuse_pipe
from renascent.bench.tables.table import Table
from renascent.core.codecs.nats_topology import OPERATIONS, official_order, topology_space
from renascent.core.errors import UserError
from renascent.core.text import short

DATA = {"c10valid": "cifar10-valid", "c10": "cifar10", "c100": "cifar100", "in16": "imagenet16-120"}
"""Suffix of an array -> data set; "cifar10-valid" trains on half of the training images and validates on the rest."""

SUFFIXES = "|".join(DATA)

SEEDS = (777, 888, 999)

TABLE, HARDWARE, CURVES = "nb201.npz", "nb201_hardware.npz", "nb201_learning_curves_subset.npz"

CURVES_DATA = "cifar10-valid-curves"
"""Name of the data set of the learning curves: cifar10-valid, but means over seeds, and of 200 cells only."""

HARDWARE_METRICS = {
    "latency": "latency_ms",
    "energy": "energy_mj",
    "arithmetic_intensity": "arithmetic_intensity",
}

ABOUT = {
    "source": "Dong and Yang, NAS-Bench-201, ICLR 2020, arXiv:2001.00326; Dong et al., NATS-Bench, arXiv:2009.00437",
    "fidelity": "one value an architecture for the 12-epoch schedule: there are no curves, so no fidelity below 12",
}

HARDWARE_ABOUT = (
    "Li et al., HW-NAS-Bench, ICLR 2021, arXiv:2103.10584; Lee et al., HELP, NeurIPS 2021, arXiv:2106.08630"
)

Read = Callable[[], NDArray[Any]]


MOST_BYTES = 200_000_000
"""Of one array, at most."""


class Npz:
    """Arrays of an .npz file, each read when asked for. Raises UserError when one cannot be."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            refuse_pipe(path)
            with self._opened() as held:
                self.names = tuple(held.files)
                assert held.zip is not None, "it is open"
                for member in held.zip.infolist():
                    held.zip.open(member).close()  # raises where the list of files and the files have other names
        except DAMAGE as e:
            why = f"{e!s:.200}"
            raise UserError(f"cannot read the table {path}: {why}; check the name, or get the file again") from None

    def __getitem__(self, name: str) -> NDArray[Any]:
        try:
            with self._opened() as held:
                assert held.zip is not None, "it is open"
                _check_size(held.zip, held.zip.getinfo(f"{name}.npy"))
                return np.asarray(held[name])
        except DAMAGE as e:
            raise UserError(f"{self.path} is damaged ({name:.80}: {e!s:.200}): get the file again") from None

    @contextmanager
    def _opened(self) -> Iterator[NpzFile]:
        with self.path.open("rb") as file, np.load(file, allow_pickle=False) as held:
            if not isinstance(held, NpzFile):
                raise ValueError("it is one array, and no .npz file of several")
            yield held


def _check_size(held: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Raise ValueError for an array whose header promises more numbers than are there: numpy makes room for all."""
    with held.open(member) as file:
        old = np.lib.format.read_magic(file) == (1, 0)
        read = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
        shape, _, kind = read(file)
        start = file.tell()
    if not kind.hasobject and (kind.kind not in "iuf" or math.prod(shape) * kind.itemsize != member.file_size - start):
        raise ValueError(f"{kind} of shape {short(shape)} in {member.file_size} bytes")
    if member.file_size > MOST_BYTES:
        raise ValueError(f"{member.file_size} bytes, over {MOST_BYTES}")


def read_compact(path: Path) -> Table:
    """Open `nb201.npz`, with the hardware and the learning curves that lie beside it.

    Nothing but names and architectures is read before it is used. Raises UserError for a file that is missing,
    damaged or something else.
    """
    arrays = Npz(path)
    reads = dict(_results(arrays))
    if "arch_ops" not in arrays.names or not reads:
        raise UserError(f"{path} is no table that can be read: give {TABLE}, or a table of `renascent bench`")
    archs = _checked(arrays)
    about = dict(ABOUT)
    if (hardware := path.with_name(HARDWARE)).exists():
        held = Npz(hardware)
        _checked(held)
        reads |= dict(_hardware(held))
        about["hardware"] = HARDWARE_ABOUT
    if (curves := path.with_name(CURVES)).exists():
        reads |= dict(_curves(Npz(curves), len(archs)))
        about["curves"] = f"of 200 cells, as the data set {CURVES_DATA}"
    columns = {column.key: column for column in reads}
    posed = {problem.name: problem for problem in problems(200, columns)}
    by_key = {column.key: read for column, read in reads.items()}
    space = topology_space(4, OPERATIONS)
    return Table("nas-bench-201", space, archs, columns, posed, about, lambda key: by_key[key]())


def _checked(arrays: Npz) -> NDArray[Any]:
    archs = arrays["arch_ops"]
    if not np.array_equal(archs, official_order()):
        raise UserError(f"{arrays.path} is not in the order of NAS-Bench-201: get the file again")
    return archs


def _results(arrays: Npz) -> Iterator[tuple[Column, Read]]:
    """Say what the arrays of `nb201.npz` hold; what is no column is passed over."""
    for name in arrays.names:
        if parts := re.fullmatch(rf"acc(12|200)_({SUFFIXES})_(val|test|valtest)(_seeds)?", name):
            epochs, data, split, seeds = parts.groups()
            if not seeds and f"{name}_seeds" in arrays.names:
                continue  # the mean of a column that has seeds
            column = Column(
                f"{split}_accuracy", DATA[data], int(epochs), seeds=SEEDS if seeds else (), note=_note(name)
            )
            yield column, partial(arrays.__getitem__, name)
        elif parts := re.fullmatch(rf"(params_m|flops_m)_({SUFFIXES})", name):
            metric = {"params_m": "params", "flops_m": "macs"}[parts[1]]
            yield Column(metric, DATA[parts[2]]), partial(_millions, arrays, name)
        elif parts := re.fullmatch(rf"train_time_per_epoch_({SUFFIXES})", name):
            note = "training alone, without evaluation"
            column = Column("seconds_per_epoch", DATA[parts[1]], measured=True, note=note)
            yield column, partial(arrays.__getitem__, name)


def _note(name: str) -> str:
    if name.startswith("acc12"):
        return "mean of seeds 111 and 777" if "c10valid" in name else "seed 111"
    if name in ("acc200_c100_val", "acc200_in16_val"):
        return "twice the accuracy on validation and test images together less that on test images"
    return "" if name.endswith("_seeds") else "mean over seeds"


def _millions(arrays: Npz, name: str) -> NDArray[np.int64]:
    return np.round(arrays[name] * 1e6).astype(np.int64)


def _hardware(arrays: Npz) -> Iterator[tuple[Column, Read]]:
    """Say what the arrays of `nb201_hardware.npz` hold.

    HELP took four of its devices from HW-NAS-Bench: their names end in "-help", so that `latency_ms:pixel3` means one
    column of a data set.
    """
    metrics = "|".join(HARDWARE_METRICS)
    theirs = set()
    for name in arrays.names:
        if parts := re.fullmatch(rf"(\w+?)_({metrics})_(c10|c100|in16)", name):
            device, metric, data = parts.groups()
            theirs.add(device)
            modelled = device == "eyeriss" or metric == "arithmetic_intensity"
            note = "HW-NAS-Bench" + (", from a model of the chip" if device == "eyeriss" else "")
            column = Column(HARDWARE_METRICS[metric], DATA[data], device=device, measured=not modelled, note=note)
            yield column, partial(_positive, arrays, name)
    for name in arrays.names:
        if parts := re.fullmatch(r"help_latency_(?:(1080ti|2080ti|titan\w*)_(1|32|256)|(\w+))", name):
            gpu, batch, other = parts.groups()
            device = f"{gpu}-b{batch}".replace("_", "-") if gpu else other.replace("_", "-")
            device += "-help" if device in theirs else ""
            note = "HELP, networks for images of CIFAR's size" + (f", {batch} at a time" if gpu else "")
            column = Column("latency_ms", device=device, measured=other != "eyeriss", note=note)
            yield column, partial(_positive, arrays, name)


def _positive(arrays: Npz, name: str) -> NDArray[Any]:
    """Return measurements; the edge TPU could not run some cells, which its file says by -1."""
    values = arrays[name]
    return np.where(values < 0, np.nan, values).astype(values.dtype)


def _curves(arrays: Npz, rows: int) -> Iterator[tuple[Column, Read]]:
    """Say what the arrays of `nb201_learning_curves_subset.npz` hold."""
    for name, metric in (("train_acc", "train_accuracy"), ("val_acc", "val_accuracy")):
        if name in arrays.names:
            note = "mean over seeds, after every epoch; of the first 200 cells only"
            column = Column(metric, CURVES_DATA, 200, at=tuple(range(1, 201)), note=note)
            yield column, partial(_scattered, arrays, name, rows)


def _scattered(arrays: Npz, name: str, rows: int) -> NDArray[np.float32]:
    values, places = arrays[name], arrays["arch_index"]
    if values.shape != (len(places), 200) or min(places, default=0) < 0 or max(places, default=0) >= rows:
        raise UserError(f"{arrays.path} is damaged ({name} does not fit its architectures): get the file again")
    whole = np.full((rows, 200), np.nan, np.float32)
    whole[places] = values
    return whole
