"""Benchmark tables: what every architecture scored and cost, looked up instead of trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from renascent.bench.tables.columns import Column, Problem
from renascent.bench.tables.file import ADVICE, open_arrays, space_from_json, space_to_json, write_arrays
from renascent.core.errors import UserError, unknown
from renascent.core.files import Json
from renascent.core.schema import checked
from renascent.core.space import Arch, Space
from renascent.core.text import short

ARCHS = "archs"


@dataclass(frozen=True)
class _Description:
    """What a file says in words. Raises ValueError for two columns or problems of one name."""

    name: str
    space: Json
    columns: list[Column]
    problems: list[Problem]
    about: dict[str, str]

    def __post_init__(self) -> None:
        for what, names in (("columns", [c.key for c in self.columns]), ("problems", [p.name for p in self.problems])):
            if len(set(names)) < len(names):
                raise ValueError(f"two of its {what} have one name")


@dataclass(frozen=True, eq=False)
class Table:
    """Measured quantities of architectures. Open one with `Table.open`, or make one with `Table.of`.

    space: where the architectures are from.
    archs: option indices of each row, (rows, decisions).
    columns: by key.
    problems: search problems by name.
    about: source, licence, citation and the like, in words.

    >>> from renascent.core.codecs.nats_topology import topology_space
    >>> space = topology_space(2, ("none", "skip"))
    >>> column = Column("val_accuracy", "digits", 12)
    >>> table = Table.of("toy", space, [[0], [1]], {column: np.array([10.0, 90.0])})
    >>> table.query("|skip~0|", "val_accuracy"), table.query(0, "val_accuracy:digits:12")
    (90.0, 10.0)
    """

    name: str
    space: Space
    archs: NDArray[np.integer]
    columns: Mapping[str, Column]
    problems: Mapping[str, Problem]
    about: Mapping[str, str]
    _source: Callable[[str], NDArray[Any]] = field(repr=False)
    _read: dict[str, NDArray[Any]] = field(repr=False, default_factory=dict)

    @classmethod
    def of(
        cls,
        name: str,
        space: Space,
        archs: ArrayLike,
        columns: Mapping[Column, NDArray[Any]],
        problems: Sequence[Problem] = (),
        about: Mapping[str, str] | None = None,
    ) -> Table:
        """Make a table of arrays in memory. Raises UserError when shapes or names do not fit."""
        rows = np.asarray(archs)
        rows = rows.reshape(len(rows), -1) if len(rows) else rows.reshape(0, len(space.decisions))
        arrays = {column.key: np.asarray(values) for column, values in columns.items()}
        if len(arrays) < len(columns):
            raise UserError(f"table '{name}' has two columns of one name: tell them apart by data, epochs or device")
        described = {column.key: column for column in columns}
        table = cls(name, space, rows, described, {p.name: p for p in problems}, dict(about or {}), arrays.__getitem__)
        table._check({key: value.shape for key, value in arrays.items()})
        return table

    @classmethod
    def open(cls, path: str | Path) -> Table:
        """Open a table's file; columns are read, and their checksums verified, when first used.

        Raises UserError for a missing, truncated, damaged or foreign file, or one of another version.
        """
        path = Path(path)
        file = open_arrays(path)
        stored = checked(_Description, file.description, path, ADVICE)
        columns = {column.key: column for column in stored.columns}
        problems = {problem.name: problem for problem in stored.problems}
        space = space_from_json(stored.space, path)
        if strange := file.arrays.keys() ^ {ARCHS, *columns}:
            name, lacks = short(min(strange)), strange <= file.arrays.keys()
            why = f"it does not say what its array {name} is" if lacks else f"it has no array {name}"
            raise UserError(f"{path} is damaged ({why}): {ADVICE}")
        try:
            shapes = {key: shape for key, (_, shape, _, _) in file.arrays.items()}
            if shapes[ARCHS][1:] != (len(space.decisions),) or file.arrays[ARCHS][0].kind == "f":
                raise UserError(f"its architectures are an array of shape {short(shapes[ARCHS])}, not of its space")
            table = cls(stored.name, space, file.read(ARCHS), columns, problems, stored.about, file.read)
            table._check(shapes)
        except UserError as e:
            raise UserError(str(e) if str(path) in str(e) else f"{path} is damaged ({e}): {ADVICE}") from None
        return table

    def save(self, path: str | Path) -> Path:
        """Write the table, whole or not at all, and return its path. Raises UserError when it cannot be written."""
        description = {
            "name": self.name,
            "space": space_to_json(self.space),
            "columns": [asdict(column) for column in self.columns.values()],
            "problems": [asdict(problem) for problem in self.problems.values()],
            "about": {key: str(value) for key, value in self.about.items()},
        }
        arrays = {key: self.array(key) for key in self.columns}
        write_arrays(Path(path), description, {ARCHS: np.asarray(self.archs), **arrays})
        return Path(path)

    def _check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        if self.archs.shape[1:] != (len(self.space.decisions),) or self.archs.dtype.kind not in "iu":
            shape = f"{self.archs.dtype} {self.archs.shape}"
            raise UserError(
                f"table {short(self.name)} has architectures of shape {shape}, not option indices of its space"
            )
        if strange := np.flatnonzero(((self.archs < 0) | (self.archs >= np.array(self.space.counts))).any(1)).tolist():
            given = short(self.archs[strange[0]].tolist())
            raise UserError(f"row {strange[0]} of table {short(self.name)} is {given}, no option indices of its space")
        if not len(self) or len(self.places) < len(self):
            rows = [self.places[tuple(row)] for row in self.archs.tolist()]
            twice = next((k for k, row in enumerate(rows) if row != k), None)
            why = "no architecture" if twice is None else f"rows {twice} and {rows[twice]} of one architecture"
            raise UserError(f"table {short(self.name)} has {why}: give each architecture once")
        for key, column in self.columns.items():
            self._check_shape(column, shapes[key])
        for problem in self.problems.values():
            for key in (problem.signal, problem.seconds, problem.result):
                self.find(key)

    def _check_shape(self, column: Column, given: tuple[int, ...]) -> None:
        shape = (len(self), *(len(axis) for axis in (column.seeds, column.at) if axis))
        if given != shape:
            raise UserError(f"column '{column.key:.80}' has shape {short(given)}: give {shape}")

    def __len__(self) -> int:
        return len(self.archs)

    # --- architectures

    def row(self, arch: Arch | str | int) -> int:
        """Return the row of an architecture, given as itself, as a row's number, or as its exchange string.

        Raises UserError for one that is not in the table.
        """
        if isinstance(arch, int | np.integer):
            if not 0 <= arch < len(self):
                raise UserError(f"index {short(arch)} is not in table '{self.name}': give 0 to {len(self) - 1}")
            return int(arch)
        known = self.space.parse(arch) if isinstance(arch, str) else self.space.arch(arch)
        row = int(self.rows(self.space.indices(known)[None])[0])
        if row < 0:
            raise UserError(f"{self.space.format(known)} is not in table '{self.name}': it has {len(self)} others")
        return row

    def rows(self, indices: ArrayLike) -> NDArray[np.int64]:
        """Return the row (n,) of each architecture given as option indices (n, decisions); -1 where there is none."""
        return np.array([self.places.get(tuple(row), -1) for row in np.asarray(indices).tolist()], dtype=np.int64)

    def arch(self, row: int) -> Arch:
        """Return the architecture of a row."""
        return self.space.from_indices(self.archs[self.row(row)])

    @cached_property
    def places(self) -> Mapping[tuple[int, ...], int]:
        """The row of each architecture, by its option indices."""
        return {tuple(picks): row for row, picks in enumerate(self.archs.tolist())}

    # --- values

    def find(self, name: str, **wanted: Any) -> Column:
        """Return the one column of a key, or of a metric and what else tells it apart.

        name: a key such as "val_accuracy:cifar10:12", or as much of it as names one column.
        wanted: data, epochs or device.
        Raises UserError, listing what there is, when none fits or several do.
        """
        if name in self.columns and not wanted:
            return self.columns[name]
        first, *rest = name.split(":")
        fits = [c for c in self.columns.values() if c.metric == first and set(rest) <= set(c.key.split(":"))]
        fits = [c for c in fits if all(getattr(c, field) == value for field, value in wanted.items())]
        if len(fits) == 1:
            return fits[0]
        asked = ", ".join([f"'{name:.80}'", *(f"{field} {short(value)}" for field, value in wanted.items())])
        if not fits:
            raise unknown(f"column of table '{self.name}':", asked.strip("'"), self.columns)
        listed = ", ".join(c.key for c in fits)
        raise UserError(f"{asked} is not one column of table '{self.name}' but several: name one of {listed}")

    def array(self, name: str, **wanted: Any) -> NDArray[Any]:
        """Return a whole column, read-only, (rows, [seeds], [at]); NaN where nothing is known. Errors as `find`."""
        key = self.find(name, **wanted).key
        if key not in self._read:
            values = self._source(key).view()
            self._check_shape(self.columns[key], values.shape)
            low, high = self.columns[key].limits
            if strange := np.flatnonzero((values < low) | (values > high) | np.isinf(values)).tolist():
                given = f"{values.flat[strange[0]]:g} in row {strange[0] // (values.size // len(self))}"
                raise UserError(f"column '{key:.80}' of table {short(self.name)} has {given}: get or build it again")
            values.flags.writeable = False
            self._read[key] = values
        return self._read[key]

    def values(self, name: str, *, seed: int | None = None, at: int | None = None, **wanted: Any) -> NDArray[Any]:
        """Return one number for every row, (rows,); NaN where nothing is known.

        seed: of one training; the mean over those that are known unless given.  at: epoch; the last unless given.
        Raises UserError for a seed or an epoch that the column has not.
        """
        column = self.find(name, **wanted)
        values = self.array(column.key)
        if column.at:
            values = values[..., _place(column, "epoch", column.at, at if at is not None else column.at[-1])]
        elif at not in (None, column.epochs):
            raise UserError(f"column '{column.key}' has no epoch {at}: it knows the last one only")
        if column.seeds and seed is None:
            return mean_of_known(values, 1)
        if seed is not None:
            values = values[:, _place(column, "seed", column.seeds, seed)]
        return values

    def query(
        self, arch: Arch | str | int, name: str, *, seed: int | None = None, at: int | None = None, **wanted: Any
    ) -> float:
        """Return one number of one architecture; arguments as `row` and `values`.

        Raises UserError for what is not in the table, and where the number is missing.
        """
        column = self.find(name, **wanted)
        row = self.row(arch)
        value = float(self.values(column.key, seed=seed, at=at)[row])
        if np.isnan(value):
            raise UserError(f"column '{column.key}' has no value for row {row} of table '{self.name}'")
        return value

    def complete(self, name: str, **how: Any) -> NDArray[Any]:
        """Return `values`, none of them missing. Raises UserError that says how many are."""
        values = self.values(name, **how)
        if missing := int(np.isnan(values).sum()):
            first = int(np.isnan(values).argmax())
            raise UserError(
                f"column '{name}' of table '{self.name}' has no value for {missing} of {len(self)} architectures "
                f"(row {first} is the first): choose another column"
            )
        return values

    def problem(self, name: str) -> Problem:
        """Return a search problem by name. Raises UserError for one that the table does not pose."""
        if name not in self.problems:
            raise unknown(f"problem of table '{self.name}':", name, self.problems)
        return self.problems[name]


def _place(column: Column, what: str, known: Sequence[int], given: int) -> int:
    if given not in known:
        listed = ", ".join(map(str, known)) or "none: it has one value an architecture"
        raise UserError(f"column '{column.key}' has no {what} {given}: known are {listed}")
    return known.index(given)


def mean_of_known(values: NDArray[Any], axes: int | tuple[int, ...]) -> NDArray[np.float64]:
    """Return the mean over axes of what is known; NaN where nothing is."""
    known = ~np.isnan(values)
    total, count = np.where(known, values, 0).sum(axes, dtype=np.float64), known.sum(axes)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
