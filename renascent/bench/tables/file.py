"""The file of a benchmark table: named arrays and one JSON description, in the safetensors format.

Any safetensors reader opens it. Its metadata hold `format` ("renascent-table"), `version`, `description` (JSON) and
`sha256` (JSON: array name -> checksum of its bytes). Arrays are mapped into memory, so that opening reads only the
header; the checksum of an array is verified when the array is first used.
"""

import hashlib
import json
import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renascent.core.codecs.nats_size import size_space
from renascent.core.codecs.nats_topology import topology_space
from renascent.core.decisions import Choice, Integer
from renascent.core.errors import UserError
from renascent.core.files import replacing, writing
from renascent.core.space import Space

FORMAT, VERSION = "renascent-table", "1"

KINDS = {"F64": "<f8", "F32": "<f4", "I64": "<i8", "I32": "<i4", "I16": "<i2", "U16": "<u2", "U8": "|u1"}
"""Number types by their safetensors name."""


@dataclass(frozen=True)
class ArrayFile:
    """An open file. arrays: name -> (type, shape, first byte, last byte + 1)."""

    path: Path
    description: dict[str, Any]
    arrays: Mapping[str, tuple[np.dtype[Any], tuple[int, ...], int, int]]
    checksums: Mapping[str, str]

    def read(self, name: str) -> NDArray[Any]:
        """Return an array, mapped into memory and read-only. Raises UserError when its checksum is wrong."""
        kind, shape, first, last = self.arrays[name]
        if first == last:
            return np.empty(shape, kind)
        values = np.memmap(self.path, dtype=kind, mode="r", offset=first, shape=shape)
        if hashlib.sha256(values.data).hexdigest() != self.checksums.get(name):
            raise UserError(f"{self.path} is damaged (the checksum of '{name}' is wrong): get or build the table again")
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
    header, start, size = _header(Path(path))
    meta = header.pop("__metadata__", {})
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise UserError(f"{path} is no table of renascent: make one with `renascent bench import` or `bench build`")
    if meta.get("version") != VERSION:
        raise UserError(f"{path} is a table of version {meta.get('version')}, and this renascent reads {VERSION}")
    try:
        arrays = {name: _place(entry, start) for name, entry in header.items()}
        description, checksums = json.loads(meta["description"]), json.loads(meta["sha256"])
    except (KeyError, TypeError, ValueError):
        raise _damaged(path, "its header cannot be read") from None
    if start + max((entry[3] - start for entry in arrays.values()), default=0) != size:
        raise _damaged(path, "it is cut short, or longer than it says")
    return ArrayFile(Path(path), description, arrays, checksums)


def _header(path: Path) -> tuple[dict[str, Any], int, int]:
    """Return the header, where the arrays begin, and the size of the file."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            length = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))[0]
            text = file.read(length) if 0 < length <= size - 8 else b""
    except OSError as e:
        reason = e.strerror or str(e)
        raise UserError(f"cannot read the table {path}: {reason}; check the name, or make it first") from None
    try:
        header = json.loads(text)
    except ValueError:
        header = None
    if not isinstance(header, dict):
        raise _damaged(path, "it has no header")
    return header, 8 + length, size


def _place(entry: Mapping[str, Any], start: int) -> tuple[np.dtype[Any], tuple[int, ...], int, int]:
    kind, shape = np.dtype(KINDS[entry["dtype"]]), tuple(int(n) for n in entry["shape"])
    first, last = entry["data_offsets"]
    if min((first, *shape)) < 0 or last - first != kind.itemsize * math.prod(shape):
        raise ValueError("an array does not fill its place")
    return kind, shape, start + first, start + last


def _damaged(path: Path, why: str) -> UserError:
    return UserError(f"{path} is damaged ({why}): get or build the table again")


TOPOLOGY, SIZE = "nats-topology", "nats-size"


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
    if not plain or space.codec or space.rule:
        raise UserError(f"space '{space.name}' cannot be written in a table: give Choice and Integer decisions only")
    decisions = {n: {"kind": type(d).__name__, "options": list(space.options(n))} for n, d in space.decisions.items()}
    return {"name": space.name, "decisions": decisions}


def space_from_json(description: Mapping[str, Any]) -> Space:
    """Return the space that `space_to_json` wrote. Raises KeyError or TypeError for anything else."""
    if description["name"] == TOPOLOGY:
        return topology_space(description["nodes"], description["operations"])
    if description["name"] == SIZE:
        return size_space()
    kinds = {"Choice": Choice, "Integer": Integer}
    return Space(
        {name: kinds[d["kind"]](tuple(d["options"])) for name, d in description["decisions"].items()},
        description["name"],
    )
