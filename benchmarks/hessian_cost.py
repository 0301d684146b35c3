"""What curvature costs a step, in time and memory; and what a scale on every connection costs DSO-NAS.

    OMP_NUM_THREADS=1 python benchmarks/hessian_cost.py --rounds 5 --out benchmarks/results/hessian_cost.json

One process, one thread, channels_last; all steps in turn, round after round. A ratio is taken within its round, and the
median over rounds is quoted; time is the process's own CPU time. The peak is the most that was allocated at once above
what was there before the step: what is kept, and what comes and goes above it. Kept are the storages that autograd
saves, weights left out, in all passes of the step. A line ends in `ok` or `MISS` where there is a bound to keep.

cells: a scale step of BayesNAS on DARTS cells in subset form, with the curvature of its scales and without.
resnet: a step of ResNet-18's weights at a quarter of its width, with their curvature and without.
dso: a weight step beside the same network with numbers for scales, written out here; a scale step beside its forward
pass and the backward pass of activations alone, and beside those of that network.
gates: those of DSO-full with 24 blocks, C 8, beside its weight step of 64 images.
Recursive is the thesis's curvature: a second forward and backward pass, when those of the step are released.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from path_memory import peak
from step_cost import kept, line, verdict
from torch import Tensor, nn

from renascent.core.curvature import Recorded, squared_slopes
from renascent.core.environment import environment
from renascent.core.files import write_json
from renascent.core.gates import Gates
from renascent.core.protocols import Progress, Setup, SpaceConfig, State
from renascent.core.recursion import recursive_curvature
from renascent.nets.cells.darts import DartsCells
from renascent.nets.cells.dso import DSO, DSOSupernet
from renascent.nets.cells.dso_network import INPUT, OUT, SharedBlock, key
from renascent.nets.sizes.resnet import ResNetImages
from renascent.strategies._bilevel import frozen, gradients, weight_step
from renascent.strategies._scales import scaled
from renascent.strategies.bayesnas import BayesNAS, _gates
from renascent.strategies.dsonas import DSONAS
from renascent.tasks.images import ImageTask

Pairs = Mapping[str, tuple[float, float | None]]
"""Step / what it is compared with -> bounds on the ratios of time and of peak memory."""

CURVATURE: Pairs = {"with curvature / without": (2.0, 1.3), "with recursive curvature / without": (3.0, 1.3)}

BOUNDS: dict[str, Pairs] = {
    "cells": CURVATURE,
    "resnet": CURVATURE,
    "dso": {
        "weight step / scales as numbers": (1.10, None),
        "scale step / its forward + backward of activations": (1.10, None),
        "scale step / those of scales as numbers": (1.10, None),
    },
    "gates": {"gates / weight step": (0.05, None)},
}
"""Of each bench."""

Steps = Mapping[str, Callable[[], object]]


class Bench:
    """A supernet or a network, its data, and the steps to be measured."""

    net: nn.Module
    steps: Steps

    def __init__(self, batch: int) -> None:
        torch.manual_seed(0)
        images = torch.randint(0, 256, (4 * max(batch, 10), 3, 32, 32), dtype=torch.uint8)
        self.task = ImageTask.from_tensors(images, torch.arange(len(images)) % 10)
        self.batch = self.task.streams(0, batch).train.next()
        self.rng, self.t = torch.Generator().manual_seed(0), Progress(0, 1000, 100)

    def state(self, config: SpaceConfig, strategy: Any) -> State[None]:
        net = config.supernet(3, 10).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        net.eval()
        self.net = net
        return strategy.init(Setup(net, self.task, net.space))  # type: ignore[no-any-return]


class Cells(Bench):
    """BayesNAS on DARTS cells. Scales stay where they are, at 1: then all options are there in every round."""

    def __init__(self, batch: int, channels: int, cells: int) -> None:
        super().__init__(batch)
        config, self.strategy = (
            DartsCells(channels=channels, layers_count=cells, decisions="subset"),
            BayesNAS(scale_lr=0),
        )
        self.s = self.state(config, self.strategy)
        self.steps = {
            "without": lambda: self.strategy._scale_step(self.s, self.batch, measures=False),
            "with curvature": lambda: self.strategy._scale_step(self.s, self.batch, measures=True),
            "with recursive curvature": self.recursive,
        }

    def recursive(self) -> None:
        self.strategy._scale_step(self.s, self.batch, measures=False)
        moving = [self.s.extra[name].clone().requires_grad_() for name in ("scales", "zeros")]
        with frozen(self.net):
            recursive_curvature(lambda: self.net(self.batch[0], _gates(self.s, *moving)), moving)


class ResNet(Bench):
    """The weights of ResNet-18 for small images."""

    def __init__(self, batch: int, width: float) -> None:
        super().__init__(batch)
        config = ResNetImages(layers_count=18, width=width, small=True)
        assert config.reference is not None
        self.net = config.network(config.reference, 3, 10).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        rule = Setup(self.net, self.task, config.space).weights  # type: ignore[arg-type]
        self.optimiser, self.rule = rule.optimiser(self.net), rule
        self.weights = list(self.net.parameters())
        self.steps = {
            "without": self.plain,
            "with curvature": lambda: self.plain(measures=True),
            "with recursive curvature": self.recursive,
        }

    def plain(self, measures: bool = False) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        recorded = Recorded(self.net)
        loss = self.task.loss(recorded, self.batch).loss
        if measures:
            squared_slopes(recorded.logits, self.weights, self.rng)
        del recorded
        loss.backward()  # type: ignore[no-untyped-call]
        self.rule.apply(self.optimiser, 0.0)

    def recursive(self) -> None:
        self.plain()
        recursive_curvature(lambda: self.net(self.batch[0]), self.weights)


class Scaled(Bench):
    """DSO-NAS with free scales on all connections, none of which is at 1 or 0."""

    net: DSOSupernet

    def __init__(self, batch: int, channels: int, blocks: tuple[int, ...]) -> None:
        super().__init__(batch)
        self.strategy = DSONAS(scale_lr=0)
        self.s = self.state(DSO(channels=channels, blocks=blocks), self.strategy)
        scales = self.s.extra["scales"]
        scales.mul_(0.5 + 0.5 * torch.rand(scales.shape, generator=self.rng))
        rows = dict(zip(self.net.space.decisions, scales.tolist(), strict=True))
        self.numbers = {name: dict(zip(self.net.space.options(name), row, strict=False)) for name, row in rows.items()}
        self.optimiser = self.s.setup.weights.optimiser(self.net)
        self.steps = {
            "weight step": lambda: weight_step(self.s, self.batch, self.gates(), self.t),
            "scales as numbers": self.constant_step,
            "scale step": lambda: self.strategy._scale_step(self.s, self.batch),
            "its forward + backward of activations": lambda: self.activations(self.under_gates),
            "those of scales as numbers": lambda: self.activations(self.constant),
            "gates": self.gates,
        }

    def gates(self) -> Gates:
        return scaled(self.net.space, self.s.extra["scales"], self.s.extra["scales"] != 0)

    def constant_step(self) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        self.net.train()
        self.task.loss(self.constant, self.batch).loss.backward()  # type: ignore[no-untyped-call]
        self.net.eval()
        self.s.setup.weights.apply(self.optimiser, 0.0)

    def constant(self, x: Tensor) -> Tensor:
        """Return what the network computes, its scales written as numbers: no gates, and nothing asked of them."""
        net = self.net.net
        x = net.stem(x)
        for number, block in enumerate(net.blocks, start=1):
            assert isinstance(block, SharedBlock)
            x = self._block(block, x)
            if number in net.ends[:-1]:
                x = net.reductions[net.ends.index(number)](x)
        return net.classifier(F.avg_pool2d(x, (x.shape[2], x.shape[3])).flatten(1))  # type: ignore[no-any-return]

    def _block(self, block: SharedBlock, x: Tensor) -> Tensor:
        maps = {INPUT: x}
        for node, sources in block.wiring.items():
            numbers = self.numbers[block.decisions[node]]
            if node == OUT:
                weights = [block.join.parts[key(source)] * numbers[source] for source in sources]
                read = torch.cat([maps[source] for source in sources], 1)
                return x + F.relu(block.join.bn(F.conv2d(read, torch.cat(weights, 1))))
            first, *others = sources
            total = maps[first] * numbers[first]
            for source in others:
                total = torch.add(total, maps[source], alpha=numbers[source])
            maps[node] = block.operations[key(node)](total)
        raise AssertionError("a block has an output")

    def under_gates(self, x: Tensor) -> Tensor:
        return self.net(x, self.gates())  # type: ignore[no-any-return]

    def activations(self, forward: Callable[[Tensor], Tensor]) -> None:
        """Take a forward pass, and the backward pass to what the first block reads."""
        reads: list[Tensor] = []
        hook = self.net.net.stem.register_forward_hook(lambda *given: reads.append(given[-1].requires_grad_()))
        with frozen(self.net):
            loss = self.task.loss(forward, self.batch).loss
        hook.remove()
        gradients(loss, reads)


def timed(steps: Steps, rounds: int, repeats: int) -> list[dict[str, float]]:
    """Return the seconds of every step in each round, the least of some repeats in turn."""
    found = []
    for _ in range(rounds + 1):
        seconds = dict.fromkeys(steps, float("inf"))
        for name, step in list(steps.items()) * repeats:
            began = time.process_time()
            step()
            seconds[name] = min(seconds[name], time.process_time() - began)
        found.append(seconds)
    return found[1:]  # the first round warms up


def memory(bench: Bench, names: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Return the bytes at the peak of each step, and those kept for its backward passes, of which there may be two."""
    found = {}
    for name in names:
        step = bench.steps[name]
        bench.net.zero_grad(set_to_none=True)
        most = peak(step)  # type: ignore[arg-type]
        bench.net.zero_grad(set_to_none=True)
        found[name] = most, kept(step, list(bench.net.parameters()))
    return found


def measured(bench: Bench, pairs: Pairs, rounds: int, repeats: int) -> dict[str, dict[str, Any]]:
    """Return ratios of the bench that there are bounds for, of time and of memory."""
    names = dict.fromkeys(name for pair in pairs for name in pair.split(" / "))
    seconds = timed({name: bench.steps[name] for name in names}, rounds, repeats)
    held = memory(bench, names) if any(most for _, most in pairs.values()) else {}
    rows: dict[str, dict[str, Any]] = {}
    for pair, (bound, most) in pairs.items():
        one, other = pair.split(" / ")
        each = [row[one] / row[other] for row in seconds]
        ms = [round(1000 * statistics.median(row[name] for row in seconds), 2) for name in (one, other)]
        about = {"ms": ms[0], "of_ms": ms[1], "low": round(min(each), 3), "high": round(max(each), 3)}
        rows[pair] = about | verdict(statistics.median(each), bound)
        if most:
            mb = {f"{n}: peak and kept, MB": [round(size / 2**20, 1) for size in held[n]] for n in (one, other)}
            rows[f"peak memory {pair}"] = mb | verdict(held[one][0] / held[other][0], most)
    return rows


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--channels", type=int, default=16, help="of the cells, and of DSO's blocks")
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--width", type=float, default=0.25, help="of ResNet-18")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=2, help="of each step in a round, of which the least counts")
    parser.add_argument("--only", default="", help="one of cells, resnet, dso, gates")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args(words)
    torch.set_num_threads(1)
    benches: dict[str, Callable[[], Bench]] = {
        "cells": lambda: Cells(asked.batch, asked.channels, asked.cells),
        "resnet": lambda: ResNet(asked.batch, asked.width),
        "dso": lambda: Scaled(asked.batch, asked.channels, (1, 1, 1)),
        "gates": lambda: Scaled(64, 8, (8, 8, 8)),
    }
    report: dict[str, Any] = {
        "date": date.today().isoformat(),
        "setting": {k: v for k, v in vars(asked).items() if k != "out"} | {"threads": 1},
        "environment": {k: v for k, v in environment(0).items() if k not in ("command", "git", "seed")},
    }
    for name, make in benches.items():
        if asked.only not in ("", name):
            continue
        report[name] = measured(make(), BOUNDS[name], asked.rounds, asked.repeats)
        print(name, *(f"  {line(*row)}" for row in report[name].items()), sep="\n", flush=True)
    if asked.out:
        write_json(asked.out, report)


if __name__ == "__main__":
    main()
