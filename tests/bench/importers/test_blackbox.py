"""The copy on the Hugging Face hub: a small folder of its layout, made here as its makers did."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from renascent.bench.importers.blackbox import NUMBERS, read_blackbox
from renascent.bench.importers.sources import import_table
from renascent.core.codecs.nats_topology import official_arch
from renascent.core.errors import MissingExtra, UserError

OBJECTIVES = [f"metric_{n}" for n in ("valid_error", "train_error", "runtime", "elapsed_time", "latency", "flops")]
OBJECTIVES.append("metric_params")
TASKS = ["cifar10", "cifar100", "ImageNet16-120"]
CELLS, SEEDS, EPOCHS = 5, 3, 4


def imputed(values: np.ndarray) -> np.ndarray:
    """Fill what is missing as the copy's makers did: by the mean of the other seeds, in single precision."""
    for cell, seed, epoch in np.argwhere(np.isnan(values)):
        values[cell, seed, epoch] = np.mean(np.delete(values[cell, :, epoch], seed))
    return values


@pytest.fixture
def numbers() -> np.ndarray:
    """What was trained: cell 1 lacks a seed, cell 2 lacks two, all seeds of cell 3 are alike."""
    rng = np.random.default_rng(0)
    values = rng.uniform(0.05, 0.9, (len(TASKS), CELLS, SEEDS, EPOCHS, len(OBJECTIVES))).astype(np.float32)
    values[:, :, :, :, 2] = 20.0 + np.arange(CELLS, dtype=np.float32)[:, None, None]
    values[:, :, :, :, 4:] = values[:, :, :1, :1, 4:]
    values[:, 1, 1, :, :3] = np.nan
    values[:, 2, :2, :, :3] = np.nan
    values[:, 3, :, :, :2] = 0.9
    return values


@pytest.fixture
def folder(numbers: np.ndarray, tmp_path: Path) -> Path:
    pa = pytest.importorskip("pyarrow", reason="needs the extra renascent[parquet]")
    from pyarrow import parquet

    path = tmp_path / "nasbench201"
    path.mkdir()
    filled = numbers.copy()
    for task in filled:
        for objective in range(3):
            task[..., objective] = imputed(task[..., objective])
    np.save(path / "objectives_evaluations.npy", filled)
    np.save(path / "fidelities_values.npy", np.arange(1, EPOCHS + 1))
    columns = {f"hp_x{k}": [list(official_arch(i).values())[k] for i in range(CELLS)] for k in range(6)}
    parquet.write_table(pa.table(columns), path / "hyperparameters.parquet", compression="gzip")
    meta = {"objectives_names": OBJECTIVES, "task_names": TASKS, "resource_attr": "hp_epoch"}
    (path / "metadata.json").write_text(json.dumps(meta))
    return path


def test_every_number(folder: Path, numbers: np.ndarray, tmp_path: Path) -> None:
    read = read_blackbox(folder)
    for table in (read, import_table(folder, tmp_path / "t"), import_table(tmp_path, tmp_path / "u")):
        assert [table.arch(row) for row in range(CELLS)] == [official_arch(row) for row in range(CELLS)]
        for task, values in zip(TASKS, numbers, strict=True):
            data, test = task.lower(), "test" if task == "cifar10" else "valtest"
            for name, place in ((test, 0), ("train", 1)):
                array = table.array(f"{name}_accuracy:{data}:{EPOCHS}")
                np.testing.assert_allclose(array, 100 * (1 - values[..., place].astype(float)), rtol=1e-6)
            assert table.find("latency_ms", data=data).device == "gpu"
            np.testing.assert_allclose(table.values("latency_ms", data=data), values[:, 0, 0, 4] * 1e3, rtol=1e-6)
            np.testing.assert_array_equal(table.values(f"macs:{data}"), [round(v * 1e6) for v in _first(values, 5)])
            np.testing.assert_array_equal(table.values(f"params:{data}"), [round(v * 1e6) for v in _first(values, 6)])
            np.testing.assert_allclose(table.values(f"seconds_per_epoch:{data}"), 20.0 + np.arange(CELLS))


def _first(values: np.ndarray, objective: int) -> list[float]:
    return [float(v) for v in values[:, 0, 0, objective]]


def test_read_blackbox_imputed_seeds_are_missing(folder: Path) -> None:
    table = read_blackbox(folder)
    for seed, there in ((777, True), (888, False), (999, True)):
        known = ~np.isnan(table.array("test_accuracy:cifar10")[1, table.find("test_accuracy").seeds.index(seed)])
        assert known.all() == there and known.any() == there
    # one seed alone: the makers' mean of nothing is no number; and seeds that are all alike are left
    assert np.isnan(table.array("test_accuracy:cifar10")).any(axis=2).sum(axis=1).tolist() == [0, 1, 2, 0, 0]


def test_it_is_not_the_papers_protocol(folder: Path) -> None:
    table = read_blackbox(folder)
    assert not any(key.startswith("val_") for key in table.columns)
    assert not table.problems
    assert "not the paper's protocol" in table.find("valtest_accuracy:cifar100").note


@pytest.mark.parametrize(
    ("harm", "fragment"),
    [
        (lambda f: (f / "fidelities_values.npy").unlink(), "is no complete copy"),
        (lambda f: (f / "metadata.json").write_text("{"), "is no complete copy"),
        (lambda f: (f / "metadata.json").write_text('{"task_names": [], "objectives_names": []}'), "does not name"),
        (lambda f: _meta(f, task_names=["cifar10"]), r"has shape \(3, 5, 3, 4, 7\), and its other files say \(1, 5"),
        (lambda f: _meta(f, task_names=["a", "b", "c"]), "unknown task of the copy 'a'"),
        (lambda f: _cut(f / "objectives_evaluations.npy"), "is no complete copy"),
        (lambda f: _cut(f / "hyperparameters.parquet"), "parquet is damaged"),
        (lambda f: (f / "hyperparameters.parquet").unlink(), "parquet is damaged"),
    ],
)
def test_damage(folder: Path, tmp_path: Path, harm: Any, fragment: str) -> None:
    harm(folder)
    with pytest.raises(UserError, match=fragment):
        import_table(folder, tmp_path / "t")
    assert not (tmp_path / "t").exists()


def _meta(folder: Path, **changes: Any) -> None:
    held = json.loads((folder / "metadata.json").read_text())
    (folder / "metadata.json").write_text(json.dumps(held | changes))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_foreign_operation(folder: Path) -> None:
    from pyarrow import parquet

    held = parquet.read_table(folder / "hyperparameters.parquet")
    other = held.set_column(2, "hp_x2", [["sep_conv"] * CELLS])
    parquet.write_table(other, folder / "hyperparameters.parquet")
    with pytest.raises(UserError, match=r"unknown operation in .*parquet: 'sep_conv'"):
        read_blackbox(folder)


def test_without_pyarrow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"pip install 'renascent\[parquet\]'"):
        read_blackbox(folder)


def test_without_huggingface_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtra, match=r"pip install 'renascent\[hf\]'"):
        import_table("synetune/blackbox-repository", tmp_path / "t")


def test_the_hub_is_asked_for_the_one_folder(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A stand-in for the hub's client: nothing is fetched in tests."""
    asked: list[Any] = []

    class Refused(OSError):
        pass

    def snapshot_download(*args: Any, **kwargs: Any) -> str:
        asked.append((args, kwargs))
        if len(asked) > 1:
            raise Refused("no network\nmore")
        return str(folder.parent)

    sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in os.listdir(folder)}

    class HfApi:
        def dataset_info(self, name: str, files_metadata: bool) -> Any:
            files = [("metadata.json", None), *((name, types.SimpleNamespace(sha256=sums[name])) for name in sums)]
            siblings = [types.SimpleNamespace(rfilename=f"nasbench201/{name}", lfs=lfs) for name, lfs in files]
            return types.SimpleNamespace(sha="abc", siblings=siblings)

    hub, errors = types.ModuleType("huggingface_hub"), types.ModuleType("huggingface_hub.errors")
    hub.snapshot_download, errors.HfHubHTTPError, hub.HfApi = snapshot_download, Refused, HfApi  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", errors)
    table = import_table("synetune/blackbox-repository", tmp_path / "t")
    assert len(table) == CELLS
    wanted = {"repo_type": "dataset", "revision": "abc", "allow_patterns": "nasbench201/*", "local_dir": None}
    assert asked == [(("synetune/blackbox-repository",), wanted)]
    with pytest.raises(UserError, match=r"cannot fetch synetune/.* \(no network\): try again, or give a folder"):
        import_table("synetune/blackbox-repository", tmp_path / "u")
    asked.clear()
    sums[NUMBERS] = "0" * 64
    with pytest.raises(UserError, match=rf"{NUMBERS} is not the file that synetune/blackbox-repository has"):
        import_table("synetune/blackbox-repository", tmp_path / "u")
