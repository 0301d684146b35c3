"""What one search step costs, as a multiple of the plain training step of the child it samples.

    OMP_NUM_THREADS=1 python benchmarks/step_cost.py --rounds 7 --out benchmarks/results/step_cost.json

One process, one thread, all steps in turn, round after round; a ratio is taken within each round and its median over
rounds is quoted, so that a machine that slows down slows both sides. Time is the process's own CPU time. The child is
the fixed cell below, of median multiply-accumulates among all 15,625 and with no unreachable part; both sides run in
channels_last, the faster layout of each. Saved activations are the distinct storages autograd keeps for the backward
pass, parameters left out. A line ends in `ok` or `MISS` where there is a bound to keep.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from renascent.core.environment import environment
from renascent.core.files import write_json
from renascent.core.gates import Gate, Gates, gumbel_hard, one_hot, soft
from renascent.core.protocols import Progress, Setup, State
from renascent.core.space import Arch
from renascent.nets.cells.cell import SharedCell
from renascent.nets.cells.darts import DartsCells
from renascent.nets.cells.nats import NatsSupernet, NatsTopology
from renascent.strategies._bilevel import arch_step, frozen, weight_step
from renascent.strategies._logits import Logits
from renascent.strategies.darts import DARTS, DARTSSecondOrder, unrolled_gradient
from renascent.strategies.enas import ENAS
from renascent.tasks.images import ImageTask

CHILD = "|nor_conv_3x3~0|+|skip_connect~0|avg_pool_3x3~1|+|none~0|nor_conv_1x1~1|skip_connect~2|"
BOUNDS = {
    "sampled weight step": 1.10,
    "GDAS architecture step": 1.10,
    "ENAS controller sample": 1.10,
    "DARTS weight step": 4.5,
    "DARTS or SETN architecture step": 4.5,
    "DARTS second-order architecture step": 18.0,
}
"""On the time of a step, as a multiple of the child's."""

CELLS = {
    "DARTS cells: DARTS weight step": 10.0,
    "DARTS cells: DARTS architecture step": 10.0,
    "DARTS cells: GDAS weight step": 1.15,
    "DARTS cells: GDAS architecture step": 1.15,
}
"""On DARTS cells: DARTS as a multiple of the published cell's step, GDAS of one with the sample on all 28 edges."""

ACTIVATIONS = {
    "sampled weight step": ("child", 1.10),
    "GDAS architecture step": ("child", 1.10),
    "DARTS weight step": ("one by one: weight step", 0.45),
    "DARTS or SETN architecture step": ("one by one: with gate gradients", 0.45),
}
"""Step -> what its saved activations are compared with, and the bound on the ratio."""


class Bench:
    """The supernet, its child, and every step to be timed."""

    def __init__(
        self, channels: int, cells: int, batch: int, layout: torch.memory_format, device: torch.device | str = "cpu"
    ) -> None:
        torch.manual_seed(0)
        self.config = NatsTopology(channels=channels, cells=cells)
        self.net = self.config.supernet(3, 10).to(device, memory_format=layout)  # type: ignore[call-overload]
        self.arch = self.config.space.parse(CHILD)
        self.child = self.net.extract(self.arch).to(memory_format=layout)
        images, labels = torch.randint(0, 256, (4 * batch, 3, 32, 32), dtype=torch.uint8), torch.arange(4 * batch) % 10
        self.task = ImageTask.from_tensors(images, labels, device=device)
        self.batch = self.task.streams(0, batch).train.next()
        setup = Setup(self.net, self.task, self.net.space)
        self.state, self.second = DARTS().init(setup), DARTSSecondOrder().init(setup)
        self.enas, self.rule = ENAS().init(setup), setup.weights
        self.child_optimiser = self.rule.optimiser(self.child)
        self.t = Progress(0, 1000, 100)

    def child_step(self) -> None:
        self.child_optimiser.zero_grad(set_to_none=True)
        self.task.loss(self.child, self.batch).loss.backward()  # type: ignore[no-untyped-call]
        self.rule.apply(self.child_optimiser, 0.0)

    @torch.no_grad()
    def child_forward(self) -> None:
        self.task.loss(self.child, self.batch)

    def fixed(self) -> Gates:
        return one_hot(self.net.space, self.arch)

    def hard(self) -> Gates:
        """GDAS's gates with the sample fixed to the child: its value, and the softmax's gradient."""
        relaxed, fixed = soft(self.net.space, self.logits(self.state)), self.fixed()
        return {k: Gate(fixed[k].weight + (g.weight - g.weight.detach()), fixed[k].active) for k, g in relaxed.items()}

    def mixed(self) -> Gates:
        return soft(self.net.space, self.logits(self.state))

    def mixed_detached(self) -> Gates:
        with torch.no_grad():
            return self.mixed()

    def lstm(self) -> Tensor:
        assert self.enas.policy is not None
        draw = self.enas.policy(1, self.enas.rng)
        return draw.log_probability.sum()  # type: ignore[no-any-return]

    def controller_sample(self) -> None:
        self.lstm()
        with torch.no_grad():
            self.task.loss(self.net, self.batch, self.fixed())

    def controller_floor(self) -> None:
        self.lstm()
        self.child_forward()

    @staticmethod
    def logits(state: State) -> Tensor:
        assert isinstance(state.policy, Logits)
        return state.policy()  # type: ignore[no-any-return]

    def steps(self) -> dict[str, Callable[[], object]]:
        return {
            "child": self.child_step,
            "child forward and LSTM": self.controller_floor,
            "sampled weight step": lambda: weight_step(self.state, self.batch, self.fixed(), self.t),
            "GDAS architecture step": lambda: arch_step(self.state, self.batch, self.hard()),
            "ENAS controller sample": self.controller_sample,
            "DARTS weight step": lambda: weight_step(self.state, self.batch, self.mixed_detached(), self.t),
            "DARTS or SETN architecture step": lambda: arch_step(self.state, self.batch, self.mixed()),
            "DARTS second-order architecture step": lambda: unrolled_gradient(
                self.second, self.batch, self.batch, 0.025
            ),
            "one by one: weight step": lambda: self.one_by_one_loss(self.mixed_detached()).backward(),  # type: ignore[no-untyped-call]
        }

    def one_by_one_loss(self, gates: Gates) -> Tensor:
        """Compute every candidate of every edge by itself, as the original code does."""
        self.net.zero_grad(set_to_none=True)
        return self.task.loss(lambda x: one_by_one(self.net, x, gates), self.batch).loss

    def activations(self) -> dict[str, float]:
        """Return the megabytes saved for the backward pass by each kind of forward pass."""

        def loss(gates: Gates) -> Tensor:
            return self.task.loss(self.net, self.batch, gates).loss

        def in_arch_step(gates: Gates) -> Tensor:
            with frozen(self.net):
                return loss(gates)

        saved = {
            "child": self.saved(lambda: self.task.loss(self.child, self.batch).loss),
            "sampled weight step": self.saved(lambda: loss(self.fixed())),
            "GDAS architecture step": self.saved(lambda: in_arch_step(self.hard())),
            "DARTS weight step": self.saved(lambda: loss(self.mixed_detached())),
            "DARTS or SETN architecture step": self.saved(lambda: in_arch_step(self.mixed())),
            "one by one: weight step": self.saved(lambda: self.one_by_one_loss(self.mixed_detached())),
            "one by one: with gate gradients": self.saved(lambda: self.one_by_one_loss(self.mixed())),
        }
        return {name: size / 2**20 for name, size in saved.items()}

    def saved(self, forward: Callable[[], Tensor]) -> int:
        return kept(forward, [*self.net.parameters(), *self.child.parameters()])


def kept(step: Callable[[], Any], weights: Sequence[nn.Parameter]) -> int:
    """Return the bytes that autograd saves in a step, those of weights left out."""
    own = {p.untyped_storage().data_ptr() for p in weights}
    sizes: dict[int, int] = {}
    alive: list[Tensor] = []  # so that no address is used twice

    def pack(value: Tensor) -> Tensor:
        alive.append(value)
        storage = value.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
        return value

    with saved_tensors_hooks(pack, lambda value: value):
        step()
    return sum(sizes.values())


def one_by_one(net: NatsSupernet, x: Tensor, gates: Gates) -> Tensor:
    """Return the output of the supernet, every candidate computed alone."""
    x = net.stem(x)
    for cell in net.cells:
        x = _cell(net, cell, x, gates) if isinstance(cell, SharedCell) else cell(x)
    return net.classifier(net.last(x).mean((2, 3)))  # type: ignore[no-any-return]


def _cell(net: NatsSupernet, cell: nn.Module, x: Tensor, gates: Gates) -> Tensor:
    values = [x]
    for target in range(1, net.config.nodes):
        parts = [
            gates[f"{source}-{target}"].weight[k] * _candidate(cell, f"{source}-{target}", name, values[source])
            for source in range(target)
            for k, name in enumerate(net.config.operations)
        ]
        values.append(sum(parts[1:], parts[0]))
    return values[-1]


def _candidate(cell: Any, edge: str, name: str, x: Tensor) -> Tensor:
    if name == "none":
        return x.mul(0.0)
    if name == "skip_connect":
        return x
    if name == "avg_pool_3x3":
        return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    kernel = cell.edges[edge][name].conv.weight
    out = F.conv2d(F.relu(x), kernel, padding=kernel.shape[-1] // 2)
    return F.batch_norm(out, None, None, training=True)


def timed(bench: Bench, rounds: int) -> dict[str, list[float]]:
    steps = bench.steps()
    for step in steps.values():
        step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            began = time.process_time()
            step()
            seconds[name].append(time.process_time() - began)
    return seconds


def cell_ratios(rounds: int) -> dict[str, dict[str, Any]]:
    """Return the steps on DARTS cells, C = 16, 8 cells, batch 16."""
    torch.manual_seed(0)
    config = DartsCells(channels=16, layers_count=8)
    net = config.supernet(3, 10).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randint(0, 256, (64, 3, 32, 32), dtype=torch.uint8)
    task = ImageTask.from_tensors(images, torch.arange(64) % 10)
    batch, t = task.streams(0, 16).train.next(), Progress(0, 1000, 100)
    state = DARTS().init(Setup(net, task, net.space))
    rule = state.setup.weights

    def hard() -> Gates:
        return gumbel_hard(net.space, Bench.logits(state), 1.0, torch.Generator().manual_seed(1))

    def mixed() -> Gates:
        return soft(net.space, Bench.logits(state))

    def plain(arch: Arch) -> Callable[[], object]:
        child = net.extract(arch).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        optimiser = rule.optimiser(child)

        def step() -> None:
            optimiser.zero_grad(set_to_none=True)
            task.loss(child, batch).loss.backward()  # type: ignore[no-untyped-call]
            rule.apply(optimiser, 0.0)

        return step

    assert config.reference is not None
    sampled = Arch({name: net.space.options(name)[gate.active[0]] for name, gate in hard().items()})
    steps = dict(
        zip(
            CELLS,
            (
                lambda: weight_step(
                    state, batch, {k: replace(g, weight=g.weight.detach()) for k, g in mixed().items()}, t
                ),
                lambda: arch_step(state, batch, mixed()),
                lambda: weight_step(state, batch, one_hot(net.space, sampled), t),
                lambda: arch_step(state, batch, hard()),
            ),
            strict=True,
        )
    )
    floors = {"DARTS": plain(config.reference), "GDAS": plain(sampled)}
    seconds: dict[str, list[float]] = {name: [] for name in (*steps, *floors)}
    for _ in range(rounds + 1):
        for name, step in (steps | floors).items():
            began = time.process_time()
            step()
            seconds[name].append(time.process_time() - began)
    rows = {}
    for name, bound in CELLS.items():
        floor = seconds[name.split()[2]]
        each = [a / b for a, b in zip(seconds[name][1:], floor[1:], strict=True)]  # the first round warms up
        ms = round(1000 * statistics.median(seconds[name][1:]), 1)
        about = {"ms": ms, "low": round(min(each), 3), "high": round(max(each), 3)}
        rows[name] = about | verdict(statistics.median(each), bound)
    return rows


def ratios(seconds: dict[str, list[float]]) -> dict[str, dict[str, Any]]:
    rows = {}
    for name, values in seconds.items():
        floor = seconds["child forward and LSTM" if name == "ENAS controller sample" else "child"]
        each = [a / b for a, b in zip(values, floor, strict=True)]
        low, high, ms = round(min(each), 3), round(max(each), 3), round(1000 * statistics.median(values), 1)
        rows[name] = {"ms": ms, "low": low, "high": high} | verdict(statistics.median(each), BOUNDS.get(name))
    return rows


def memory_ratios(saved: dict[str, float]) -> dict[str, dict[str, Any]]:
    return {
        f"{name} / {other}": verdict(saved[name] / saved[other], bound) for name, (other, bound) in ACTIVATIONS.items()
    }


def verdict(ratio: float, bound: float | None) -> dict[str, Any]:
    return {"ratio": round(ratio, 3), "bound": bound, "met": None if bound is None else ratio <= bound}


def line(name: str, row: dict[str, Any]) -> str:
    met = "" if row["met"] is None else f"bound {row['bound']:.2f}: {'ok' if row['met'] else 'MISS'}"
    time_taken = f"{row['ms']:9.1f} ms  ({row['low']}-{row['high']})" if "ms" in row else ""
    return f"{name:66} x {row['ratio']:6.3f}  {met:18}{time_taken}".rstrip()


def faster_layout(asked: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Return seconds of a child and of a soft step in both layouts: each side is measured in its faster one."""
    found = {}
    for name, layout in (("contiguous", torch.contiguous_format), ("channels_last", torch.channels_last)):
        bench = Bench(asked.channels, asked.cells, asked.batch, layout)
        steps = bench.steps()
        names = ("child", "sampled weight step", "DARTS weight step", "one by one: weight step")
        found[name] = {step: round(_best(steps[step]), 4) for step in names}
    return found


def _best(step: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        began = time.process_time()
        step()
        times.append(time.process_time() - began)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--cells", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(asked.channels, asked.cells, asked.batch, torch.channels_last)
    saved = bench.activations()
    report: dict[str, Any] = {
        "date": date.today().isoformat(),
        "setting": {k: v for k, v in vars(asked).items() if k != "out"} | {"child": CHILD, "threads": 1},
        "steps": ratios(timed(bench, asked.rounds)) | cell_ratios(asked.rounds),
        "saved_activations_mb": {name: round(size, 1) for name, size in saved.items()},
        "saved_activations_ratio": memory_ratios(saved),
        "layouts_seconds": faster_layout(asked),
        "environment": {k: v for k, v in environment(0).items() if k not in ("command", "git", "seed")},
    }
    for title, key in (("CPU time", "steps"), ("saved activations", "saved_activations_ratio")):
        print(title, *(f"  {line(*row)}" for row in report[key].items()), sep="\n")
    print(json.dumps({k: report[k] for k in ("saved_activations_mb", "layouts_seconds")}, indent=1))
    if asked.out:
        write_json(asked.out, report)


if __name__ == "__main__":
    main()
