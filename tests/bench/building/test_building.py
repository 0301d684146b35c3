"""Building a table: what comes out, what a kill at any moment costs, and what is refused."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing import get_all_start_methods
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from renascent.bench.building import Plan, build, chosen
from renascent.bench.building import workers as pool
from renascent.bench.building.journal import open_journal
from renascent.bench.building.plan import Job
from renascent.bench.building.work import TRIES, died, machine, price, train
from renascent.bench.importers import SHIPPED, open_table
from renascent.bench.tables.table import Table
from renascent.cli.entry import main
from renascent.core.codecs.nats_topology import topology_space
from renascent.core.errors import Diverged, Interrupted, UserError
from renascent.core.files import Json
from renascent.core.protocols import WeightRule
from renascent.costs import macs, params
from renascent.loops.fit import Fit
from renascent.loops.trained import train_curves
from renascent.nets.cells.nats import NatsTopology
from renascent.tasks.prepare import ImageOptions

SPACE = NatsTopology(channels=2, cells=1, nodes=2, operations=("none", "skip_connect", "nor_conv_1x1"))
NONE, SKIP, CONV = "|none~0|", "|skip_connect~0|", "|nor_conv_1x1~0|"
PLAN = Plan(
    space=SPACE,
    data="digits",
    archs=(NONE, SKIP, CONV),
    options=ImageOptions(limit=200),
    settings=Fit(epochs=2, batch=32),
    seeds=2,
)
LONGER = replace(PLAN, settings=replace(PLAN.settings, epochs=6), seeds=4)
FLAGS = (
    "nats-topology --data digits --channels 2 --cells 1 --nodes 2 --operations none,skip_connect,nor_conv_1x1 "
    "--limit 200 --batch 32 --epochs 6 --seeds 4 --workers 2 --out t.safetensors"
)
"""The command of LONGER."""

KILLS = 2
"""One of a build and all its processes, one of it alone."""


def same(a: Table, b: Table) -> bool:
    """Return whether two tables agree in all that a repetition must give again, bit for bit."""
    assert (a.space, list(a.columns), a.problems) == (b.space, list(b.columns), b.problems)
    plain = [key for key, column in a.columns.items() if not column.measured]
    assert len(plain) == 8
    return np.array_equal(a.archs, b.archs) and all(
        a.array(key).tobytes() == b.array(key).tobytes() and a.columns[key] == b.columns[key] for key in plain
    )


def in_process(text: str, jobs: Sequence[Job], workers: int) -> Iterator[Json]:
    yield from (train(text, *job) for job in jobs)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train in this process: no start-up to wait for, and its functions can be replaced."""
    monkeypatch.setattr("renascent.bench.building.builder.on_this_machine", in_process)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """The table of LONGER, built in this process and left alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("renascent.bench.building.builder.on_this_machine", in_process)
        return build(LONGER, tmp_path_factory.mktemp("whole") / "t.safetensors").table


# --- what is in the table


@pytest.mark.usefixtures("alone")
def test_every_number_is_that_of_one_training(tmp_path: Path) -> None:
    built = build(PLAN, tmp_path / "t.safetensors", command="as typed")
    table, task = Table.open(tmp_path / "t.safetensors"), PLAN.task()
    assert (built.trainings, built.failed, built.path) == (6, 0, tmp_path / "t.safetensors")
    assert [file.name for file in tmp_path.iterdir()] == ["t.safetensors"]
    assert [table.space.format(table.arch(row)) for row in range(3)] == list(PLAN.archs)
    for row, seed in [(0, 1), (2, 0)]:
        curves = train_curves(SPACE, table.arch(row), task, PLAN.settings, seed).values
        for metric, curve in curves.items():
            assert table.array(f"{metric}:digits:2")[row, seed].tolist() == np.float32(curve).tolist()
            assert table.query(row, metric, seed=seed, at=1) == np.float32(curve[0])
    net = SPACE.network(SPACE.space.parse(CONV), 1, 10)
    assert (table.query(CONV, "params"), table.query(CONV, "macs")) == (params(net), macs(net, (1, 8, 8)))
    assert (table.values("latency_ms:cpu") > 0).all()
    assert (table.array("seconds_per_epoch") > 0).all()
    assert {key for key, c in table.columns.items() if c.measured} == {
        "seconds_per_epoch:digits",
        "latency_ms:digits:cpu",
    }


@pytest.mark.usefixtures("alone")
def test_the_table_says_how_it_was_made_and_poses_a_problem(tmp_path: Path) -> None:
    table = build(PLAN, tmp_path / "t.safetensors", command="as typed").table
    assert table.about["command"] == "as typed"
    assert table.about["processor"] == machine(PLAN.task())
    assert "torch 2." in table.about["versions"]
    settings = json.loads(table.about["settings"])
    assert (settings["settings"]["batch"], settings["options"]["limit"], settings["archs"]["count"]) == (32, 200, 3)
    problem = table.problem("digits")
    assert (problem.signal, problem.seconds) == ("val_accuracy:digits:2", "seconds_per_epoch:digits")
    assert problem.result == "test_accuracy:digits:2"
    assert machine(PLAN.task()) in table.find("latency_ms").note


def test_a_plan_survives_json() -> None:
    plan = replace(PLAN, settings=Fit(epochs=3, weights=WeightRule(lr=0.3, nesterov=False), ema=0.9), device="cuda")
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert "archs" in plan.to_json() and plan.summary()["archs"] != replace(plan, archs=(NONE,)).summary()["archs"]


def test_the_price_is_counted_and_timed() -> None:
    record = price(PLAN, PLAN.task(), SKIP)
    net = SPACE.network(SPACE.space.parse(SKIP), 1, 10)
    assert (record["params"], record["macs"]) == (params(net), macs(net, (1, 8, 8)))
    assert 0 < record["latency_ms"] < 1000


# --- which architectures


def test_chosen_is_all_a_list_a_file_or_a_sample(tmp_path: Path) -> None:
    space = topology_space(3)
    assert chosen(space) == tuple(space.format(arch) for arch in space)
    two = ("|none~0|+|none~0|none~1|", "|skip_connect~0|+|none~0|none~1|")
    assert chosen(space, ", ".join(two)) == two
    (tmp_path / "some.txt").write_text(f"# two cells\n{two[1]}\n\n  {two[0]}\n")
    assert chosen(space, str(tmp_path / "some.txt")) == (two[1], two[0])
    drawn = chosen(space, sample=100, seed=4)
    assert len(set(drawn)) == 100 and set(drawn) < set(chosen(space))
    assert drawn == chosen(space, sample=100, seed=4) != chosen(space, sample=100, seed=5)
    assert set(chosen(space, sample=125)) == set(chosen(space))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_file_of_architectures_saved_elsewhere_is_read(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "some.txt").write_bytes(f"{NONE}\r\n\r\n# more\r\n {SKIP}\r\n".encode(encoding))
    assert chosen(SPACE.space, str(tmp_path / "some.txt")) == (NONE, SKIP)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (NONE.encode("utf-16"), r"some\.txt is no text in UTF-8"),
        (f"{NONE}\n{SKIP}|\n".encode(), r"line 2 of .*some\.txt: "),
        (bytes(100), r"line 1 of .*some\.txt: "),
        (b"x" * 10_000_000, r"line 1 of .*some\.txt: "),
        (f"{NONE}\n{NONE}".encode(), "given twice"),
    ],
    ids=["utf-16", "a bar too many", "zeros", "a long line", "twice"],
)
def test_a_file_of_what_are_no_architectures_is_one_line(text: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "some.txt").write_bytes(text)
    with pytest.raises(UserError, match=words) as error:
        chosen(SPACE.space, str(tmp_path / "some.txt"))
    assert len(str(error.value)) < 1000


def test_a_long_list_of_architectures_is_no_name_of_a_file() -> None:
    space = topology_space(4)
    archs = tuple(space.format(space.at(k)) for k in range(100))
    assert chosen(space, ",".join(archs)) == archs


@pytest.mark.parametrize(
    ("given", "sample", "fragment"),
    [
        ("|none~0|,|none~0|", 0, r"\|none~0\| is given twice"),
        ("|no~0|", 0, "cannot be read"),
        (None, 4, "the sample is 4: give 1 to 3"),
        ("|none~0|", 2, "give one of `archs` and `sample`"),
    ],
)
def test_a_wrong_choice_is_refused(given: str | None, sample: int, fragment: str) -> None:
    with pytest.raises(UserError, match=fragment):
        chosen(SPACE.space, given, sample)


# --- failures


@pytest.mark.usefixtures("alone")
def test_a_failed_training_is_noted_and_missing_and_not_fatal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flawed(space: Any, arch: Any, task: Any, settings: Fit, seed: int) -> Any:
        if seed == 1 and SPACE.space.format(arch) == SKIP:
            raise Diverged("train_loss is nan at step 1 of 6 (epoch 1): stopped; there is no checkpoint yet; start")
        return train_curves(space, arch, task, settings, seed)

    monkeypatch.setattr("renascent.bench.building.work.train_curves", flawed)
    heard: list[Json] = []
    built = build(PLAN, tmp_path / "t.safetensors", say=heard.append)
    assert (built.failed, built.trainings) == (1, 6)
    why = "Diverged: train_loss is nan at step 1 of 6 (epoch 1)"
    assert json.loads(built.table.about["failed"]) == [{"arch": SKIP, "seed": 1, "error": why}]
    missing = np.isnan(built.table.array("val_loss:digits:2"))
    assert missing[1, 1].all() and missing.sum() == 2
    assert np.isnan(built.table.array("seconds_per_epoch:digits")).sum() == 1
    assert [event["event"] for event in heard] == ["trained"] * 6 + ["priced"] * 3
    assert [event["done"] for event in heard] == [1, 2, 3, 4, 5, 6, 1, 2, 3]


@pytest.mark.usefixtures("alone")
def test_build_writes_no_table_when_all_trainings_fail(tmp_path: Path) -> None:
    plan = replace(PLAN, settings=replace(PLAN.settings, weights=WeightRule(lr=1e30, clip=0.0)))
    with pytest.raises(UserError, match=r"every training failed, the first by Diverged: .* is .*t\.safetensors\.parts"):
        build(plan, tmp_path / "t.safetensors")
    assert not (tmp_path / "t.safetensors").exists()


@pytest.mark.usefixtures("alone")
def test_a_loss_that_overflows_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flawed(*args: Any) -> Any:
        curves = train_curves(*args)
        curves.values["val_loss"][0] = float("inf")
        return curves

    monkeypatch.setattr("renascent.bench.building.work.train_curves", flawed)
    built = build(PLAN, tmp_path / "t.safetensors")
    assert np.isnan(built.table.array("val_loss:digits:2")[:, :, 0]).all()
    assert not np.isnan(built.table.array("val_loss:digits:2")[:, :, 1]).any()
    assert built.failed == 0


def test_a_process_that_dies_is_replaced_and_a_training_that_kills_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    give, given = pool._Worker.give, []

    def fatal(self: Any, job: Job) -> None:
        give(self, job)
        given.append(job)
        if job == (CONV, 0) or (job == (SKIP, 0) and given.count(job) == 1):
            os.kill(self.process.pid, signal.SIGKILL)

    monkeypatch.setattr(pool._Worker, "give", fatal)
    jobs = [(NONE, 0), (SKIP, 0), (CONV, 0)]
    records = list(pool.on_this_machine(json.dumps(PLAN.to_json()), jobs, 1))
    assert {(record["arch"], record["seed"]) for record in records} == set(jobs)
    (lost,) = [record for record in records if "error" in record]
    assert lost == died(CONV, 0, "by signal 9")
    assert "its process died 3 times, the last time by signal 9" in lost["error"]
    assert (given.count((SKIP, 0)), given.count((CONV, 0))) == (2, TRIES)


@pytest.mark.skipif("forkserver" not in get_all_start_methods(), reason="needs a system on which processes fork")
@pytest.mark.parametrize(("device", "kind"), [("cpu", "ForkServerProcess"), ("cuda", "SpawnProcess")])
def test_only_trainings_on_the_processor_are_forked(device: str, kind: str) -> None:
    worker = pool._Worker(json.dumps(replace(PLAN, device=device).to_json()))
    worker.stop()
    assert type(worker.process).__name__ == kind


def test_processes_that_die_at_once_end_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool._Worker, "give", lambda self, job: (setattr(self, "job", job), self.process.kill()))
    with pytest.raises(UserError, match="3 processes died, the last by signal 9, before one had trained anything"):
        list(pool.on_this_machine(json.dumps(PLAN.to_json()), PLAN.jobs, 1))


# --- the journal


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("cut", [0, 1, 40])
def test_a_build_goes_on_from_its_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: int) -> None:
    """As a kill leaves it: the last line perhaps half written."""
    reference = build(PLAN, tmp_path / "a.safetensors").table
    seen: list[Json] = []

    def stop(event: Json) -> None:
        seen.append(event)
        if len(seen) == 4:
            raise KeyboardInterrupt

    out = tmp_path / "b.safetensors"
    with pytest.raises(Interrupted, match=r"interrupted after 4 of 6 trainings; to go on"):
        build(PLAN, out, say=stop)
    journal = tmp_path / "b.safetensors.parts" / "events.jsonl"
    held = journal.read_bytes()
    journal.write_bytes(held[: len(held) - cut])
    with pytest.raises(UserError, match=r"already holds a run: resume it \(`resume=True`\), or remove .*\.parts"):
        build(PLAN, out)
    again: list[Json] = []
    assert same(build(PLAN, out, resume=True, say=again.append).table, reference)
    assert len([event for event in again if event["event"] == "trained"]) == (2 if cut == 0 else 3)
    assert not journal.parent.exists()


@pytest.mark.usefixtures("alone")
def test_killed_after_the_last_training_only_prices_are_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(event: Json) -> None:
        if event["event"] == "priced" and event["done"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="after 6 of 6 trainings"):
        build(PLAN, tmp_path / "t.safetensors", say=stop)
    heard: list[Json] = []
    build(PLAN, tmp_path / "t.safetensors", resume=True, say=heard.append)
    assert [event["event"] for event in heard] == ["priced"]


@pytest.mark.usefixtures("alone")
def test_killed_between_the_table_and_the_end_it_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "t.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr("renascent.bench.building.journal.Journal.remove", lambda self: (_ for _ in ()).throw(KeyError()))
        with pytest.raises(KeyError):
            build(PLAN, out)
    assert out.exists()
    heard: list[Json] = []
    build(PLAN, out, resume=True, say=heard.append)
    assert heard == []
    assert [file.name for file in tmp_path.iterdir()] == ["t.safetensors"]


@pytest.mark.usefixtures("alone")
def test_another_configuration_is_not_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "t.safetensors"
    with pytest.raises(Interrupted):
        build(PLAN, out, say=lambda event: (_ for _ in ()).throw(KeyboardInterrupt))
    for other, fragment in [
        (replace(PLAN, seeds=3), "seeds was 2, now 3"),
        (replace(PLAN, settings=replace(PLAN.settings, epochs=3)), "settings.epochs was 2, now 3"),
        (replace(PLAN, archs=(NONE,)), "archs.count was 3, now 1"),
        (replace(PLAN, options=ImageOptions(limit=200, split_seed=1)), "task.sha256 was"),
    ]:
        with pytest.raises(UserError, match=fragment):
            build(other, out, resume=True)
    monkeypatch.setattr(torch, "__version__", "9.9")
    with pytest.raises(UserError, match=r"torch was .*, now '9.9'"):
        build(PLAN, out, resume=True)


@pytest.mark.usefixtures("alone")
def test_build_resume_needs_the_same_plan(tmp_path: Path) -> None:
    out = tmp_path / "t.safetensors"
    build(PLAN, out, resume=True)  # as after a kill that came before the folder
    assert list(tmp_path.iterdir()) == [out]
    held = out.read_bytes()
    for resume in (False, True):
        with pytest.raises(UserError, match="is there already: nothing is left to build"):
            build(PLAN, out, resume=resume)
    assert out.read_bytes() == held
    assert [file.name for file in tmp_path.iterdir()] == ["t.safetensors"]


def test_two_builds_of_one_table_do_not_mix(tmp_path: Path) -> None:
    out = tmp_path / "t.safetensors"
    with (
        open_journal(out, {}, resume=False),
        pytest.raises(UserError, match=r"another process is at work in .*: wait for it"),
        open_journal(out, {}, resume=True),
    ):
        pass
    with open_journal(out, {}, resume=True) as journal:
        assert journal.trained == {}


def test_a_damaged_journal_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "t.safetensors"
    with open_journal(out, {}, resume=False) as journal:
        journal.add("trained", {"arch": NONE, "seed": 0, "error": "none"})
        file = journal.run.events_file
    file.write_bytes(file.read_bytes().replace(b'"seed"', b"seed"))
    with pytest.raises(UserError, match=r"events\.jsonl is damaged .*: remove .*\.parts and start again"):
        open_journal(out, {}, resume=True).__enter__()


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    "changes",
    [
        {"arch": 5},
        {"arch": "|pool~0|"},
        {"seed": 7},
        {"seed": "0"},
        {"values": None},
        {"values": {}},
        {"values": {"val_loss": [1.0]}},
        {"values": {"val_loss": ["1"]}},
        {"seconds": -1},
        {"seconds": float("nan")},
        {"event": "priced"},
        {"event": "priced", "params": -5, "macs": 5, "latency_ms": 1.0},
    ],
    ids=str,
)
def test_a_record_of_another_build_is_refused(changes: Json, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = train(json.dumps(PLAN.to_json()), NONE, 0)
    with monkeypatch.context() as stopped:
        stopped.setattr("renascent.bench.building.builder._train", interrupt)
        with pytest.raises(Interrupted):
            build(PLAN, tmp_path / "t.safetensors")
    events = tmp_path / "t.safetensors.parts" / "events.jsonl"
    events.write_text(json.dumps({"event": "trained", **record, **changes}) + "\n")
    with pytest.raises(UserError, match=r"events\.jsonl is damaged .*: remove .*\.parts and start again") as error:
        build(PLAN, tmp_path / "t.safetensors", resume=True)
    assert "\n" not in str(error.value)


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("plan", "out", "fragment"),
    [
        (replace(PLAN, options=ImageOptions(limit=3)), "t.safetensors", "the limit is 3"),
        (replace(PLAN, data="digit"), "t.safetensors", "did you mean 'digits'?"),
        (PLAN, "t.npz", "name it t.safetensors"),
        (PLAN, "file/t.safetensors", "cannot write"),
    ],
)
def test_build_bad_plan_writes_nothing(tmp_path: Path, plan: Plan, out: str, fragment: str) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError) as caught:
        build(plan, tmp_path / out)
    assert fragment in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_no_seeds_and_no_architectures_are_refused() -> None:
    with pytest.raises(UserError, match="seeds is 0"):
        replace(PLAN, seeds=0)
    with pytest.raises(UserError, match="no architecture was given"):
        replace(PLAN, archs=())


# --- kills, of real processes


def typed(folder: str, *more: str) -> int:
    """Build in a process to kill."""
    os.chdir(folder)
    return main(["bench", "build", *FLAGS.split(), *more])


class Builds:
    """Builds in processes of their own, in one folder."""

    def __init__(self, folder: Path, processes: Any) -> None:
        self.folder, self.processes, self.ended = folder, processes, True

    def start(self, *more: str) -> None:
        self.pid, self.ended = self.processes.start(typed, self.folder / "log", str(self.folder), *more), False

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def done(self) -> int:
        """How many trainings the journal holds."""
        file = self.folder / "t.safetensors.parts" / "events.jsonl"
        return file.read_text().count('"trained"') if file.exists() else 0

    def children(self) -> list[int]:
        """Return the processes that train: of the group, those that multiprocessing's server has forked."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                state, parent, group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
                if int(group) == self.pid and int(folder.name) != self.pid != int(parent) and state != "Z":
                    found.append(int(folder.name))
        return found

    def until(self, condition: Any) -> None:
        deadline = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < deadline, self.log
            time.sleep(0.005)

    def kill_all(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.end()

    def end(self) -> int:
        self.ended = True
        return self.processes.end()


@pytest.fixture
def builds(tmp_path: Path, processes: Any) -> Iterator[Builds]:
    found = Builds(tmp_path, processes)
    yield found
    if not found.ended:
        found.kill_all()


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")


@needs_proc
@pytest.mark.timeout(600)
def test_killed_at_random_moments_and_resumed_the_table_is_the_same(builds: Builds, whole: Table) -> None:
    moments, counts = random.Random(5), [0]
    builds.start()
    for kill in range(KILLS):
        aim = counts[-1] + 1 + moments.randrange(2)
        builds.until(lambda aim=aim: builds.done >= aim)
        time.sleep(moments.uniform(0, 0.05))
        if kill % 2:
            orphans = builds.children()
            os.kill(builds.pid, signal.SIGKILL)  # the parent alone: its processes must see that it is gone, and end
            builds.end()
        else:
            builds.kill_all()
            orphans = []
        counts.append(builds.done)
        deadline = time.monotonic() + 20
        while any(Path(f"/proc/{pid}").exists() for pid in orphans):
            assert time.monotonic() < deadline, "a process goes on training for nobody"
            time.sleep(0.01)
        builds.start("--resume", "--json")
    builds.until(lambda: len(builds.children()) == 2)
    os.kill(moments.choice(builds.children()), signal.SIGKILL)  # one of its processes: that costs nothing
    assert builds.end() == 0, builds.log
    facts = json.loads(builds.log.splitlines()[-1])
    assert (facts["rows"], facts["trainings"], facts["failed"]) == (3, 12, 0)
    assert counts == sorted(counts) and counts[-1] < len(LONGER.jobs)
    assert same(Table.open(builds.folder / "t.safetensors"), whole)
    assert sorted(file.name for file in builds.folder.iterdir()) == ["log", "t.safetensors"]


@pytest.mark.timeout(600)
def test_a_build_that_is_stopped_says_how_to_go_on(builds: Builds) -> None:
    """Ctrl-C of a terminal is heard by every process of the group."""
    builds.start()
    builds.until(lambda: builds.done >= 2)
    os.killpg(builds.pid, signal.SIGINT)
    assert builds.end() == 130
    last = builds.log.splitlines()[-1]
    assert last.startswith("renascent: interrupted after ")
    assert last.endswith(f"of 12 trainings; to go on: renascent bench build {FLAGS} --resume")
    assert "Traceback" not in builds.log
    assert 2 <= builds.done < 12
    builds.until(lambda: not builds.children())


# --- the table that ships


def test_the_shipped_table_is_whole_and_ranks_its_cells() -> None:
    table = open_table(SHIPPED)
    assert len(table) == table.space.size == 125
    for split in ("train", "val", "test"):
        column = table.find(f"{split}_accuracy:digits:12")
        assert (column.seeds, column.at) == ((0, 1, 2), tuple(range(1, 13)))
        assert not np.isnan(table.array(column.key)).any()
    assert "failed" not in table.about
    assert table.about["command"].startswith("renascent bench build nats-topology --data digits --nodes 3")
    final = table.values("val_accuracy:digits:12")
    assert final.std() > 2 and (final < 99).all()


def shipped_plan() -> tuple[Table, Plan]:
    table = open_table(SHIPPED)
    return table, Plan.from_json({**json.loads(table.about["settings"]), "archs": ["unused"]})


def test_cells_of_the_shipped_table_come_out_again() -> None:
    table, plan = shipped_plan()
    task = plan.task()
    versions = table.about["versions"].split(", ")
    alike = table.about["processor"] == machine(task) and f"torch {torch.__version__}" in versions
    for row in (12, 62):
        curves = train_curves(plan.space, table.arch(row), task, plan.settings, 1).values
        for metric, curve in curves.items():
            held = table.array(f"{metric}:digits:12")[row, 1]
            if alike:
                assert held.tobytes() == np.float32(curve).tobytes(), f"row {row}: {metric} is another"
            elif metric.endswith("accuracy"):
                assert np.abs(held - curve).max() < 0.5, f"row {row}: {metric} is another"


OTHER_PROCESSOR = """
import json, sys
import torch
from renascent.bench.building.plan import Plan
from renascent.bench.building.work import train
text, arch = sys.stdin.read().split("\\n")
print(json.dumps([torch.backends.cpu.get_cpu_capability(), train(text, arch, 2)["values"]]))
"""


def test_another_processor_gives_the_same_accuracies() -> None:
    """Another as far as torch can be told: one with narrower vectors."""
    table, plan = shipped_plan()
    arch = table.space.format(table.arch(93))
    limits = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
    done = subprocess.run(
        [sys.executable, "-c", OTHER_PROCESSOR],
        env={**os.environ, **limits},
        input=f"{json.dumps(plan.to_json())}\n{arch}",
        capture_output=True,
        text=True,
        check=True,
    )
    capability, values = json.loads(done.stdout)
    assert capability in ("DEFAULT", "NO AVX")
    for split in ("train", "val", "test"):
        held = table.array(f"{split}_accuracy:digits:12")[93, 2]
        assert np.abs(held - values[f"{split}_accuracy"]).max() < 0.001
