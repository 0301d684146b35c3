"""Columns that grow on disk, row by row: what an import has so far, so that it can be stopped and go on.

A folder beside the table to be made, removed when that is there:

state.json   what is imported from where, and which columns there are
N.npy        the numbers of one column, (rows, seeds, at), NaN where nothing was read yet
done.npy     which rows are complete
"""

import contextlib
import json
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renascent.bench.tables.columns import Column
from renascent.core.errors import UserError
from renascent.core.files import parsed, write_text
from renascent.core.schema import checked
from renascent.core.text import short

STATE, DONE = "state.json", "done.npy"

FLUSH_SECONDS = 5.0
"""How much work a power cut may cost; a kill costs nothing that was flushed, and no more than this."""


@dataclass(frozen=True)
class Reading:
    """Numbers of one architecture that belong in one column.

    column: without its seeds and epochs.  values: one number for each of `at`, or one.
    seed: of the training, None where the column has none.  at: epochs within the schedule, counted from 1.
    """

    column: Column
    values: NDArray[np.float64]
    seed: int | None = None
    at: tuple[int, ...] = ()


@dataclass(frozen=True)
class _StoredColumn:
    """A column, and the file of its numbers. Raises ValueError for a file that may lie elsewhere."""

    column: Column
    file: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9]{1,9}\.npy", self.file):
            raise ValueError(f"{short(self.file)} is no file of a column")


@dataclass(frozen=True)
class _State:
    identity: dict[str, Any]
    rows: int
    columns: list[_StoredColumn]


class Growing:
    """The columns of one import; it learns which there are as rows arrive."""

    def __init__(self, folder: Path, identity: Mapping[str, Any], rows: int, *, resume: bool = False) -> None:
        """Begin in a new folder, or with `resume` go on in one of the same identity.

        identity: JSON values that tell one import from another.
        Raises UserError when there is nothing to resume, when there is and `resume` is not asked for, when it is of
        another import, and when the folder cannot be written.
        """
        self.folder, self.identity, self.rows = folder, dict(identity), rows
        self.columns: dict[str, Column] = {}  # whose `at` has the last epoch even where it is the only one
        self.files: dict[str, str] = {}
        self.arrays: dict[str, NDArray[Any]] = {}
        self.done: NDArray[np.uint8] = np.zeros(rows, np.uint8)
        self.pending: list[int] = []
        self.flushed = time.monotonic()
        found = (folder / STATE).exists()
        if resume and not found:
            raise UserError(f"there is no unfinished import in {folder}: check `out`, or leave `resume=True` out")
        if found and not resume:
            raise UserError(f"{folder} holds an unfinished import: go on with `resume=True`, or remove that folder")
        if not found:
            with _writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
                np.save(folder / DONE, self.done)
                self._save_state()
        self._load()

    def put(self, row: int, readings: Iterable[Reading]) -> None:
        """Keep what was read of one architecture. Raises UserError when it cannot be written."""
        with _writing(self.folder):
            for reading in readings:
                self._fit(reading)
                column, array = self.columns[reading.column.key], self.arrays[reading.column.key]
                place = 0 if reading.seed is None else column.seeds.index(reading.seed)
                if reading.at in ((), column.at):
                    array[row, place] = reading.values
                else:
                    array[row, place, np.searchsorted(column.at, reading.at)] = reading.values
            self.pending.append(row)
            if time.monotonic() - self.flushed > FLUSH_SECONDS:
                self.flush()

    def flush(self) -> None:
        """See to it that what was put is on the disk, and only then count its rows as done."""
        with _writing(self.folder):
            for array in self.arrays.values():
                array.flush()  # type: ignore[attr-defined]
            self.done[self.pending] = 1
            self.done.flush()  # type: ignore[attr-defined]
        self.pending, self.flushed = [], time.monotonic()

    def finished(self) -> dict[Column, NDArray[Any]]:
        """Return the columns as a table holds them: axes of one seed or epoch that tell nothing are gone."""
        self.flush()
        found = {}
        for key, column in sorted(self.columns.items()):
            at = () if column.at == (column.epochs,) else column.at
            axes = [len(axis) for axis in (column.seeds, at) if axis]
            found[replace(column, at=at)] = self.arrays[key].reshape(self.rows, *axes)
        return found

    def remove(self) -> None:
        """Remove the folder."""
        self.arrays = {}
        shutil.rmtree(self.folder, ignore_errors=True)

    def _fit(self, reading: Reading) -> None:
        """Make the column, or widen it, when a reading has a seed or an epoch that it has not."""
        key, at = reading.column.key, set(reading.at)
        seeds = set() if reading.seed is None else {reading.seed}
        held = self.columns.get(key)
        if held is not None and seeds <= set(held.seeds) and at <= set(held.at):
            return
        column = held or reading.column
        wider = replace(column, seeds=tuple(sorted({*column.seeds, *seeds})), at=tuple(sorted({*column.at, *at})))
        kind = np.float32 if "accuracy" in column.metric or "loss" in column.metric else np.float64
        array = np.full((self.rows, max(1, len(wider.seeds)), max(1, len(wider.at))), np.nan, kind)
        if held is not None:
            seeds_at = [wider.seeds.index(seed) for seed in held.seeds] or [0]
            epochs_at = [wider.at.index(epoch) for epoch in held.at] or [0]
            array[np.ix_(range(self.rows), seeds_at, epochs_at)] = self.arrays[key]
        # the wider array takes the place of the column's own: at no moment is there none that the state names
        before, number = self.files.get(key), 1 + max((int(f.split(".")[0]) for f in self.files.values()), default=0)
        name = f"{number}.npy"
        np.save(self.folder / name, array)  # and not a sparse file, whose pages could meet a full disk later
        self.columns[key], self.files[key] = wider, name
        self.arrays[key] = np.load(self.folder / name, mmap_mode="r+")
        self._save_state()
        if before is not None:
            (self.folder / before).unlink()

    def _save_state(self) -> None:
        columns = [{"column": asdict(self.columns[key]), "file": name} for key, name in self.files.items()]
        text = json.dumps({"identity": self.identity, "rows": self.rows, "columns": columns}, indent=1)
        write_text(self.folder / STATE, text)

    def _load(self) -> None:
        path, advice = self.folder / STATE, "remove that folder and import again"
        try:
            state = checked(_State, parsed(path.read_bytes()), path, advice)
            if (state.identity, state.rows) != (self.identity, self.rows):
                raise UserError(
                    f"{self.folder} is an unfinished import of something else ({short(state.identity.get('source'))}): "
                    "resume with the same source, or use another `out`"
                )
            for entry in state.columns:
                column, shape = entry.column, (self.rows, max(1, len(entry.column.seeds)), max(1, len(entry.column.at)))
                self.columns[column.key], self.files[column.key] = column, entry.file
                self.arrays[column.key] = self._mapped(entry.file, shape, "f")
            self.done = self._mapped(DONE, (self.rows,), "u")
        except (OSError, ValueError) as e:
            raise UserError(f"{self.folder} cannot be resumed ({e!s:.200}): {advice}") from None

    def _mapped(self, name: str, shape: tuple[int, ...], kind: str) -> NDArray[Any]:
        """Map an array of the folder into memory. Raises ValueError for another one."""
        found: NDArray[Any] = np.load(self.folder / name, mmap_mode="r+", allow_pickle=False)
        if found.shape != shape or found.dtype.kind != kind:
            raise ValueError(f"{name} is {found.dtype} of shape {short(found.shape)}, not {shape}")
        return found


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise UserError(f"cannot write {folder}: {e.strerror or e}; free some space or use another `out`") from None
