"""The file of a benchmark table: named arrays and one JSON description, in the safetensors format.

Any safetensors reader opens it. Its metadata hold `format` ("renascent-table"), `version`, `description` (JSON),
`sha256` (JSON: array name -> checksum of its bytes) and `header_sha256`, the checksum of all else in the header, which
older files lack. Arrays are mapped into memory, so that opening reads only the header; the checksum of an array is
verified when the array is first used.
"""

import hashlib
import json
import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renascent.core.codecs.nats_size import size_space
from renascent.core.codecs.nats_topology import topology_space
from renascent.core.decisions import Choice, Decision, Integer
from renascent.core.errors import UserError, unknown
from renascent.core.files import Json, parsed, replacing, writing
from renascent.core.schema import checked
from renascent.core.space import Space
from renascent.core.text import short

FORMAT, VERSION = "renascent-table", "1"

KINDS = {"F64": "<f8", "F32": "<f4", "I64": "<i8", "I32": "<i4", "I16": "<i2", "U16": "<u2", "U8": "|u1"}
"""Number types by their safetensors name."""

ADVICE = "get or build the table again"

LONGEST = 100_000_000
"""Bytes of a header, at most, as in any reader of safetensors."""


@dataclass(frozen=True)
class ArrayFile:
    """An open file. arrays: name -> (type, shape, first byte, last byte + 1)."""

    path: Path
    description: Json
    arrays: Mapping[str, tuple[np.dtype[Any], tuple[int, ...], int, int]]
    checksums: Mapping[str, str]

    def read(self, name: str) -> NDArray[Any]:
        """Return an array, mapped into memory and read-only. Raises UserError when its checksum is wrong."""
        kind, shape, first, last = self.arrays[name]
        if first == last:
            return np.empty(shape, kind)
        values = np.memmap(self.path, dtype=kind, mode="r", offset=first, shape=shape)
        if hashlib.sha256(values.data).hexdigest() != self.checksums.get(name):
            raise _damaged(self.path, f"the checksum of '{name}' is wrong")
        return np.asarray(values)


def write_arrays(path: Path, description: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays and their description, whole or not at all.

    Raises UserError for a type that the format does not have, and when the file cannot be written.
    """
    names = {np.dtype(kind): name for name, kind in KINDS.items()}
    held = {name: np.ascontiguousarray(value) for name, value in arrays.items()}
    if strange := [name for name, value in held.items() if value.dtype not in names]:
        raise UserError(f"array '{strange[0]}' is of type {held[strange[0]].dtype}: give one of {', '.join(KINDS)}")
    sums = {name: hashlib.sha256(value.data).hexdigest() for name, value in held.items()}
    meta = {"format": FORMAT, "version": VERSION, "description": json.dumps(description), "sha256": json.dumps(sums)}
    header: dict[str, Any] = {"__metadata__": meta}
    place = 0
    for name, value in held.items():
        ends = [place, place + value.nbytes]
        header[name] = {"dtype": names[value.dtype], "shape": list(value.shape), "data_offsets": ends}
        place = ends[1]
    meta["header_sha256"] = _header_sum(header)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that every array can be mapped
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as scratch, scratch.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for value in held.values():
            file.write(value.data)


def open_arrays(path: Path) -> ArrayFile:
    """Open what `write_arrays` wrote, reading no more than its header.

    Raises UserError for a missing, truncated or foreign file, and for a table of another version.
    """
    path = Path(path)
    header, start, size = _header(path)
    raw = header.get("__metadata__")
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise UserError(f"{path} is no table of renascent: make one with `renascent bench import` or `bench build`")
    if raw.get("version") != VERSION:
        raise UserError(f"{path} is a table of version {raw.get('version')!s:.20}, and this renascent reads {VERSION}")
    meta = checked(_Meta, raw, path, ADVICE)
    if meta.header_sha256 not in (None, _header_sum(header)):
        raise _damaged(path, "the checksum of its header is wrong")
    del header["__metadata__"]
    places = {name: checked(_Place, entry, path, ADVICE) for name, entry in header.items()}
    end = 0
    for place in sorted(places.values(), key=lambda place: place.data_offsets):
        if place.data_offsets[0] != end:
            raise _damaged(path, "its arrays do not lie one behind the other")
        end = place.data_offsets[1]
    if start + end != size:
        raise _damaged(path, "it is cut short, or longer than it says")
    try:
        description, checksums = parsed(meta.description.encode()), parsed(meta.sha256.encode())
    except ValueError:
        raise _damaged(path, "its description cannot be read") from None
    if not isinstance(checksums, dict) or checksums.keys() != places.keys():
        raise _damaged(path, "it has no checksum for each of its arrays")
    arrays = {
        name: (np.dtype(KINDS[p.dtype]), p.shape, start + p.data_offsets[0], start + p.data_offsets[1])
        for name, p in places.items()
    }
    return ArrayFile(path, description, arrays, checksums)


@dataclass(frozen=True)
class _Meta:
    description: str
    sha256: str
    header_sha256: str | None = None


@dataclass(frozen=True)
class _Place:
    """Where an array lies. Raises ValueError for one of unknown numbers, or that does not fill its place."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]

    def __post_init__(self) -> None:
        if self.dtype not in KINDS:
            raise ValueError(f"an array is of type {short(self.dtype)}, none of {', '.join(KINDS)}")
        first, last = self.data_offsets
        count = math.prod(self.shape) * np.dtype(KINDS[self.dtype]).itemsize
        if not all(0 <= side < 2**48 for side in self.shape) or first < 0 or last - first != count:
            raise ValueError(f"an array of shape {short(self.shape)} does not fill its place")


def _header_sum(header: Json) -> str:
    """Return the checksum of all in a header but this number itself."""
    meta = {key: value for key, value in header["__metadata__"].items() if key != "header_sha256"}
    return hashlib.sha256(json.dumps({**header, "__metadata__": meta}, sort_keys=True).encode()).hexdigest()


def _header(path: Path) -> tuple[dict[str, Any], int, int]:
    """Return the header, where the arrays begin, and the size of the file."""
    try:
        refuse_pipe(path)
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            length = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))[0]
            text = file.read(length) if 0 < length <= min(size - 8, LONGEST) else b""
    except OSError as e:
        reason = e.strerror or str(e)
        raise UserError(f"cannot read the table {path}: {reason}; check the name, or make it first") from None
    try:
        header = parsed(text)
    except ValueError:
        header = None
    if not isinstance(header, dict):
        raise _damaged(path, "it has no header")
    return header, 8 + length, size


def refuse_pipe(path: Path) -> None:
    """Raise UserError for a pipe or a device, which would be waited for."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise UserError(f"cannot read the table {path}: it is no file, but a pipe or a device; give a file")


def _damaged(path: Path, why: str) -> UserError:
    return UserError(f"{path} is damaged ({why:.300}): {ADVICE}")


TOPOLOGY, SIZE = "nats-topology", "nats-size"

MOST_NODES = 64
"""Of a cell in a table."""


def space_to_json(space: Space) -> dict[str, Any]:
    """Return a space of Choice and Integer decisions as JSON values.

    Raises UserError for one with a codec, a rule or conditions of its own, which JSON cannot hold.

    >>> space_to_json(Space({"width": Integer((8, 16))}, "mine"))
    {'name': 'mine', 'decisions': {'width': {'kind': 'Integer', 'options': [8, 16]}}}
    """
    if space.name == TOPOLOGY:
        nodes = 1 + max(int(name.partition("-")[2]) for name in space.decisions)
        return {"name": TOPOLOGY, "nodes": nodes, "operations": list(space.options(next(iter(space.decisions))))}
    if space.name == SIZE:
        return {"name": SIZE}
    plain = all(isinstance(d, Choice | Integer) and d.when is None for d in space.decisions.values())
    if not plain or space.codec or space.rules:
        raise UserError(f"space '{space.name}' cannot be written in a table: give Choice and Integer decisions only")
    decisions = {n: {"kind": type(d).__name__, "options": list(space.options(n))} for n, d in space.decisions.items()}
    return {"name": space.name, "decisions": decisions}


@dataclass(frozen=True)
class _StoredDecision:
    kind: str
    options: list[Any]

    def decision(self) -> Decision:
        """Return it. Raises UserError for options that do not fit its kind."""
        if self.kind == "Integer" and not all(type(option) is int and abs(option) < 2**63 for option in self.options):
            raise UserError(f"Integer options {short(self.options)} cannot be used: give increasing, distinct integers")
        if self.kind not in ("Integer", "Choice"):
            raise unknown("kind of decision", self.kind, ("Choice", "Integer"))
        return Integer(tuple(self.options)) if self.kind == "Integer" else Choice(tuple(self.options))


@dataclass(frozen=True)
class _StoredSpace:
    """A space as `space_to_json` writes it. nodes, operations: of a topology.  decisions: of a space of your own."""

    name: str
    nodes: int = 0
    operations: list[str] = field(default_factory=list)
    decisions: dict[str, _StoredDecision] = field(default_factory=dict)

    def space(self) -> Space:
        """Return it. Raises UserError for what is no space."""
        if self.name == TOPOLOGY:
            if self.nodes > MOST_NODES:
                raise UserError(f"a cell of {short(self.nodes)} nodes is none: give at most {MOST_NODES}")
            return topology_space(self.nodes, self.operations)
        if self.name == SIZE:
            return size_space()
        if not self.decisions:
            raise UserError(f"space {short(self.name)} is neither {TOPOLOGY} nor {SIZE}, and lists no decisions")
        return Space({name: stored.decision() for name, stored in self.decisions.items()}, self.name)


def space_from_json(description: Json, path: Path = Path("table")) -> Space:
    """Return the space that `space_to_json` wrote. Raises UserError for anything else. path: is named there."""
    stored = checked(_StoredSpace, description, path, ADVICE)
    try:
        return stored.space()
    except UserError as e:
        raise _damaged(path, str(e)) from None
