"""Tables: what is asked is what is stored, and what is not there is said."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from renascent.bench.tables.columns import Column, Problem
from renascent.bench.tables.file import space_from_json, space_to_json
from renascent.bench.tables.table import Table
from renascent.core.codecs.nats_size import size_space
from renascent.core.codecs.nats_topology import topology_space
from renascent.core.errors import UserError
from renascent.core.space import Choice, Integer, Space

SPACE = topology_space(2, ("none", "skip", "conv"))
VAL = Column("val_accuracy", "digits", 2, seeds=(7, 8), at=(1, 2))
LATENCY = Column("latency_ms", device="phone", measured=True)


def small() -> Table:
    values = np.array([[[10, 20], [30, 40]], [[50, np.nan], [70, 80]], [[1, 2], [3, np.nan]]], dtype=np.float32)
    problem = Problem("digits", VAL.key, "seconds_per_epoch:digits", VAL.key)
    columns = {
        VAL: values,
        LATENCY: np.array([1.5, 2.5, np.nan]),
        Column("seconds_per_epoch", "digits"): np.array([1.0, 2.0, 3.0]),
        Column("params", "digits"): np.array([5, 6, 7], dtype=np.int64),
    }
    return Table.of("small", SPACE, [[2], [0], [1]], columns, [problem], {"source": "by hand"})


@pytest.fixture
def saved(tmp_path):
    return small().save(tmp_path / "small.safetensors")


def test_saved_and_opened_it_is_the_same(saved):
    table, before = Table.open(saved), small()
    assert (table.name, table.space, table.columns) == (before.name, before.space, before.columns)
    assert (table.problems, table.about) == (before.problems, before.about)
    assert np.array_equal(table.archs, before.archs)
    for key in table.columns:
        assert np.array_equal(table.array(key), before.array(key), equal_nan=True)
        assert table.array(key).dtype == before.array(key).dtype
        assert not table.array(key).flags.writeable


def test_any_safetensors_reader_opens_it(saved):
    arrays = load_file(saved)
    assert set(arrays) == {"archs", *small().columns}
    assert np.array_equal(arrays[VAL.key], small().array(VAL.key), equal_nan=True)


def test_a_table_of_an_older_version_says_what_it_did():
    table = Table.open(Path(__file__).parents[2] / "data" / "before" / "table.safetensors")
    expected = {
        "val_loss": [2.3219563961029053, 2.3138461112976074, 2.319725275039673],
        "test_accuracy": [9.749303817749023, 9.470751762390137, 10.30640697479248],
        "seconds_per_epoch": [0.08030000329017639, 0.0544000007212162, 0.02199999988079071],
        "params": [1408, 1296, 2080],
        "latency_ms": [1.2025400400161743, 0.5581300258636475, 0.950469970703125],
    }
    assert {name: [table.query(row, name) for row in range(len(table))] for name in expected} == expected
    assert table.space.format(table.arch(2)) == "|nor_conv_3x3~0|+|avg_pool_3x3~0|skip_connect~1|"
    assert table.problem("digits").result == "test_accuracy:digits:1"


def test_rows_by_architecture_string_and_index(saved):
    table = Table.open(saved)
    for row, operation in enumerate(("conv", "none", "skip")):
        arch = SPACE.arch({"0-1": operation})
        assert table.row(arch) == table.row(f"|{operation}~0|") == table.row(row) == row
        assert table.arch(row) == arch
    assert table.rows(np.array([[2], [1], [0]])).tolist() == [0, 2, 1]


def test_seeds_epochs_and_means():
    table = small()
    assert table.query(0, "val_accuracy", seed=7, at=1) == 10
    assert table.query(0, "val_accuracy", seed=8) == 40
    assert table.query(0, "val_accuracy", at=1) == 20
    assert table.query(1, "val_accuracy") == 80  # one of two seeds is known
    assert table.values("val_accuracy", seed=8).tolist()[:2] == [40, 80]
    assert table.query(1, "params") == 6


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda t: t.query(1, "val_accuracy", seed=7), "no value for row 1"),
        (lambda t: t.query(2, "latency_ms:phone"), "no value for row 2"),
        (lambda t: t.query(0, "val_acuracy"), "did you mean 'val_accuracy"),
        (lambda t: t.query(0, "val_accuracy", seed=9), "no seed 9: known are 7, 8"),
        (lambda t: t.query(0, "val_accuracy", at=3), "no epoch 3: known are 1, 2"),
        (lambda t: t.query(0, "latency_ms", at=3), "no epoch 3"),
        (lambda t: t.query(0, "latency_ms", seed=3), "no seed 3"),
        (lambda t: t.query(3, "params"), "index 3 is not in table 'small': give 0 to 2"),
        (lambda t: t.query("|pool~0|", "params"), "pool"),
        (lambda t: t.complete("latency_ms"), "no value for 1 of 3 architectures"),
        (lambda t: t.problem("cifar"), "unknown problem of table 'small': 'cifar'"),
        (lambda t: t.find("val_accuracy", epochs=3), "unknown column"),
    ],
)
def test_table_missing_value_is_one_line(call, words):
    with pytest.raises(UserError, match=words) as error:
        call(small())
    assert "\n" not in str(error.value)


def test_several_columns_of_a_metric_have_to_be_told_apart():
    values = np.array([1.0, 2.0, 3.0])
    columns = {Column("latency_ms", data, device="phone"): values for data in ("a", "b")}
    table = Table.of("two", SPACE, [[0], [1], [2]], columns)
    with pytest.raises(UserError, match="but several: name one of latency_ms:a:phone, latency_ms:b:phone"):
        table.find("latency_ms")
    assert table.find("latency_ms:b").data == table.find("latency_ms", data="b").data == "b"


def test_an_architecture_that_the_table_lacks():
    table = Table.of("part", SPACE, [[1]], {LATENCY: np.array([1.0])})
    assert table.rows([[0], [1]]).tolist() == [-1, 0]
    with pytest.raises(UserError, match=r"\|none~0\| is not in table 'part'"):
        table.row("|none~0|")


def test_arrays_of_the_wrong_shape():
    with pytest.raises(UserError, match=r"column 'latency_ms:phone' has shape \(2,\): give \(3,\)"):
        Table.of("wrong", SPACE, [[0], [1], [2]], {LATENCY: np.array([1.0, 2.0])})
    with pytest.raises(UserError, match="two columns of one name"):
        Table.of("twice", SPACE, [[0]], {LATENCY: np.ones(1), Column("latency_ms", device="phone"): np.ones(1)})


# --- files


def damaged(path, at, byte=b"\xff"):
    held = bytearray(path.read_bytes())
    held[at] = byte[0] if held[at] != byte[0] else 0
    path.write_bytes(held)


def test_a_changed_byte_is_found_when_its_column_is_read(saved):
    damaged(saved, -1)
    table = Table.open(saved)
    found = []
    for key in table.columns:
        try:
            table.array(key)
        except UserError as e:
            found.append(str(e))
    assert len(found) == 1
    assert "checksum" in found[0]


@pytest.mark.parametrize("keep", [0, 5, 40, 300, -1])
def test_a_truncated_file(saved, keep):
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(UserError, match="damaged"):
        Table.open(saved)


def test_another_version(saved):
    saved.write_bytes(saved.read_bytes().replace(b'"version": "1"', b'"version": "9"'))
    with pytest.raises(UserError, match="version 9, and this renascent reads 1"):
        Table.open(saved)


def test_another_file(tmp_path):
    from safetensors.numpy import save_file

    save_file({"a": np.ones(3)}, tmp_path / "other.safetensors")
    for name, words in (("other.safetensors", "no table of renascent"), ("none.safetensors", "No such file")):
        with pytest.raises(UserError, match=words):
            Table.open(tmp_path / name)
    (tmp_path / "text.txt").write_text("hello, this is text that is long enough to hold a length")
    with pytest.raises(UserError, match="no header"):
        Table.open(tmp_path / "text.txt")


def test_an_unwritable_place_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        small().save(tmp_path / "file" / "table.safetensors")
    with pytest.raises(UserError, match="is of type"):
        Table.of("odd", SPACE, [[0]], {LATENCY: np.ones(1, dtype=complex)}).save(tmp_path / "odd.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


# --- spaces as JSON


@pytest.mark.parametrize(
    "space",
    [
        topology_space(),
        topology_space(3, ("a", "b")),
        size_space(),
        Space({"w": Integer((8, 9)), "o": Choice(("x",))}, "m"),
    ],
)
def test_spaces_survive_json(space):
    again = space_from_json(json.loads(json.dumps(space_to_json(space))))
    assert again == space
    arch = space.sample(np.random.default_rng(0))
    assert again.format(arch) == space.format(arch)


def test_a_space_that_json_cannot_hold():
    with pytest.raises(UserError, match="cannot be written in a table"):
        space_to_json(Space({"a": Choice(("x", "y")), "b": Choice(("p",), when=("a", ("x",)))}))


def test_sizes():
    space = size_space()
    assert space.format(space.parse("8:16:24:32:64")) == "8:16:24:32:64"
    assert space.index(space.parse("64:64:64:64:64")) == 32767
    for text in ("8:16:24:32", "8:16:24:32:65", "8:16:24:32:x"):
        with pytest.raises(UserError):
            space.parse(text)
