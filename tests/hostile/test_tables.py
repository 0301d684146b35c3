"""Damaged tables of benchmarks and latencies, and odd questions to them: one line each, and nothing is allocated."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from renascent.bench.compare import Contest, Runs, jobs_of
from renascent.bench.importers import open_table
from renascent.bench.tables.columns import Column, Problem
from renascent.bench.tables.table import Table
from renascent.bench.tabular import Tabular
from renascent.bench.unfinished import Unfinished
from renascent.core.codecs.nats_topology import topology_space
from renascent.core.errors import UserError
from renascent.core.space import Integer, Space
from renascent.costs import Lut
from renascent.costs.latency.config import LayerConfig
from renascent.costs.latency.table import Calibration, Entry, Network

Change = Callable[[Any], object]

NESTED = "[" * 100_000 + "]" * 100_000
LONG = "x" * 100_000


def one_line(error: pytest.ExceptionInfo[UserError]) -> str:
    """Return the text of an error, after checking that it is one line, quoted short."""
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 1000
    return text


def put(tree: Any, way: str, value: Any) -> None:
    """Set what lies at a way such as columns/0/seeds."""
    *above, last = [int(part) if part.isdecimal() else part for part in way.split("|")]
    functools.reduce(lambda node, key: node[key], above, tree)[last] = value


def without(tree: Any, way: str) -> None:
    *above, last = [int(part) if part.isdecimal() else part for part in way.split("|")]
    del functools.reduce(lambda node, key: node[key], above, tree)[last]


# --- benchmark tables

VAL = Column("val_accuracy", "d", 2, seeds=(7, 8), at=(1, 2))


def small() -> Table:
    columns = {
        VAL: np.arange(12, dtype=np.float32).reshape(3, 2, 2),
        Column("seconds_per_epoch", "d"): np.array([1.0, 2.0, 3.0]),
        Column("params", "d"): np.array([5, 6, 7], dtype=np.int64),
    }
    problem = Problem("d", VAL.key, "seconds_per_epoch:d", VAL.key)
    space = topology_space(2, ("none", "skip", "conv"))
    return Table.of("small", space, np.array([[2], [0], [1]], np.uint8), columns, [problem], {"source": "by hand"})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a small table."""
    return small().save(tmp_path_factory.mktemp("whole") / "t.safetensors").read_bytes()


def parts(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header: Mapping[str, Any] | str, body: bytes) -> bytes:
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return struct.pack("<Q", len(text)) + text + body


def opened(data: bytes, folder: Path) -> Table:
    """Open a table, and read all of it."""
    (folder / "t.safetensors").write_bytes(data)
    table = Table.open(folder / "t.safetensors")
    for key in table.columns:
        table.array(key)
    return table


def described(data: bytes, change: Change) -> bytes:
    """Change the description of a table that has no checksum of its header, as older ones."""
    header, body = parts(data)
    meta = header["__metadata__"]
    del meta["header_sha256"]
    description = json.loads(meta["description"])
    change(description)
    meta["description"] = json.dumps(description)
    return joined(header, body)


@pytest.mark.parametrize(
    ("way", "value"),
    [
        ("archs|dtype", "F32"),
        ("archs|dtype", "BF16"),
        ("archs|dtype", 8),
        ("archs|shape", [2**45, 1]),
        ("archs|shape", [-3, -1]),
        ("archs|shape", [3.0, 1]),
        ("archs|shape", [True, 3]),
        ("archs|shape", []),
        ("archs|shape", "31"),
        ("archs|shape", 10**400),
        ("archs|data_offsets", [0, 2**45]),
        ("archs|data_offsets", [3, 0]),
        ("archs|data_offsets", [0]),
        ("archs|data_offsets", None),
        ("params:d|data_offsets", [0, 24]),
        ("archs", 5),
        ("more", {"dtype": "U8", "shape": [0, 2**62], "data_offsets": [0, 0]}),
        ("__metadata__", 5),
        ("__metadata__|format", ["renascent-table"]),
        ("__metadata__|version", LONG),
        ("__metadata__|description", {"name": "small"}),
        ("__metadata__|description", NESTED),
        ("__metadata__|description", "{"),
        ("__metadata__|sha256", "[]"),
        ("__metadata__|sha256", "{}"),
        ("__metadata__|header_sha256", "0"),
    ],
)
def test_table_header_that_cannot_be_is_refused(whole: bytes, way: str, value: Any, tmp_path: Path) -> None:
    for old in (False, True):
        header, body = parts(whole)
        if old and "header_sha256" not in way:
            del header["__metadata__"]["header_sha256"]
        put(header, way, value)
        with pytest.raises(UserError) as error:
            opened(joined(header, body), tmp_path)
        one_line(error)


@pytest.mark.parametrize(
    ("way", "value"),
    [
        ("name", 5),
        ("name", "\ud800"),
        ("space", []),
        ("space|name", "unknown"),
        ("space|name", None),
        ("space|nodes", 10**9),
        ("space|nodes", 1),
        ("space|nodes", "2"),
        ("space|nodes", 3),
        ("space|operations", "abc"),
        ("space|operations", ["none", "none", "conv"]),
        ("space|operations", ["none", "skip"]),
        ("space", {"name": "mine", "decisions": {"a": {"kind": "Real", "options": [1]}}}),
        ("space", {"name": "mine", "decisions": {"a": {"kind": "Integer", "options": [3, 2, 1]}}}),
        ("space", {"name": "mine", "decisions": {"a": {"kind": "Integer", "options": [1, 2, 10**400]}}}),
        ("columns", {}),
        ("columns", [5]),
        ("columns|0|metric", "val_acuracy"),
        ("columns|0|seeds", [7, 7]),
        ("columns|0|seeds", [7, -8]),
        ("columns|0|seeds", [7, 8, 9]),
        ("columns|0|seeds", [[7], [8]]),
        ("columns|0|at", [2, 1]),
        ("columns|0|at", [1, 3]),
        ("columns|0|at", [0, 1]),
        ("columns|0|epochs", -2),
        ("columns|0|epochs", 2.0),
        ("columns|0|device", LONG),
        ("columns|1|measured", 1),
        ("problems|0|signal", "loss"),
        ("problems|0|seconds", 5),
        ("problems|0|result", ["val_accuracy"]),
        ("about", ["by hand"]),
        ("about|source", {"a": 1}),
    ],
)
def test_table_description_that_cannot_be_is_refused(whole: bytes, way: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"t\.safetensors") as error:
        opened(described(whole, lambda tree: put(tree, way, value)), tmp_path)
    one_line(error)


@pytest.mark.parametrize(
    "change",
    [
        *(functools.partial(without, way=way) for way in ("name", "space|name", "columns|0|metric", "about")),
        lambda tree: tree["columns"].pop(0),
        lambda tree: tree["columns"].append(tree["columns"][0]),
        lambda tree: tree["problems"].append(tree["problems"][0]),
    ],
)
def test_table_description_that_lacks_or_repeats_is_refused(whole: bytes, change: Change, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is damaged") as error:
        opened(described(whole, change), tmp_path)
    one_line(error)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("archs", lambda v: v.__setitem__(0, v[1]), "rows 0 and 1 of one architecture"),
        ("archs", lambda v: v.__setitem__(2, 3), r"row 2 of table 'small' is \[3\], no option indices"),
        (VAL.key, lambda v: v.__setitem__((1, 0, 0), np.inf), "has inf in row 1"),
        (VAL.key, lambda v: v.__setitem__((1, 0, 0), 100.5), "has 100.5 in row 1"),
        (VAL.key, lambda v: v.__setitem__((2, 1, 1), -1), "has -1 in row 2"),
        ("seconds_per_epoch:d", lambda v: v.__setitem__(0, -1), "has -1 in row 0"),
        ("params:d", lambda v: v.__setitem__(0, -5), "has -5 in row 0"),
    ],
)
def test_table_numbers_that_cannot_be_are_refused_under_right_checksums(
    whole: bytes, name: str, change: Change, words: str, tmp_path: Path
) -> None:
    header, body = parts(whole)
    meta, entry = header["__metadata__"], header[name]
    kind = {"U8": "u1", "F32": "<f4", "F64": "<f8", "I64": "<i8"}[entry["dtype"]]
    first, last = entry["data_offsets"]
    values = np.frombuffer(body[first:last], kind).reshape(entry["shape"]).copy()
    change(values)
    sums = {**json.loads(meta["sha256"]), name: hashlib.sha256(values.tobytes()).hexdigest()}
    del meta["header_sha256"]
    meta["sha256"] = json.dumps(sums)
    with pytest.raises(UserError, match=words) as error:
        opened(joined(header, body[:first] + values.tobytes() + body[last:]), tmp_path)
    one_line(error)


@pytest.mark.parametrize("keep", [0, 7, 8, 100, 600, -9, -1])
def test_table_cut_short_or_longer_is_refused(whole: bytes, keep: int, tmp_path: Path) -> None:
    for data in (whole[:keep], whole + bytes(keep % 7 + 1), struct.pack("<Q", 2**63) + whole[8:]):
        with pytest.raises(UserError, match="is damaged") as error:
            opened(data, tmp_path)
        one_line(error)


def test_table_with_a_bit_of_its_header_flipped_is_refused_or_as_it_was(whole: bytes, tmp_path: Path) -> None:
    before, length = opened(whole, tmp_path), len(whole) - len(parts(whole)[1])
    refused = 0
    for place in range(0, length, 7):
        data = bytearray(whole)
        data[place] ^= 1 << (place % 8)
        try:
            table = opened(bytes(data), tmp_path)
        except UserError:
            refused += 1
        else:
            assert (table.name, table.space, table.columns) == (before.name, before.space, before.columns)
            assert (table.problems, table.about) == (before.problems, before.about)
    assert refused > 0.9 * length / 7


def test_table_of_a_space_too_large_to_list_is_looked_up() -> None:
    space = Space({f"w{k}": Integer((8, 16, 24, 32)) for k in range(60)}, "wide")
    rows = np.random.default_rng(0).integers(4, size=(5, 60))
    table = Table.of("wide", space, rows, {Column("params"): np.arange(5)})
    assert [table.row(space.format(table.arch(k))) for k in range(5)] == [0, 1, 2, 3, 4]
    assert table.rows([[0] * 60]).tolist() == [-1]


def test_table_on_which_no_time_passes_is_not_searched() -> None:
    table = small()
    columns = {column: table.array(key) for key, column in table.columns.items()}
    columns[table.columns["seconds_per_epoch:d"]] = np.zeros(3)
    still = Table.of("still", table.space, table.archs, columns, list(table.problems.values()))
    with pytest.raises(UserError, match="trainings of no time"):
        Tabular(still, "d")


# --- the compact arrays of others


def npy(shape: str, kind: str, body: bytes) -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


@pytest.mark.parametrize(
    "member",
    [
        npy(f"({2**45},)", "<f8", b"12345678"),
        npy(f"({2**62},)", "<f8", b""),
        npy("(-1,)", "<f8", b"12345678"),
        npy("(1,)", "<U10", bytes(40)),
        npy("(2,)", "|O", b"cos\nabort\n(tR."),
        npy("(" * 50 + "1,)", "<f8", bytes(8)),
        b"\x93NUMPY\x09\x00",
        b"hello",
    ],
)
def test_npz_that_promises_what_it_has_not_is_refused(member: bytes, tmp_path: Path) -> None:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as file:
        file.writestr("arch_ops.npy", member)
        file.writestr("acc200_c10_test.npy", npy("(1,)", "<f8", bytes(8)))
    (tmp_path / "nb201.npz").write_bytes(held.getvalue())
    with pytest.raises(UserError, match=r"nb201\.npz is damaged \(arch_ops: ") as error:
        open_table(tmp_path / "nb201.npz")
    one_line(error)


# --- latency tables

LAYERS = {
    LayerConfig("conv", 3, 1, 1, True, True, 8, width, 16, 16): Entry((width / 10, width / 8), 5)
    for width in (8, 16, 24)
}
LAYER, NET, FAMILY = next(iter(LAYERS)).key, "a", "conv-k3-s1-g1"
THETA = [-2.0, *([1.0] * 10), -7.0]


def latency(**changes: Any) -> Lut:
    nets = {name: Network(tuple(LAYERS), Entry((ms,), 5)) for name, ms in (("a", 5.0), ("b", 5.2), ("c", 4.9))}
    about = {"space": "resnet20", "input": [3, 8, 8], "classes": 10}
    return Lut(**{"about": about, "layers": LAYERS, "networks": nets, "thetas": {FAMILY: THETA}, **changes})


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The text of a small latency table."""
    table = latency()
    table = latency(calibration=table.calibrated())
    saved = table.save(tmp_path_factory.mktemp("latency") / "t.json")
    assert Lut.load(saved) == table
    return Path(saved).read_text()


NO_LAYERS = ("conv", LONG, "²", LAYER.replace("s1", "s0"))
NO_NUMBERS = (float("nan"), float("inf"), -1.0, "1", True, None, [1.0], 10**400)


@pytest.mark.parametrize(
    ("way", "value"),
    [
        *(("calibration|scale", bad) for bad in (*NO_NUMBERS, 0.0)),
        *(("calibration|constant_ms", bad) for bad in NO_NUMBERS),
        *(("calibration|networks", bad) for bad in (-1, 3.0, "3", True, 7)),
        ("calibration", []),
        *((f"thetas|{FAMILY}", bad) for bad in ([], THETA[1:], [*THETA, 1.0], 5, [float("nan"), *THETA[1:]])),
        *((f"thetas|{FAMILY}", [*THETA[:-1], bad]) for bad in (*NO_NUMBERS[:5], 800.0)),
        ("thetas|magic", THETA),
        *((f"layers|{LAYER}|passes", bad) for bad in (0, -5, 5.0, "5", True, None)),
        *((f"layers|{LAYER}|visits_ms", [bad]) for bad in (*NO_NUMBERS, 0.0)),
        (f"layers|{LAYER}|visits_ms", []),
        (f"layers|{LAYER}|median_ms", 800.0),
        (f"layers|{LAYER}|count", 11),
        (f"layers|{LAYER}", "0.8 ms"),
        *((f"layers|{bad}", {"visits_ms": [1.0], "passes": 1}) for bad in NO_LAYERS),
        (f"layers|{LAYER.replace('k3', 'k03')}", {"visits_ms": [1.0], "passes": 1}),
        (f"layers|{LAYER.replace('16x16', '16x' + '9' * 400)}", {"visits_ms": [1.0], "passes": 1}),
        (f"networks|{NET}|layers", []),
        (f"networks|{NET}|layers", [LAYER, "conv"]),
        (f"networks|{NET}|layers", LAYER),
        ("about|input", 32),
        ("about|input", [3, 10**9, 8]),
        ("about|classes", 0),
        ("about|settings", "none"),
        ("about|seconds", -1),
        ("about|x", json.loads("[" * 60 + "]" * 60)),
        ("version", 2),
    ],
)
def test_latency_table_that_cannot_be_is_refused(measured: str, way: str, value: Any, tmp_path: Path) -> None:
    tree = json.loads(measured)
    put(tree, way, value)
    (tmp_path / "t.json").write_text(json.dumps(tree))
    with pytest.raises(UserError, match=r"t\.json is (damaged|no latency table)") as error:
        Lut.load(tmp_path / "t.json")
    one_line(error)


@pytest.mark.parametrize(
    "way",
    ["calibration", "calibration|scale", "calibration|constant_ms", "calibration|networks", "thetas", "about", "format"]
    + ["layers", f"layers|{LAYER}|passes", f"layers|{LAYER}|visits_ms", f"networks|{NET}|layers", f"networks|{NET}"],
)
def test_latency_table_that_lacks_something_is_refused(measured: str, way: str, tmp_path: Path) -> None:
    tree = json.loads(measured)
    without(tree, way)
    (tmp_path / "t.json").write_text(json.dumps(tree))
    with pytest.raises(UserError, match=r"t\.json is (damaged|no latency table)") as error:
        Lut.load(tmp_path / "t.json")
    one_line(error)


@pytest.mark.parametrize("where", ["layers", "networks", "both", "scale"])
@pytest.mark.parametrize("factor", [1000.0, 0.001, 3.0])
def test_latency_table_that_contradicts_itself_is_refused(where: str, factor: float, tmp_path: Path) -> None:
    def times(held: Mapping[Any, Any]) -> Any:
        return {key: Entry(tuple(ms * factor for ms in entry.visits_ms), 5) for key, entry in held.items()}

    table = latency(calibration=latency().calibrated())
    nets = {name: net.entry for name, net in table.networks.items()}
    layers = times(LAYERS) if where == "layers" else LAYERS
    entries = times(nets) if where in ("networks", "both") else nets
    networks = {name: Network(tuple(LAYERS), entry) for name, entry in entries.items()}
    table = latency(layers=layers, networks=networks, calibration=table.calibration)
    if where == "scale":
        held = table.calibration
        table = latency(calibration=Calibration(held.constant_ms * factor, held.scale * factor, held.networks))
    if where == "both":  # a calibration that was learnt from numbers in other units
        table = latency(networks=networks, calibration=table.calibrated())
    table.save(tmp_path / "t.json")
    if where == "both" and factor == 3.0:  # as much a device can add to layers, and the calibration knows
        assert Lut.load(tmp_path / "t.json").error() < 0.1
        return
    words = r"contradicts itself: network '\w' took [\d.e+-]+ ms, and its 3 layers say [\d.e+-]+ ms"
    with pytest.raises(UserError, match=words) as error:
        Lut.load(tmp_path / "t.json")
    one_line(error)


@pytest.mark.parametrize(
    "text", [NESTED, "{", "[]", "null", LONG, '{"format": 1, "format": 2}', "\0" * 100, "nan", '{"\\ud800": 1}']
)
def test_latency_table_of_other_text_is_refused(text: str, tmp_path: Path) -> None:
    for encoding in ("utf-8", "utf-16"):
        (tmp_path / "t.json").write_text(text, encoding=encoding)
        with pytest.raises(UserError, match="is no latency table, or damaged") as error:
            Lut.load(tmp_path / "t.json")
        one_line(error)


def test_latency_table_with_a_byte_order_mark_is_read(measured: str, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(measured.replace("\n", "\r\n"), encoding="utf-8-sig", newline="")
    assert Lut.load(tmp_path / "t.json").calibration.networks == 3


def test_latency_table_names_no_code_to_run(measured: str, tmp_path: Path, refused: Any) -> None:
    for name, settings in (
        ("adapted", {"factory": "os:abort"}),
        ("resnet20", {"layers_count": 6 * 10**9 + 2}),
        (LONG, {}),
    ):
        tree = json.loads(measured)
        tree["about"] |= {"space": name, "settings": settings}
        (tmp_path / "t.json").write_text(json.dumps(tree))
        refused("latency show t.json --arch reference")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no pipes among files")
@pytest.mark.parametrize("line", ["bench query 0 --table {}", "latency show {}", "bench compare --out c --table {}"])
def test_pipe_in_the_place_of_a_table_is_not_waited_for(line: str, tmp_path: Path, say: Any) -> None:
    for name in ("t.safetensors", "t.npz", "t.json"):
        if not (tmp_path / name).exists():
            os.mkfifo(tmp_path / name)
        assert "a pipe or a device" in say(line.format(name)).refusal


# --- questions


@pytest.mark.parametrize(
    "arch",
    ["²", "٣", "9" * 30, "9" * 5000, "125", "0x1", "1e3", "''", LONG, "|" * 20_000, "+" * 20_000, "[" * 20_000]
    + ["'|none~0|+|none~²|none~1|'", "'|none~0|+|none~0|none~1|+'", "é|~", "'|none~0|\n'", "\u202e"],
)
def test_bench_query_of_what_is_no_architecture(refused: Any, arch: str) -> None:
    refused(f"bench query {arch}")


@pytest.mark.parametrize("flags", ["--seed 5", "--at 99", f"--column {LONG}", "--column ''", f"--at {'9' * 400}"])
def test_bench_query_of_what_no_column_has(refused: Any, flags: str) -> None:
    refused(f"bench query 0 {flags}")


# --- what is unfinished

CONTEST = Contest(None, "d", trials=3)
JOBS = jobs_of(["random"], [CONTEST], runs=2)


@pytest.mark.parametrize(
    ("way", "value"),
    [
        ("results", [1.0]),
        ("results", [1.0, float("nan")]),
        ("results", "12"),
        ("curves", [[1.0], [1.0, 2.0]]),
        ("curves", []),
        ("strategy", "rea"),
        ("first", 1),
        ("first", None),
        ("trials", [[1.0], [2.0]]),
    ],
)
def test_unfinished_comparison_that_was_edited_is_refused(way: str, value: Any, tmp_path: Path) -> None:
    runs = Runs(np.array([1.0, 2.0]), np.array([3.0, 3.0]), np.array([[np.nan, 1.0], [2.0, 2.0]]), np.array([]))
    held = Unfinished(tmp_path / "c", {"runs": 2}, JOBS, resume=False)
    held.keep(JOBS[0], runs)
    again = Unfinished(tmp_path / "c", {"runs": 2}, JOBS, resume=True).parts[JOBS[0]]
    for name, values in vars(runs).items():
        assert np.array_equal(getattr(again, name), values, equal_nan=True)
    first, line = held.path.read_text().splitlines()
    held.path.write_text(f"{first}\n{json.dumps({**json.loads(line), way: value})}\n")
    with pytest.raises(UserError, match=r"runs\.jsonl is damaged") as error:
        Unfinished(tmp_path / "c", {"runs": 2}, JOBS, resume=True)
    one_line(error)
