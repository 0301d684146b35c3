"""The compact arrays: every column is its source array, in the table's units."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from renascent.bench.importers import open_table
from renascent.bench.importers.compact import CURVES, HARDWARE, TABLE, read_compact
from renascent.bench.importers.sources import import_table
from renascent.bench.tables.table import Table
from renascent.core.codecs.nats_topology import official_order
from renascent.core.errors import UserError

ROWS = len(official_order())

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write small files of the same layout, numbers made up."""
    rng = np.random.default_rng(0)

    def numbers(*shape: int) -> np.ndarray:
        return rng.uniform(1, 99, (ROWS, *shape)).astype(np.float32)

    def of(**more: Any) -> Path:
        archs = official_order().astype(np.uint8)
        seeds = numbers(3)
        seeds[::2, 2] = np.nan
        table = {
            "arch_ops": archs,
            "acc200_c10valid_val_seeds": seeds,
            "acc200_c10valid_val": np.nanmean(seeds, axis=1),
            "acc200_c10_test": numbers(),
            "acc12_c10valid_val": numbers(),
            "train_time_per_epoch_c10valid": numbers(),
            "params_m_c10": np.round(numbers().astype(np.float64), 6),
            "flops_m_c10": np.round(numbers().astype(np.float64), 5),
            "n_seeds": np.full(ROWS, 2, np.uint8),
        }
        tpu = numbers()
        tpu[5] = -1
        hardware = {
            "arch_ops": archs,
            "pixel3_latency_c10": numbers(),
            "pixel3_latency_c100": numbers(),
            "edgetpu_latency_c10": tpu,
            "eyeriss_energy_in16": numbers(),
            "eyeriss_arithmetic_intensity_in16": numbers(),
            "help_latency_pixel3": numbers(),
            "help_latency_titan_rtx_32": numbers(),
            "help_latency_essential_ph_1": numbers(),
        }
        curves = {"arch_index": np.array([0, 7], np.int32), "val_acc": numbers(200)[:2], "train_acc": numbers(200)[:2]}
        for name, arrays in ((TABLE, table), (HARDWARE, hardware), (CURVES, curves)):
            np.savez(tmp_path / name, **(arrays | more.get(name, {})))
        return tmp_path / TABLE

    return of


EXPECTED = {
    "val_accuracy:cifar10-valid:200": (TABLE, "acc200_c10valid_val_seeds"),
    "test_accuracy:cifar10:200": (TABLE, "acc200_c10_test"),
    "val_accuracy:cifar10-valid:12": (TABLE, "acc12_c10valid_val"),
    "seconds_per_epoch:cifar10-valid": (TABLE, "train_time_per_epoch_c10valid"),
    "params:cifar10": (TABLE, "params_m_c10"),
    "macs:cifar10": (TABLE, "flops_m_c10"),
    "latency_ms:cifar10:pixel3": (HARDWARE, "pixel3_latency_c10"),
    "latency_ms:cifar100:pixel3": (HARDWARE, "pixel3_latency_c100"),
    "latency_ms:cifar10:edgetpu": (HARDWARE, "edgetpu_latency_c10"),
    "energy_mj:imagenet16-120:eyeriss": (HARDWARE, "eyeriss_energy_in16"),
    "arithmetic_intensity:imagenet16-120:eyeriss": (HARDWARE, "eyeriss_arithmetic_intensity_in16"),
    "latency_ms:pixel3-help": (HARDWARE, "help_latency_pixel3"),
    "latency_ms:titan-rtx-b32": (HARDWARE, "help_latency_titan_rtx_32"),
    "latency_ms:essential-ph-1": (HARDWARE, "help_latency_essential_ph_1"),
    "train_accuracy:cifar10-valid-curves:200": (CURVES, "train_acc"),
    "val_accuracy:cifar10-valid-curves:200": (CURVES, "val_acc"),
}


def source_of(folder: Path, file: str, name: str) -> np.ndarray:
    """Return an array in the table's units, computed apart from the importer."""
    with np.load(folder / file) as held:
        values = held[name]
        if file == CURVES:
            whole = np.full((ROWS, 200), np.nan)
            for place, row in enumerate(held["arch_index"]):
                whole[row] = values[place]
            return whole
    if "edgetpu" in name:
        values[values == -1] = np.nan
    return np.array([round(v * 1_000_000) for v in values]) if name[:7] in ("params_", "flops_m") else values


def test_every_column_of_small_files(write: Write, tmp_path: Path) -> None:
    read = read_compact(write())
    assert set(read.columns) == set(EXPECTED)
    saved = import_table(tmp_path, tmp_path / "t.safetensors")
    for table in (read, saved, Table.open(tmp_path / "t.safetensors")):
        for key, (file, name) in EXPECTED.items():
            np.testing.assert_array_equal(table.array(key), source_of(tmp_path, file, name), key)
        assert list(table.problems) == ["cifar10"]


def test_a_plain_constraint_means_one_column_of_a_data_set(write: Write) -> None:
    table = read_compact(write())
    assert table.find("latency_ms:pixel3", data="cifar10").key == "latency_ms:cifar10:pixel3"
    assert table.find("latency_ms:pixel3", data="cifar100").key == "latency_ms:cifar100:pixel3"
    with pytest.raises(UserError, match="several"):
        table.find("latency_ms:pixel3")


def test_without_the_other_files(write: Write, tmp_path: Path) -> None:
    path = write()
    for name in (HARDWARE, CURVES):
        (tmp_path / name).unlink()
    assert set(read_compact(path).columns) == {key for key, (file, _) in EXPECTED.items() if file == TABLE}


# --- the published arrays


def test_every_column_of_the_published_arrays(shared: Path, tmp_path: Path) -> None:
    """Each array of the three files is in one column, number for number; means of seeds are behind their seeds."""
    table = import_table(shared / TABLE, tmp_path / "t.safetensors")
    assert set(EXPECTED) - {"latency_ms:essential-ph-1"} < set(table.columns)
    left = set(table.columns)
    for file in (TABLE, HARDWARE, CURVES):
        with np.load(shared / file) as held:
            names = set(held.files) - {"op_names", "arch_ops", "arch_str", "n_seeds", "arch_index"}
        for name in sorted(names):
            values = source_of(shared, file, name)
            if f"{name}_seeds" in names:
                np.testing.assert_allclose(table.values(key_of(name + "_seeds")), values, rtol=2e-7)
                continue
            key = key_of(name)
            np.testing.assert_array_equal(table.array(key), values, key)
            left.remove(key)
    assert left == set()


def key_of(name: str) -> str:
    """Spell a column's name from its array's, apart from the importer."""
    data = {"c10valid": "cifar10-valid", "c10": "cifar10", "c100": "cifar100", "in16": "imagenet16-120"}
    words = name.removesuffix("_seeds").split("_")
    if name in ("val_acc", "train_acc"):
        return f"{words[0]}_accuracy:cifar10-valid-curves:200"
    if words[0] in ("acc12", "acc200"):
        return f"{words[2]}_accuracy:{data[words[1]]}:{words[0][3:]}"
    if words[0] in ("params", "flops", "train"):
        metric = {"params": "params", "flops": "macs", "train": "seconds_per_epoch"}[words[0]]
        return f"{metric}:{data[words[-1]]}"
    if words[0] == "help":
        gpu = words[2].startswith(("1080ti", "2080ti", "titan"))
        device = "-".join(words[2:-1]) + f"-b{words[-1]}" if gpu else "-".join(words[2:])
        return f"latency_ms:{device}{'-help' if device in ('pixel3', 'raspi4', 'fpga', 'eyeriss') else ''}"
    metric = {"latency": "latency_ms", "energy": "energy_mj", "arithmetic": "arithmetic_intensity"}[words[1]]
    return f"{metric}:{data[words[-1]]}:{words[0]}"


def test_the_devices_that_two_papers_share_agree(shared: Path) -> None:
    table = open_table(shared / TABLE)
    for device in ("pixel3", "raspi4", "fpga", "eyeriss"):
        theirs, ours = table.array(f"latency_ms:{device}-help"), table.array(f"latency_ms:cifar10:{device}")
        np.testing.assert_array_equal(theirs, ours, device)


def test_learning_curves_end_where_the_table_does(shared: Path) -> None:
    table = open_table(shared / TABLE)
    last = table.values("val_accuracy:cifar10-valid-curves:200")
    assert int((~np.isnan(last)).sum()) == 200
    np.testing.assert_allclose(last[:200], table.values("val_accuracy:cifar10-valid:200")[:200], atol=1e-5)


# --- bad input


def test_other_orders_and_damage(write: Write, tmp_path: Path) -> None:
    other = official_order()[::-1].astype(np.uint8)
    with pytest.raises(UserError, match=r"nb201\.npz is not in the order of NAS-Bench-201"):
        read_compact(write(**{TABLE: {"arch_ops": other}}))
    with pytest.raises(UserError, match=r"nb201_hardware\.npz is not in the order"):
        read_compact(write(**{HARDWARE: {"arch_ops": other}}))
    table = read_compact(write(**{CURVES: {"arch_index": np.array([0, ROWS], np.int32)}}))
    with pytest.raises(UserError, match=r"subset\.npz is damaged \(val_acc does not fit"):
        table.array("val_accuracy:cifar10-valid-curves:200")
    assert write().exists()
    with pytest.raises(UserError, match="is no table that can be read: give"):
        read_compact(tmp_path / HARDWARE)


def test_cut_short_or_changed(write: Write, tmp_path: Path) -> None:
    whole = write().read_bytes()
    for name in (TABLE, HARDWARE, CURVES):
        path = tmp_path / name
        held = path.read_bytes()
        path.write_bytes(held[: len(held) // 2])
        with pytest.raises(UserError, match=f"cannot read the table .*{name}"):
            read_compact(tmp_path / TABLE)
        path.write_bytes(held)
    place = len(whole) // 2
    (tmp_path / TABLE).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    with pytest.raises(UserError, match=r"nb201\.npz is damaged"):
        import_table(tmp_path, tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_an_array_of_objects_is_not_read(write: Write) -> None:
    table = read_compact(write(**{TABLE: {"acc200_c10_test": np.array([{}] * ROWS, object)}}))
    with pytest.raises(UserError, match="allow_pickle=False"):
        table.array("test_accuracy:cifar10:200")
