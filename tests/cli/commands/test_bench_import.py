"""`renascent bench import`, in this process: what it prints, writes and returns."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from renascent.core.codecs.nats_topology import official_order


@pytest.fixture
def say(say: Any) -> Any:
    """In a folder that has a small nb201.npz."""
    archs = official_order().astype(np.uint8)
    np.savez("nb201.npz", arch_ops=archs, acc200_c10_test=np.arange(len(archs), dtype=np.float32) % 100)
    return say


def test_summary_and_query(say: Any, tmp_path: Path) -> None:
    completed = say("bench import nb201.npz --out t.safetensors")
    assert (completed.code, completed.err) == (0, "")
    first, second = completed.out.splitlines()
    assert first == "t.safetensors: nas-bench-201, 15,625 architectures, 1 columns, no search problem"
    size = (tmp_path / "t.safetensors").stat().st_size
    assert second.startswith(f"{size:,} bytes, ")
    completed = say("bench query 7 --table t.safetensors --json")
    assert completed.facts["values"] == {"test_accuracy:cifar10:200": 7.0}


def test_facts(say: Any, tmp_path: Path) -> None:
    facts = say("bench import . --out t.safetensors --json").facts
    assert facts.pop("seconds") >= 0
    assert facts == {
        "table": "t.safetensors",
        "name": "nas-bench-201",
        "rows": 15625,
        "columns": ["test_accuracy:cifar10:200"],
        "problems": [],
        "bytes": (tmp_path / "t.safetensors").stat().st_size,
    }


@pytest.mark.parametrize(
    ("line", "fragment"),
    [
        ("bench import", "which benchmark? write `renascent bench import SOURCE --out TABLE`"),
        ("bench import nb201.npz", "--out is missing"),
        ("bench import nothing --out t", "there is no nothing"),
        ("bench import nb201.npz --out t.npz", "name it t.safetensors"),
        ("bench import nb201.npz --out nb201.npz/t", "nb201.npz is a file; give another --out"),
        ("bench import nb201.npz --out t --resume", "leave --resume out"),
        ("bench import nb201.npz --outt t", "did you mean --out?"),
    ],
)
def test_bad_input_is_one_line(refused: Any, line: str, fragment: str) -> None:
    refused(line, fragment)


RELEASE = """
import bz2, pickle, sys
from pathlib import Path
from renascent.core.codecs.nats_topology import official_arch, topology_space

names = [topology_space().format(official_arch(i)) for i in range({count})]
folder = Path("nats")
folder.mkdir()
(folder / "meta.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps({{"meta_archs": names}})))
for i, name in enumerate(names):
    start = i % 90
    run = dict(epochs=2, train_acc1es={{0: 1.0 + start, 1: 2.0 + start}}, train_losses={{0: 2.0, 1: 1.0}}, params=0.5)
    run |= dict(flop=8.0, train_times={{0: 3.0}}, latency=[0.01], eval_losses={{}})
    run |= dict(eval_acc1es={{"ori-test@1": 1.5 + start}})
    state = dict(arch_index=i, arch_str=name, all_results={{("cifar10", 777): run}})
    (folder / f"{{i:06d}}.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps({{"12": state}})))
"""


def write_release(count: int) -> None:
    exec(RELEASE.format(count=count), {})


def test_progress_without_a_terminal(say: Any) -> None:
    write_release(3)
    completed = say("bench import nats --out t")
    assert completed.code == 0
    assert completed.err == "architectures 3/3\n"
    assert "nats-bench-topology, 3 architectures, 7 columns" in completed.out


def test_ctrl_c_says_how_to_go_on(say: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from renascent.bench.importers import nats

    write_release(4)
    say("bench import nats --out expected")
    read, calls = nats.read_plain, [0]

    def interrupted(path: Path) -> Any:
        calls[0] += 1
        if calls[0] == 4:
            signal.raise_signal(signal.SIGINT)
        return read(path)

    with monkeypatch.context() as patch:
        patch.setattr(nats, "read_plain", interrupted)
        completed = say("bench import nats --out 'my table'")
    assert completed.code == 130
    last = completed.err.splitlines()[-1]
    command = "renascent bench import nats --out 'my table' --resume"
    assert last == f"renascent: interrupted after 2 architectures: {command}"
    assert say(command.removeprefix("renascent ")).code == 0
    assert Path("my table").read_bytes() == Path("expected").read_bytes()
    assert not Path("my table.importing").exists()


def test_killed_at_some_moment_and_resumed(say: Any, tmp_path: Path) -> None:
    """A real process, killed while it reads."""
    write_release(400)
    assert say("bench import nats --out expected").code == 0
    command = [sys.executable, "-m", "renascent", "bench", "import", "nats", "--out", "t"]
    killed = 0
    for attempt in range(40):
        resume = ["--resume"] if (tmp_path / "t.importing" / "state.json").exists() else []
        process = subprocess.Popen([*command, *resume], cwd=tmp_path, stderr=subprocess.DEVNULL, env=dict(os.environ))
        columns = tmp_path / "t.importing" / "7.npy"
        while process.poll() is None and not columns.exists():
            time.sleep(0.01)
        time.sleep(0.05 * attempt)
        process.kill()
        process.wait()
        killed += process.returncode != 0
        if process.returncode == 0 or killed == 2:
            break
    assert killed
    if not (tmp_path / "t").exists():
        assert say("bench import nats --out t --resume").code == 0
    assert (tmp_path / "t").read_bytes() == (tmp_path / "expected").read_bytes()


def test_bench_import_pickle_with_a_call_is_refused(refused: Any, tmp_path: Path) -> None:
    for content in (b"cos\nsystem\n(S'touch trace'\ntR.", b"\x80\x02cos\nsystem\n(U\x0btouch tracetR."):
        (tmp_path / "evil.pth").write_bytes(content)
        says = "evil.pth is refused: it asks for 'os.system', which was not called"
        refused("bench import evil.pth --out t", says)
