"""Does everything run on a GPU, and what does a step cost there?

    python benchmarks/on_gpu.py --results benchmarks/results/DATE-on-gpu.json

One command of some minutes: every strategy on every kind of space for a few steps, a search that is interrupted and
resumed, fits (plain, bfloat16, compiled), exports, and the cost of a step as a multiple of the child's. What fails is
told with its error, the rest goes on, and the exit code is then 1. `--quick` is a small part of it, for the tests.

Steps are timed by the clock, the device waited for before and after; all in turn, round after round, and the median of
the ratios of a round is quoted. Memory is the most that was allocated, on CUDA.
"""

from __future__ import annotations

import argparse
import dataclasses
import signal
import statistics
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from step_cost import Bench
from torch import nn

from renascent.core.devices import usable_device
from renascent.core.environment import environment
from renascent.core.errors import Interrupted, UserError
from renascent.core.files import write_json
from renascent.core.protocols import SpaceConfig
from renascent.experiment.result import Result
from renascent.experiment.search import search
from renascent.loops.fit import Fit
from renascent.loops.weightsfile import read_weights
from renascent.nets.adapt import adapt
from renascent.nets.cells.mbconv import MBConv
from renascent.nets.cells.nats import NatsTopology
from renascent.nets.cells.pyramid import PyramidTree
from renascent.nets.sizes.resnet_cifar import ResNetCifar
from renascent.strategies import STRATEGIES
from renascent.tasks.images import ImageTask
from renascent.tasks.load import load
from renascent.tasks.prepare import ImageOptions


def own_model() -> nn.Module:
    """Return a small network as a user might have one."""
    torch.manual_seed(0)
    body = [nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU()]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


SPACES: dict[str, Callable[[], SpaceConfig]] = {
    "cells": lambda: NatsTopology(channels=4, cells=1),
    "sizes": lambda: ResNetCifar(layers_count=8),
    "sizes and resolution": lambda: ResNetCifar(layers_count=8, lowest=6, highest=8),
    "a model of one's own": lambda: adapt(own_model(), (1, 8, 8)),
    "blocks": lambda: MBConv(small=True, width=0.125, blocks=(2, 1, 1, 1, 1, 1)),
    "trees": lambda: PyramidTree(blocks=1, final_channels=68),
}
"""One space of each kind, small: what is asked is whether it runs."""

TRAININGS = {"plain": Fit(epochs=2, batch=32), "bfloat16": Fit(epochs=2, batch=32, bf16=True)}


class Report:
    """What ran, and what failed. One line of each is printed as it is done."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self.failed: dict[str, str] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[dict[str, Any]]:
        """Note what the body puts into the dictionary it is given, or why it failed."""
        facts: dict[str, Any] = {}
        began = time.monotonic()
        try:
            yield facts
            self.found[name] = facts | {"seconds": round(time.monotonic() - began, 2)}
            print(f"{name}: {self.found[name]}", flush=True)
        except Exception as e:
            last = traceback.extract_tb(e.__traceback__)[-1]
            self.failed[name] = f"{type(e).__name__}: {e} ({Path(last.filename).name}:{last.lineno})"
            print(f"{name}: FAILED: {self.failed[name]}", flush=True)


def strategy_of(name: str) -> Any:
    strategy = STRATEGIES[name]()
    return dataclasses.replace(strategy, controller_steps=2, controller_samples=2) if name == "enas" else strategy


def searches(report: Report, task: ImageTask, folder: Path, quick: bool) -> None:
    """Search every kind of space with every strategy; quickly, each kind with one."""
    pairs = [(kind, name) for kind in SPACES for name in STRATEGIES]
    kinds = list(SPACES)
    if quick:
        pairs = [(kinds[k % len(kinds)], name) for k, name in enumerate(STRATEGIES)][:4]
    for number, (kind, name) in enumerate(pairs):
        with report.part(f"search: {name} on {kind}") as facts:
            budget = None if kind == "cells" else "macs<=0.6x"
            about: Any = {"epochs": 1, "batch": 32, "budget": budget, "out": folder / f"search-{number}"}
            try:
                result = search(SPACES[kind](), strategy_of(name), task, **about)
            except UserError as e:
                if "does not search" not in str(e) and "is a Subset" not in str(e):
                    raise
                facts["refused"] = str(e)
            else:
                facts["arch"] = str(result.arch)[:80]
                facts["score"] = round(result.facts["search_score"], 4)


def resumed(report: Report, task: ImageTask, folder: Path, kinds: list[str]) -> dict[str, Result]:
    """Interrupt a search, resume it, and compare it with one that ran through."""
    found = {}
    for number, kind in enumerate(kinds):
        name = "gdas" if kind in ("cells", "blocks", "trees") else "tas"
        with report.part(f"resume: {name} on {kind}") as facts:
            about: Any = {"epochs": 3, "batch": 32, "budget": None if kind == "cells" else "macs<=0.6x"}
            paths = [folder / f"{what}-{number}" for what in ("whole", "resumed")]
            found[kind] = whole = search(SPACES[kind](), strategy_of(name), task, **about, out=paths[0])
            try:
                search(SPACES[kind](), strategy_of(name), task, **about, out=paths[1], say=stop)
                raise AssertionError("it was not interrupted")
            except Interrupted:
                again = search(SPACES[kind](), strategy_of(name), task, **about, out=paths[1], resume=True)
            one, other = (read_weights(path / "shared.safetensors") for path in paths)
            same = whole.arch == again.arch
            # kernels that add in any order differ in the last bits, and these grow from step to step
            facts |= {"same architecture": same}
            facts["largest difference"] = max(float((one[k] - other[k]).abs().max()) for k in one) if same else None
    return found


def stop(event: dict[str, Any]) -> None:
    """Press Ctrl-C when the first epoch is done."""
    if event["event"] == "epoch" and event["epoch"] == 1:
        signal.raise_signal(signal.SIGINT)


def trained(report: Report, task: ImageTask, results: dict[str, Result], folder: Path, quick: bool) -> None:
    """Train what was found in every way, and export it."""
    ways = (
        dict(list(TRAININGS.items())[:1]) if quick else {**TRAININGS, "compiled": Fit(epochs=2, batch=32, compile=True)}
    )
    for number, (kind, result) in enumerate(results.items()):
        for way, settings in ways.items():
            with report.part(f"fit: {way}, {kind}") as facts:
                copied = Result.load(copy_of(result.folder, folder / f"fit-{number}-{way}"), result.space)
                facts["test accuracy"] = round(copied.fit(task, settings).scores["test"], 4)
                if way == "plain":
                    for ending in ("pt2",) if quick else ("pt2", "onnx"):
                        copied.export(folder / f"net-{number}.{ending}")
                    facts["exported"] = True


def copy_of(source: Path, target: Path) -> Path:
    target.mkdir()
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def step_ratios(device: torch.device, rounds: int, **size: int) -> dict[str, Any]:
    """Return the time of every kind of step as a multiple of the child's."""
    bench = Bench(**size, layout=torch.channels_last, device=device)
    steps = {name: step for name, step in bench.steps().items() if not name.startswith("one by one")}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 2):  # two that do not count
        for name, step in steps.items():
            wait(device)
            began = time.perf_counter()
            step()
            wait(device)
            if turn > 1:
                seconds[name].append(time.perf_counter() - began)
    floors = {"ENAS controller sample": "child forward and LSTM"}
    return {
        name: {
            "ms": round(1000 * statistics.median(values), 2),
            "ratio": round(
                statistics.median(a / b for a, b in zip(values, seconds[floors.get(name, "child")], strict=True)), 3
            ),
        }
        for name, values in seconds.items()
    }


def wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, cuda, cuda:1, mps, cpu")
    parser.add_argument("--quick", action="store_true", help="a small part of it")
    parser.add_argument("--results", type=Path, help="JSON file to write")
    asked = parser.parse_args(words)
    device, report = usable_device(asked.device), Report()
    print(f"on {device}", flush=True)
    task = load("digits", options=ImageOptions(limit=64 if asked.quick else 512), device=device)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        searches(report, task, folder, asked.quick)
        results = resumed(report, task, folder, ["cells"] if asked.quick else list(SPACES))
        trained(report, task, results, folder, asked.quick)
    size = {"channels": 4, "cells": 1, "batch": 8} if asked.quick else {"channels": 16, "cells": 5, "batch": 256}
    with report.part("cost of a step") as facts:
        facts |= step_ratios(device, 1 if asked.quick else 10, **size) | {"of": size}
    if device.type == "cuda":
        report.found["most memory"] = f"{torch.cuda.max_memory_allocated(device) / 2**20:.0f} MiB"
    print(f"{len(report.found)} parts ran, {len(report.failed)} failed")
    if asked.results:
        about = {k: v for k, v in environment(0, device).items() if k not in ("command", "git", "seed")}
        write_json(asked.results, {"found": report.found, "failed": report.failed, "environment": about})
    return 1 if report.failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
