"""The copy of NAS-Bench-201 in Syne Tune's repository of black boxes on the Hugging Face hub.

A folder `nasbench201` with

metadata.json                `task_names` and `objectives_names`
hyperparameters.parquet      the operation on each edge, columns hp_x0 to hp_x5, one row a cell
fidelities_values.npy        the epochs, counted from 1
objectives_evaluations.npy   numbers, (tasks, cells, seeds, epochs, objectives)

What it calls validation error is not the paper's: the error on the authors' `ori-test`, which is CIFAR-10's test
images for networks trained on all 50,000, and validation and test images together on the other data sets. Its makers
filled a seed that was never trained with the mean of the others; such a seed is missing here.

Salinas et al., Syne Tune, AutoML 2022; the code that made it is under Apache-2.0.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renascent.bench.importers._official import DEVICE, LATENCY_NOTE
from renascent.bench.importers.compact import SEEDS
from renascent.bench.tables.columns import Column
from renascent.bench.tables.table import Table, mean_of_known
from renascent.core.codecs.nats_topology import topology_space
from renascent.core.errors import UserError, missing_extra, unknown
from renascent.core.files import parsed
from renascent.core.schema import checked

HUB, FOLDER = "synetune/blackbox-repository", "nasbench201"

METADATA, CELLS = "metadata.json", "hyperparameters.parquet"
EPOCHS, NUMBERS = "fidelities_values.npy", "objectives_evaluations.npy"

TASKS = {"cifar10": "test", "cifar100": "valtest", "imagenet16-120": "valtest"}
"""Data set, in lower case -> what its `metric_valid_error` is measured on."""

SPLIT_NOTE = "what the copy calls validation: the authors' ori-test, and not the paper's protocol"

WHOLE = {"metric_flops": ("macs", 1e6), "metric_params": ("params", 1e6)}
"""Objective, in millions, -> metric and what it is multiplied by."""

OBJECTIVES = ("metric_valid_error", "metric_train_error", "metric_runtime", "metric_latency", *WHOLE)

ABOUT = {
    "source": "Dong and Yang, NAS-Bench-201, ICLR 2020, arXiv:2001.00326; "
    f"copy of Syne Tune (Salinas et al., AutoML 2022), huggingface.co/datasets/{HUB}",
    "protocol": "no validation accuracy of the paper's protocol, and no 12-epoch schedule: the published comparison "
    "cannot be repeated on it",
    "missing": "seeds that its makers filled with the mean of the others are missing",
}


MOST_EPOCHS = 10_000
"""Of a schedule."""


@dataclass(frozen=True)
class _Metadata:
    task_names: list[str]
    objectives_names: list[str]


def is_copy(folder: Path) -> bool:
    """Return whether a folder looks like the copy."""
    return all((folder / name).exists() for name in (METADATA, NUMBERS))


def download(folder: Path | None = None) -> Path:
    """Fetch the copy from the hub, about 750 MB, and return its folder; what is there already is not fetched again.

    All files are those of one revision, and are compared with the checksums that the hub has for it.

    folder: where to; the hub's cache unless given. Raises MissingExtra without huggingface-hub, and UserError when it
    cannot be fetched, or a file is not the published one.
    """
    try:
        from huggingface_hub import HfApi, snapshot_download  # type: ignore[import-not-found,unused-ignore]
        from huggingface_hub.errors import HfHubHTTPError  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise missing_extra("huggingface_hub", "hf") from None
    try:
        about = HfApi().dataset_info(HUB, files_metadata=True)
        wanted = {"repo_type": "dataset", "revision": about.sha, "allow_patterns": f"{FOLDER}/*"}
        root = Path(snapshot_download(HUB, **wanted, local_dir=folder))
        for file in about.siblings:
            if (
                file.lfs
                and file.rfilename.startswith(f"{FOLDER}/")
                and _sha256(root / file.rfilename) != file.lfs.sha256
            ):
                raise UserError(
                    f"{root / file.rfilename} is not the file that {HUB} has: remove it, and fetch it again"
                )
    except (HfHubHTTPError, OSError, ValueError) as e:
        reason = str(e).strip().partition("\n")[0]
        raise UserError(f"cannot fetch {HUB} from huggingface.co ({reason}): try again, or give a folder") from None
    return root / FOLDER


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_blackbox(folder: Path) -> Table:
    """Return the copy in a folder as a table.

    Raises UserError for a folder that is incomplete or damaged, MissingExtra without pyarrow.
    """
    try:
        meta = checked(_Metadata, parsed((folder / METADATA).read_bytes()), folder / METADATA, "get the copy again")
        tasks, objectives = meta.task_names, meta.objectives_names
        # mapped, both: what a header promises is then compared with the file before there is room made for it
        numbers, known = (np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in (NUMBERS, EPOCHS))
        if numbers.dtype.kind != "f" or known.dtype.kind not in "iuf" or known.size > MOST_EPOCHS:
            raise ValueError(f"numbers of type {numbers.dtype} at {known.size} epochs of type {known.dtype}")
        epochs = tuple(int(epoch) for epoch in known)
    except (OSError, ValueError, TypeError, EOFError, OverflowError) as e:
        raise UserError(f"{folder} is no complete copy of {HUB} ({e!r:.100}): get it again") from None
    if missing := [name for name in OBJECTIVES if name not in objectives]:
        raise UserError(f"{folder / METADATA} does not name '{missing[0]}' among its objectives: get the copy again")
    archs = _cells(folder / CELLS)
    shape = (len(tasks), len(archs), len(SEEDS), len(epochs), len(objectives))
    if numbers.shape != shape:
        raise UserError(f"{folder / NUMBERS} has shape {numbers.shape}, and its other files say {shape}: get it again")
    columns: dict[Column, NDArray[Any]] = {}
    for place, task in enumerate(tasks):
        if task.lower() not in TASKS:
            raise unknown("task of the copy", task, TASKS)
        columns |= dict(_columns(task.lower(), numbers[place], objectives, epochs))
    return Table.of("nas-bench-201-syne-tune", topology_space(), archs, columns, (), ABOUT)


def _cells(path: Path) -> NDArray[np.uint8]:
    """Return the operations of every row, (rows, 6)."""
    try:
        import pyarrow  # type: ignore[import-not-found,import-untyped,unused-ignore]
        from pyarrow import parquet  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        raise missing_extra("pyarrow", "parquet") from None
    space = topology_space()
    try:
        held = parquet.read_table(path).to_pydict()
        named = [held[f"hp_x{k}"] for k in range(len(space.decisions))]
    except (OSError, pyarrow.ArrowException, KeyError) as e:
        raise UserError(f"{path} is damaged or of something else ({e!r:.100}): get the copy again") from None
    found = []
    for operations, edge in zip(named, space.decisions, strict=True):
        codes = {name: code for code, name in enumerate(space.options(edge))}
        if strange := sorted(set(operations) - set(codes), key=str):
            raise unknown(f"operation in {path}:", str(strange[0]), codes)
        found.append([codes[name] for name in operations])
    return np.array(found, np.uint8).T


def _columns(
    data: str, numbers: NDArray[Any], objectives: list[str], epochs: tuple[int, ...]
) -> Iterator[tuple[Column, NDArray[Any]]]:
    """Return what the copy holds of one data set. numbers: (cells, seeds, epochs, objectives)."""

    def of(name: str) -> NDArray[Any]:
        return numbers[..., objectives.index(name)]

    last = epochs[-1]
    splits = {"metric_valid_error": TASKS[data], "metric_train_error": "train"}
    filled = _filled([of(name) for name in splits])
    for name, split in splits.items():
        note = SPLIT_NOTE if split != "train" else ""
        accuracy = np.where(filled[..., None], np.float32(np.nan), (100 - 100 * of(name).astype(np.float64)))
        yield Column(f"{split}_accuracy", data, last, seeds=SEEDS, at=epochs, note=note), accuracy.astype(np.float32)
    seconds = np.where(filled[..., None], np.nan, of("metric_runtime").astype(np.float64))
    note = "training, and evaluation on ori-test; mean over epochs and seeds"
    yield Column("seconds_per_epoch", data, measured=True, note=note), mean_of_known(seconds, (1, 2))
    for name, (metric, unit) in WHOLE.items():
        yield Column(metric, data), np.round(of(name)[:, 0, 0].astype(np.float64) * unit)
    latency = of("metric_latency")[:, 0, 0].astype(np.float64) * 1e3
    yield Column("latency_ms", data, device=DEVICE, measured=True, note=LATENCY_NOTE), latency


def _filled(values: list[NDArray[Any]]) -> NDArray[np.bool_]:
    """Return which seeds, (cells, seeds), were made up: the mean of the others in every epoch of every quantity."""
    found = np.ones(values[0].shape[:2], np.bool_)
    for held in values:
        for seed in range(held.shape[1]):
            others = np.delete(held, seed, axis=1).mean(axis=1, dtype=np.float64)
            found[:, seed] &= (np.abs(held[:, seed] - others) <= 2e-7).all(axis=1)
    # seeds that are all equal cannot be told from their mean
    alone: NDArray[np.bool_] = found & (found.sum(axis=1, keepdims=True) == 1)
    return alone
