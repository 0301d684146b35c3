"""Building on Ray: a real cluster of two nodes on this machine, and one of its processes killed."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from renascent.bench.building import Plan, build, chosen
from renascent.bench.building.ray import on_ray
from renascent.bench.tables.table import Table
from renascent.core.errors import MissingExtra
from renascent.loops.fit import Fit
from renascent.nets.cells.nats import NatsTopology
from renascent.tasks.prepare import ImageOptions

SPACE = NatsTopology(channels=2, cells=1, nodes=2, operations=("none", "skip_connect", "nor_conv_1x1"))
PLAN = Plan(
    space=SPACE,
    data="digits",
    archs=chosen(SPACE.space),
    options=ImageOptions(limit=200),
    settings=Fit(epochs=40, batch=32),
    seeds=2,
)
FLAGS = (
    "nats-topology --data digits --channels 2 --cells 1 --nodes 2 --operations none,skip_connect,nor_conv_1x1 "
    "--limit 200 --batch 32 --epochs 40 --seeds 2 --out t.safetensors"
)

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="needs the extra: pip install 'ray>=2.50'"
)
needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds Ray's processes in /proc")


def environment() -> dict[str, str]:
    return {**os.environ, "RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1"}


@pytest.fixture
def cluster() -> Iterator[str]:
    """The address of a cluster of two nodes, one processor each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tempfile.mkdtemp(prefix="ray")  # pytest's own are too long for Ray's sockets
    ray = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start", "--block", "--num-cpus=1"]
    ray += ["--node-ip-address=127.0.0.1", "--disable-usage-stats", f"--object-store-memory={80_000_000}"]
    head = ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}"]
    nodes = []
    try:
        with (Path(folder) / "log").open("w") as log:
            for more in (head, [f"--address=127.0.0.1:{port}"]):
                nodes.append(subprocess.Popen([*ray, *more], env=environment(), stdout=log, stderr=log))
                wait_for_port(port, nodes[-1])
        yield f"127.0.0.1:{port}"
    finally:
        for node in reversed(nodes):
            node.terminate()
        for node in nodes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                node.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


def wait_for_port(port: int, node: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert node.poll() is None, "ray start has ended"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert time.monotonic() < deadline, "no Ray cluster came up"
        time.sleep(0.2)


def training() -> list[int]:
    """Return the processes in which Ray trains at this moment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (folder / "cmdline").read_bytes().startswith(b"ray::train_as_text"):
                found.append(int(folder.name))
    return found


@needs_ray
@needs_proc
@pytest.mark.timeout(600)
def test_on_two_nodes_with_a_process_killed_the_table_is_the_local_one(cluster: str, tmp_path: Path) -> None:
    local = build(PLAN, tmp_path / "local.safetensors", workers=1).table
    command = [sys.executable, "-m", "renascent", "bench", "build", *FLAGS.split(), "--ray", cluster]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=log, stderr=log)
    try:
        most, deadline = 0, time.monotonic() + 300
        journal = tmp_path / "t.safetensors.parts" / "events.jsonl"
        while not (journal.exists() and training() and most == 2):
            assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
            most = max(most, len(training()))
            time.sleep(0.01)
        os.kill(training()[0], signal.SIGKILL)
        assert process.wait(timeout=300) == 0, (tmp_path / "log").read_text()
    finally:
        process.kill()
    assert most == 2, "both nodes train"
    table = Table.open(tmp_path / "t.safetensors")
    assert "3 architectures, 6 trainings, 0 failed" in (tmp_path / "log").read_text()
    assert np.array_equal(table.archs, local.archs)
    for key, column in local.columns.items():
        assert column.measured or table.array(key).tobytes() == local.array(key).tobytes(), key


@needs_ray
@pytest.mark.timeout(120)
def test_no_cluster_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "renascent", "bench", "build", *FLAGS.split(), "--ray", "127.0.0.1:9"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "renascent: no Ray cluster can be used at 127.0.0.1:9 (" in done.stderr.splitlines()[-1]
    assert "leave --ray out" in done.stderr.splitlines()[-1]


def test_without_ray_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"'ray' is not installed: pip install 'renascent\[ray\]'"):
        next(on_ray("{}", [], 1, "127.0.0.1:9"))
