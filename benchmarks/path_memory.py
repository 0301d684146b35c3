"""What a step of ProxylessNAS costs in time and memory, as a multiple of the plain training step of the path it opens.

    OMP_NUM_THREADS=1 python benchmarks/path_memory.py --rounds 5 --out benchmarks/results/path_memory.json

The chain `mbconv --small --width 0.5` of 6 or 7 candidates a block, in channels_last, one thread. Every round draws two
paths that differ everywhere, extracts both as plain networks, and runs all steps in turn: each once to warm up, then
timed; a ratio is taken within its round, and the median over rounds is quoted. Time is the process's own CPU time. The
logits are such that the strategy draws these two paths, and opens the first.

Kept are the distinct storages that autograd saves for the backward pass, weights left out. The peak is the most that
`torch.profiler` saw allocated at once, above what was there before the step: what is kept, and what comes and goes
above it. A line ends in `ok` or `MISS` where there is a bound to keep.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from step_cost import kept, line, verdict
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from renascent.core.environment import environment
from renascent.core.files import write_json
from renascent.core.gates import one_hot, soft
from renascent.core.protocols import Progress, Setup
from renascent.core.space import Arch, Space
from renascent.nets.cells.mbconv import MBConv
from renascent.nets.cells.slots import Slot
from renascent.strategies._bilevel import arch_step, weight_step
from renascent.strategies.proxyless import Proxyless
from renascent.tasks.images import ImageTask

TIMES = {
    "weight step": ("one path", 1.10),
    "two-path step": ("mean of two paths", 1.25),
    "exact step": ("all candidates forward + one path", 1.15),
}
"""Step -> what its time is compared with, and the bound on the ratio."""

MEMORY = {"weight step": None, "two-path step": 1.3, "exact step": 1.3}
"""Step -> bound on its peak, as a multiple of the plain step's of the path it opens."""

FORMS = {"two-path step": 2, "exact step": 0}
"""Step -> `Proxyless.paths`."""


class Bench:
    """The supernet, two paths through it as plain networks, and every step to be measured."""

    def __init__(self, config: MBConv, batch: int, size: int) -> None:
        torch.manual_seed(0)
        self.config = config
        self.net = config.supernet(3, 10).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = torch.randint(0, 256, (4 * batch, 3, size, size), dtype=torch.uint8)
        self.task = ImageTask.from_tensors(images, torch.arange(4 * batch) % 10)
        self.batch = self.task.streams(0, batch).train.next()
        setup = Setup(self.net, self.task, self.net.space)
        self.states = {name: Proxyless(paths=paths).init(setup) for name, paths in FORMS.items()}
        self.rule, self.t = setup.weights, Progress(0, 1000, 100)
        self.net.eval()

    def choose(self, rng: np.random.Generator) -> None:
        """Draw two paths that differ everywhere, and let the logits draw them."""
        self.paths = two_that_differ(self.net.space, rng)
        for state in self.states.values():
            for name, row, count in zip(
                self.net.space.decisions, state.policy.logits.data, self.net.space.counts, strict=True
            ):
                options = self.net.space.options(name)
                row.fill_(-50.0)
                row[[options.index(path[name]) for path in self.paths]] = torch.tensor([30.0, 0.0])
                assert len(options) == count
        self.children = [self.net.extract(path).to(memory_format=torch.channels_last) for path in self.paths]  # type: ignore[call-overload]
        self.optimisers = [self.rule.optimiser(child) for child in self.children]
        self.inputs = self._inputs()

    def child_step(self, k: int) -> None:
        self.optimisers[k].zero_grad(set_to_none=True)
        self.task.loss(self.children[k].train(), self.batch).loss.backward()  # type: ignore[no-untyped-call]
        self.rule.apply(self.optimisers[k], 0.0)

    def sampled_weight_step(self) -> None:
        state = self.states["two-path step"]
        weight_step(state, self.batch, one_hot(self.net.space, state.policy.draw(state.rng)), self.t)

    def arch_step(self, name: str) -> None:
        Proxyless(paths=FORMS[name])._arch_step(self.states[name], self.batch)

    @torch.no_grad()
    def candidates_forward(self) -> None:
        for slot, x in self.inputs:
            for option in slot.mixed.options:
                option(x)

    @torch.no_grad()
    def _inputs(self) -> list[tuple[Slot, Tensor]]:
        """Return what every slot reads along the first path."""
        found: list[tuple[Slot, Tensor]] = []
        slots = [module for module in self.net.modules() if isinstance(module, Slot)]
        hooks = [s.register_forward_pre_hook(lambda slot, given: found.append((slot, given[0]))) for s in slots]
        self.task.loss(self.net, self.batch, one_hot(self.net.space, self.paths[0]))
        for hook in hooks:
            hook.remove()
        return found

    def steps(self) -> dict[str, Callable[[], None]]:
        return {
            "one path": lambda: self.child_step(0),
            "the other path": lambda: self.child_step(1),
            "weight step": self.sampled_weight_step,
            "two-path step": lambda: self.arch_step("two-path step"),
            "exact step": lambda: self.arch_step("exact step"),
            "all candidates forward": self.candidates_forward,
        }

    def forget(self) -> None:
        """Drop all gradients, so that no step frees what another one left."""
        for module in (self.net, *self.children, *(state.policy for state in self.states.values())):
            module.zero_grad(set_to_none=True)

    def all_at_once(self) -> None:
        """An architecture step as DARTS has it: what the paper's memory is compared with."""
        state = self.states["exact step"]
        arch_step(state, self.batch, soft(self.net.space, state.policy() * 0.01))


def two_that_differ(space: Space, rng: np.random.Generator) -> tuple[Arch, Arch]:
    """Return two random architectures without a value in common."""
    pairs = {name: rng.choice(len(space.options(name)), 2, replace=False) for name in space.decisions}
    one, other = (space.arch({name: space.options(name)[pair[k]] for name, pair in pairs.items()}) for k in (0, 1))
    return one, other


def timed(bench: Bench, rounds: int, repeats: int) -> list[dict[str, float]]:
    """Return the seconds of every step in each round, the least of some repeats in turn."""
    rng, found = np.random.default_rng(0), []
    for _ in range(rounds):
        bench.choose(rng)
        steps = bench.steps()
        for step in steps.values():
            step()
        seconds = {name: float("inf") for name in steps}
        for name, step in list(steps.items()) * repeats:
            began = time.process_time()
            step()
            seconds[name] = min(seconds[name], time.process_time() - began)
        seconds["mean of two paths"] = (seconds["one path"] + seconds["the other path"]) / 2
        seconds["all candidates forward + one path"] = seconds["all candidates forward"] + seconds["one path"]
        found.append(seconds)
    return found


def ratios(found: Sequence[dict[str, float]]) -> dict[str, dict[str, Any]]:
    rows = {}
    for name, (other, bound) in TIMES.items():
        each = [seconds[name] / seconds[other] for seconds in found]
        ms = round(1000 * statistics.median(seconds[name] for seconds in found), 1)
        about = {"ms": ms, "low": round(min(each), 3), "high": round(max(each), 3)}
        rows[f"{name} / {other}"] = about | verdict(statistics.median(each), bound)
    return rows


def peak(step: Callable[[], None]) -> int:
    """Return the most bytes that were allocated at once in a step, above those from before it."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        step()
    with tempfile.TemporaryDirectory() as folder:
        seen.export_chrome_trace(f"{folder}/trace.json")
        events = json.loads(Path(folder, "trace.json").read_text())["traceEvents"]
    changes = sorted((e["ts"], e["args"]["Bytes"]) for e in events if e["name"] == "[memory]")
    return int(max(np.cumsum([size for _, size in changes]), default=0))


def memory(bench: Bench, rounds: int) -> dict[str, dict[str, Any]]:
    """Return kept and peak bytes of every step, and the ratio of peaks to the plain step's, the median over rounds."""
    rng, found = np.random.default_rng(1), []
    for _ in range(rounds):
        bench.choose(rng)
        steps = bench.steps()
        names = ("one path", *MEMORY)
        rows = {}
        for name, step in {**{n: steps[n] for n in names}, "all candidates at once": bench.all_at_once}.items():
            step()
            bench.forget()
            rows[name] = (peak(step), 0)
            bench.forget()
            weights = [p for module in (bench.net, *bench.children) for p in module.parameters()]
            rows[name] = (rows[name][0], kept(step, weights))
            bench.forget()
        found.append(rows)
    report = {}
    for name in found[0]:
        peaks, held = ([rows[name][k] / rows["one path"][k] for rows in found] for k in (0, 1))
        mb = {
            f"{what}_mb": round(statistics.median(r[name][k] for r in found) / 2**20, 1)
            for k, what in enumerate(("peak", "kept"))
        }
        report[name] = (
            mb | {"kept_ratio": round(statistics.median(held), 3)} | verdict(statistics.median(peaks), MEMORY.get(name))
        )
    return report


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--blocks", type=int, help="of the first five stages, instead of 4")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=32, help="of the images")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of paths")
    parser.add_argument("--repeats", type=int, default=3, help="of each step in a round, of which the least counts")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args(words)
    torch.set_num_threads(1)
    config = MBConv(small=True, width=asked.width, blocks=(asked.blocks or 4,) * 5 + (1,))
    bench = Bench(config, asked.batch, asked.size)
    report: dict[str, Any] = {
        "date": date.today().isoformat(),
        "setting": {k: v for k, v in vars(asked).items() if k != "out"} | {"small": True, "threads": 1},
        "memory": memory(bench, asked.rounds),
        "steps": ratios(timed(bench, asked.rounds, asked.repeats)),
        "environment": {k: v for k, v in environment(0).items() if k not in ("command", "git", "seed")},
    }
    print("CPU time", *(f"  {line(*row)}" for row in report["steps"].items()), sep="\n")
    print("peak memory, as a multiple of the plain step's")
    for name, row in report["memory"].items():
        print(f"  {line(name, row)}   peak {row['peak_mb']} MB, kept {row['kept_mb']} MB, x {row['kept_ratio']}")
    if asked.out:
        write_json(asked.out, report)


if __name__ == "__main__":
    main()
