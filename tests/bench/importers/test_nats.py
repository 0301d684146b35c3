"""The authors' releases: every number arrives where it belongs, whatever the file, also after an interruption."""

from __future__ import annotations

import bz2
import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from renascent.bench.importers import _growing, nats
from renascent.bench.importers.compact import read_compact
from renascent.bench.importers.nats import beside, import_file, import_folder
from renascent.bench.tables.table import Table
from renascent.core.codecs.nats_size import size_space
from renascent.core.codecs.nats_topology import official_arch, topology_space
from renascent.core.errors import Interrupted, UserError

LAYOUTS = ("legacy", "zip", "bz2")

SPLIT = {
    "cifar10-valid": {"train": "train", "eval_x-valid": "val", "eval_ori-test": "test"},
    "cifar10": {"train": "train", "eval_ori-test": "test"},
    "cifar100": {"train": "train", "eval_x-valid": "val", "eval_x-test": "test", "eval_ori-test": "valtest"},
}
SPLIT["ImageNet16-120"] = SPLIT["cifar100"]


def topology_names(count: int) -> list[str]:
    return [topology_space().format(official_arch(index)) for index in range(count)]


def size_names(count: int) -> list[str]:
    return [size_space().format(size_space().at(index)) for index in range(count)]


@pytest.fixture
def names() -> list[str]:
    return topology_names(6)


@pytest.fixture
def told(release: Any) -> dict[int, dict[str, list[dict[str, Any]]]]:
    """Three of six architectures; the second lacks a seed and a data set, the third a schedule."""
    made_up = release.made_up

    def long(seed: int) -> dict[str, Any]:
        # as released: here the images of CIFAR-10 were looked at after the last epoch only
        last = {"epoch": [4], "acc": [80.0 + seed / 1000], "loss": [0.5], "time_s": [1.0]}
        return made_up("cifar10", seed, 5, 50, **{"eval_ori-test": last})

    return {
        0: {
            "12": [made_up("cifar10-valid", 777, 12, 20), made_up("cifar100", 111, 12, 5)],
            "200": [long(777), long(888)],
        },
        2: {"12": [made_up("cifar10-valid", 777, 12, 30)], "200": [long(888)]},
        5: {"12": [made_up("cifar10-valid", 111, 12, 40), made_up("ImageNet16-120", 111, 12, 3)]},
    }


@pytest.fixture
def archs(release: Any, names: list[str], told: Any) -> dict[int, Any]:
    """What is told, as the authors keep it."""
    return archs_of(release, names, told)


def archs_of(release: Any, names: list[str], told: Mapping[int, Mapping[str, list[Any]]]) -> dict[int, Any]:
    return {
        index: {hp: release.results(index, names[index], runs) for hp, runs in schedules.items()}
        for index, schedules in told.items()
    }


def check_all(table: Table, told: Mapping[int, Mapping[str, list[Any]]]) -> int:
    """Check every number of every training against the table, and return how many there were."""
    count = 0
    for row, schedules in told.items():
        for runs in schedules.values():
            for run in runs:
                count += check_curves(table, row, run)
                data = run["dataset"].lower()
                assert table.query(row, f"params:{data}") == round(run["params_m"] * 1e6)
                assert table.query(row, f"macs:{data}") == round(run["flop_m"] * 1e6)
                assert table.query(row, f"latency_ms:{data}:gpu") == pytest.approx(1000 * run["latency_s"][0], 1e-12)
                seconds = table.query(row, f"seconds_per_epoch:{data}")
                assert seconds == pytest.approx(run["train_time_per_epoch_s"], 1e-12)
    return count


def check_curves(table: Table, row: int, run: Mapping[str, Any]) -> int:
    count, data, epochs = 0, run["dataset"].lower(), run["epochs"]
    for name, split in SPLIT[run["dataset"]].items():
        held = {"epoch": range(epochs), "acc": run["train_acc"], "loss": run["train_loss"]}
        held = held if name == "train" else run[name]
        for quantity, field in (("accuracy", "acc"), ("loss", "loss")):
            key = f"{split}_{quantity}:{data}:{epochs}"
            for epoch, value in zip(held["epoch"], held[field], strict=True):
                assert table.query(row, key, seed=run["seed"], at=epoch + 1) == np.float32(value), (key, epoch)
                count += 1
    return count


def known(table: Table) -> int:
    """Count the numbers of accuracies and losses in a table."""
    keys = [key for key, column in table.columns.items() if column.epochs]
    return sum(int((~np.isnan(table.array(key))).sum()) for key in keys)


def test_a_folder_of_topology(release: Any, names: list[str], told: Any, archs: Any, tmp_path: Path) -> None:
    source = release.folder(tmp_path / "tss", names, archs)
    shown: list[tuple[int, int]] = []
    table = import_folder(source, tmp_path / "t", show=lambda done, total: shown.append((done, total)))
    assert table.name == "nats-bench-topology"
    assert [table.space.format(table.arch(row)) for row in range(6)] == names
    # every number told is there, and no other: nothing was filled
    assert check_all(table, told) == known(table)
    column = table.find("test_accuracy:cifar10:5")
    assert (column.seeds, column.at) == ((777, 888), ())
    assert table.find("val_accuracy:cifar10-valid:12").seeds == (111, 777)
    assert shown == [(1, 3), (2, 3), (3, 3)]
    assert not beside(tmp_path / "t").exists()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_file(release: Any, names: list[str], told: Any, archs: Any, tmp_path: Path, layout: str) -> None:
    schedules = {"12": "less", "200": "full"} if layout != "bz2" else {"12": "12", "200": "200"}
    archs = {index: {schedules[hp]: results for hp, results in states.items()} for index, states in archs.items()}
    name = "NATS-tss-v1_0-3ffb9.pickle.pbz2" if layout == "bz2" else "NAS-Bench-201-v1_1-096897.pth"
    table = import_file(release.file(tmp_path / name, names, archs, layout), tmp_path / "t")
    assert table.name == ("nats-bench-topology" if layout == "bz2" else "nas-bench-201")
    assert check_all(table, told) == known(table)


@pytest.mark.parametrize("space", ["tss", "sss"])
def test_the_authors_logs(release: Any, logs: Any, tmp_path: Path, space: str) -> None:
    """Every number of the genuine logs of three architectures of both spaces."""
    told = {int(i): {hp: held["runs"] for hp, held in hps.items()} for i, hps in logs[space].items()}
    strings = {int(i): next(iter(hps.values()))["arch_str"] for i, hps in logs[space].items()}
    names = topology_names(285) if space == "tss" else size_names(285)
    assert {index: names[index] for index in told} == strings
    archs = archs_of(release, names, told)
    table = import_folder(release.folder(tmp_path / "nats", names, archs), tmp_path / "t")
    count = check_all(table, told)
    assert count == known(table) > 9_000
    assert set(table.problems) == {"cifar10", "cifar100", "imagenet16-120"}
    assert table.problems["cifar10"].result == f"test_accuracy:cifar10:{200 if space == 'tss' else 90}"
    file = release.file(tmp_path / "whole.pickle.pbz2", names, archs, "bz2")
    again = import_file(file, tmp_path / "u")
    assert (tmp_path / "u").read_bytes() == (tmp_path / "t").read_bytes()
    assert again.name == table.name


def test_genuine_logs_agree_with_the_compact_arrays(release: Any, logs: Any, shared: Path, tmp_path: Path) -> None:
    told = {int(i): {hp: held["runs"] for hp, held in hps.items()} for i, hps in logs["tss"].items()}
    names = topology_names(285)
    ours = import_folder(release.folder(tmp_path / "n", names, archs_of(release, names, told)), tmp_path / "t")
    compact, compared = read_compact(shared / "nb201.npz"), 0
    for key in set(ours.columns) & set(compact.columns):
        for row in (0, 11, 284):
            assert ours.query(row, key) == pytest.approx(compact.query(row, key), rel=1e-5), (key, row)
            compared += 1
    assert compared > 50


def test_other_parameters_of_a_few_trainings(release: Any, names: list[str], tmp_path: Path) -> None:
    """As for 150 cells of NAS-Bench-201, one training tells another number: that of most is taken."""
    runs = [release.made_up("cifar10", seed, 2, 9, params_m=0.5 if seed == 1 else 0.25) for seed in (1, 2, 3)]
    latencies = ([-1.0], [0.01, 0.03], None)
    told = {0: {"12": [run | {"latency_s": seconds} for run, seconds in zip(runs, latencies, strict=True)]}}
    table = import_folder(release.folder(tmp_path / "n", names, archs_of(release, names, told)), tmp_path / "t")
    assert table.query(0, "params") == 250_000
    assert table.query(0, "latency_ms") == 20.0


# --- interruption


def stop_after(count: int) -> Callable[[int, int], None]:
    def show(done: int, total: int) -> None:
        if done == count:
            raise KeyboardInterrupt

    return show


@pytest.fixture
def whole(release: Any, names: list[str], archs: Any, tmp_path: Path) -> tuple[Path, bytes]:
    """A folder to import, and the table it makes when nothing happens."""
    source = release.folder(tmp_path / "tss", names, archs)
    import_folder(source, tmp_path / "expected")
    return source, (tmp_path / "expected").read_bytes()


@pytest.mark.parametrize("after", [1, 2])
def test_ctrl_c_and_resume(whole: tuple[Path, bytes], tmp_path: Path, after: int) -> None:
    source, expected = whole
    with pytest.raises(Interrupted, match=f"interrupted after {after} architectures"):
        import_folder(source, tmp_path / "t", show=stop_after(after))
    assert not (tmp_path / "t").exists()
    with pytest.raises(UserError, match=r"t\.importing holds an unfinished import: go on with `resume=True`"):
        import_folder(source, tmp_path / "t")
    for path in sorted(source.glob("0*"))[:after]:
        path.write_bytes(b"what was read is not read again")
    import_folder(source, tmp_path / "t", resume=True)
    assert (tmp_path / "t").read_bytes() == expected
    assert not beside(tmp_path / "t").exists()


def test_a_kill_loses_nothing_that_was_flushed(
    whole: tuple[Path, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while a column is being widened: what the state names is whole."""

    class Killed(BaseException):
        pass

    def save_or_die(self: Any) -> None:
        if self.done.any():  # after the first row: the second has a column that the first had not, or a seed
            raise Killed
        save(self)

    source, expected = whole
    save = _growing.Growing._save_state
    monkeypatch.setattr(_growing, "FLUSH_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(_growing.Growing, "_save_state", save_or_die)
        with pytest.raises(Killed):
            import_folder(source, tmp_path / "t")
    done = np.load(beside(tmp_path / "t") / "done.npy")
    assert 0 < done.sum() < 3
    import_folder(source, tmp_path / "t", resume=True)
    assert (tmp_path / "t").read_bytes() == expected


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_file_resumed(release: Any, names: list[str], archs: Any, tmp_path: Path, layout: str) -> None:
    source = release.file(tmp_path / "x.pth", names, archs, layout)
    import_file(source, tmp_path / "expected")
    with pytest.raises(Interrupted):
        import_file(source, tmp_path / "t", show=stop_after(2))
    assert np.load(beside(tmp_path / "t") / "done.npy").tolist() == [1, 0, 1, 0, 0, 0]
    import_file(source, tmp_path / "t", resume=True)
    assert (tmp_path / "t").read_bytes() == (tmp_path / "expected").read_bytes()


def test_resume_of_nothing_and_of_another_source(
    whole: tuple[Path, bytes], release: Any, names: list[str], tmp_path: Path
) -> None:
    source, _ = whole
    with pytest.raises(UserError, match=r"there is no unfinished import in .*t\.importing"):
        import_folder(source, tmp_path / "t", resume=True)
    with pytest.raises(Interrupted):
        import_folder(source, tmp_path / "t", show=stop_after(1))
    assert json.loads((beside(tmp_path / "t") / "state.json").read_text())["identity"]["source"] == str(source)
    archs = archs_of(release, names, {0: {"12": [release.made_up("cifar10", 1, 2, 3)]}})
    other = release.folder(tmp_path / "other", names, archs)
    with pytest.raises(UserError, match=r"unfinished import of something else \(.*tss'\)"):
        import_folder(other, tmp_path / "t", resume=True)
    (beside(tmp_path / "t") / "1.npy").write_bytes(b"no array")
    with pytest.raises(UserError, match=r"cannot be resumed .*: remove that folder"):
        import_folder(source, tmp_path / "t", resume=True)


def test_one_architecture_at_a_time(
    release: Any, names: list[str], archs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a file of all, an architecture that was read is emptied before the next one is."""
    met: list[dict[str, Any]] = []
    take = nats._take

    def watch(work: Any, filled: dict[Any, Any]) -> None:
        for before in met:
            runs = [run for results in before.values() for run in results["all_results"].values()]
            assert not any(run["train_acc1es"] or run["eval_acc1es"] or run["train_times"] for run in runs)
        take(work, filled)
        met.append(filled)

    monkeypatch.setattr(nats, "_take", watch)
    import_file(release.file(tmp_path / "x.pth", names, archs, "legacy"), tmp_path / "t")
    assert len(met) == 3


# --- bad input


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        (lambda a: a[0]["12"].update(arch_index=3), "results of architecture 3 .* stand where 0"),
        (lambda a: a[0]["12"].pop("all_results"), "is damaged .*no results of an architecture"),
        (lambda a: a[0]["12"]["all_results"][("cifar10", 1)].pop("epochs"), "is damaged .*epochs"),
        (lambda a: a[0]["12"]["all_results"].update({("mnist", 1): {"epochs": 1}}), "unknown data set 'mnist'"),
        (lambda a: a[0]["12"]["all_results"].clear(), "holds no result of any training"),
        (lambda a: a.update({99: a[0]}), "architecture 99, and the list has 0 to 5"),
    ],
)
def test_other_content(release: Any, names: list[str], tmp_path: Path, change: Any, fragment: str) -> None:
    archs = archs_of(release, names, {0: {"12": [release.made_up("cifar10", 1, 2, 3)]}})
    change(archs)
    source = release.folder(tmp_path / "n", names, archs)
    with pytest.raises(UserError, match=fragment):
        import_folder(source, tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_a_damaged_file_can_be_replaced(whole: tuple[Path, bytes], tmp_path: Path) -> None:
    source, expected = whole
    held = (source / "000002.pickle.pbz2").read_bytes()
    (source / "000002.pickle.pbz2").write_bytes(held[: len(held) // 2])
    with pytest.raises(UserError, match=r"000002\.pickle\.pbz2 is damaged .*: get the file again"):
        import_folder(source, tmp_path / "t")
    (source / "000002.pickle.pbz2").write_bytes(held)
    import_folder(source, tmp_path / "t", resume=True)
    assert (tmp_path / "t").read_bytes() == expected


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_cut_short(release: Any, names: list[str], archs: Any, tmp_path: Path, layout: str) -> None:
    source = release.file(tmp_path / "x.pth", names, archs, layout)
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 2 // 3])
    with pytest.raises(UserError, match=r"x\.pth is damaged"):
        import_file(source, tmp_path / "t")


def test_a_folder_without_results_or_list(tmp_path: Path) -> None:
    (tmp_path / "n").mkdir()
    (tmp_path / "n" / "meta.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps({"archs": []})))
    with pytest.raises(UserError, match=r"no file of an architecture such as 000000\.pickle\.pbz2"):
        import_folder(tmp_path / "n", tmp_path / "t")
    (tmp_path / "n" / "000000.pickle.pbz2").write_bytes(b"")
    with pytest.raises(UserError, match="does not list its architectures"):
        import_folder(tmp_path / "n", tmp_path / "t")
