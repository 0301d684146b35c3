"""What one step of a size search costs, as a multiple of the plain step of the network it stands for.

    OMP_NUM_THREADS=1 python benchmarks/size_search_cost.py --space resnet20 --rounds 7 --out benchmarks/results/x.json

One process, one thread, all steps in turn, round after round, each beside the step of the plain network that it is
divided by, in alternating order; the median of these ratios over rounds and architectures is quoted, so that a machine
that slows down slows both sides. Before each pair the plain network runs once untimed: the first step of other sizes
than the last one's pays for fresh memory, whichever it is. Time is the process's own CPU time. Plain networks take
images already resized and learn by the same rule. The architectures are drawn by seed. A line ends in `ok` or `MISS`.
Spaces whose names begin with `own-` are those of a user's model, which `adapt` makes of the reference network.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import nn

from renascent.core.environment import environment
from renascent.core.files import write_json
from renascent.core.gates import Gate, Gates, gumbel_soft, one_hot, several_sizes
from renascent.core.protocols import Progress, Setup, SpaceConfig, State, Task
from renascent.core.space import Arch
from renascent.nets import SPACES
from renascent.nets.adapt import adapt
from renascent.nets.sizes.layers import largest_active
from renascent.nets.sizes.resolution import RESOLUTION, resize
from renascent.nets.sizes.sized import widest_arch
from renascent.strategies._bilevel import arch_step, weight_step
from renascent.strategies._logits import Logits
from renascent.strategies.fbnetv2 import FBNetV2
from renascent.tasks.bf16 import InBfloat16
from renascent.tasks.images import ImageTask
from renascent.tasks.streams import Batch

NAMES = ("nats-size", "resnet20", "mobilenet-v2-cifar", "own-resnet20", "own-mobilenet-v2-cifar")

OWN = "own-"

SANDWICH = 2
"""Between the largest and the smallest."""

EVALUATIONS = 8
"""Of NES on one validation batch."""


Net = TypeVar("Net", bound=nn.Module)


class Pair(NamedTuple):
    """A step of a search, and the plain networks' work that it is measured by."""

    search: Callable[[], object]
    plain: Callable[[], object]


BOUNDS: dict[str, float | None] = {
    "NES and TuNAS: weight step / child's step": 1.10,
    "TuNAS: evaluation / child's forward": 1.10,
    f"NES: {EVALUATIONS} evaluations / children's forwards": 1.10,
    "TAS: weight step / step of the larger widths": 1.30,
    "TAS: architecture step / step of the larger widths": 1.30,
    "FBNet-V2: weight step / full network's step": 1.05,
    "FBNet-V2: architecture step / full network's step": 1.05,
    "FBNet-V2, depths mixed too: weight step / the same": None,
    f"Sandwich of {SANDWICH}: weight step / its {SANDWICH + 2} networks' steps": 1.10,
    "FBNet-V2 at its last temperature: weight step / step of the largest left": 1.10,
}
"""The paper of FBNet-V2 mixes widths; where a space has depths, summing the outputs at each comes on top.

At the last temperature few sizes are left of a sample: the step is to cost what the largest of these does.
"""


class Bench:
    """A supernet, plain networks of its space, and every step to be timed."""

    def __init__(self, space: str, batch: int, networks: int, bf16: bool = False) -> None:
        torch.manual_seed(0)
        self.config = config_of(space)
        self.space = self.config.space
        self.net = in_format(self.config, self.config.supernet(3, 10))
        images, labels = torch.randint(0, 256, (2 * batch, 3, 32, 32), dtype=torch.uint8), torch.arange(2 * batch) % 10
        self.task: Task = ImageTask.from_tensors(images, labels)
        self.batch = self.task.streams(0, batch).train.next()
        if bf16:
            self.task = InBfloat16(self.task)
        setup = Setup(self.net, self.task, self.space)
        policy = Logits(self.space, torch.Generator().manual_seed(0))
        optimiser = torch.optim.Adam(policy.parameters(), lr=1e-3)
        self.rule, self.policy = setup.weights, policy
        self.state = State(setup, self.rule.optimiser(self.net), setup.generator(), policy, optimiser)
        self.t = Progress(0, 1000, 100)
        rng = np.random.default_rng(0)
        self.archs = [self.space.sample(rng) for _ in range(networks)]
        self.many = [self.space.sample(rng) for _ in range(EVALUATIONS)]

    def pairs(self) -> list[tuple[str, Pair]]:
        """Return everything that is timed, by its name in `BOUNDS`; some for several architectures."""
        found = []
        names = list(BOUNDS)
        for k, arch in enumerate(self.archs):
            child, gates = Plain(self, arch), one_hot(self.space, arch)
            found.append((names[0], Pair(partial(self.weight_step, gates), child.step)))
            found.append((names[1], Pair(partial(self.evaluate, gates), child.forward)))
            sampled = detached(self.sizes(k))
            larger = Plain(self, self.space.arch(largest_active(self.space, sampled)))
            found.append((names[3], Pair(partial(self.weight_step, sampled), larger.step)))
            found.append((names[4], Pair(partial(self.learn, partial(self.sizes, k)), larger.step)))
            cold = detached(self.widths_masked(FBNetV2().tau_end, k))
            left = Plain(self, self.space.arch(largest_active(self.space, cold)))
            found.append((names[9], Pair(partial(self.weight_step, cold), left.step)))
        children = [Plain(self, arch) for arch in self.many]
        several = [one_hot(self.space, arch) for arch in self.many]
        each = Pair(lambda: [self.evaluate(g) for g in several], lambda: [child.forward() for child in children])
        full = Plain(self, widest_arch(self.space))
        steps = [
            (names[5], Pair(partial(self.weight_step, detached(self.widths_masked())), full.step)),
            (names[6], Pair(partial(self.learn, self.widths_masked), full.step)),
        ]
        if any(name.startswith("depth") for name in self.space.decisions):
            steps.append((names[7], Pair(partial(self.weight_step, detached(self.masks())), full.step)))
        drawn = (torch.rand(SANDWICH - 1, len(self.space.counts), generator=seeded(), dtype=torch.float64)).numpy()
        counts = np.array(self.space.counts)
        rows = [counts - 1, 0 * counts, *(drawn * counts).astype(np.int64), self.space.indices(self.archs[0])]
        four = [Plain(self, self.space.from_indices(row)) for row in rows]
        steps.append((names[8], Pair(self.sandwich, lambda: [net.step() for net in four])))
        return [*found, (names[2], each), *steps]

    def learn(self, gates: Callable[[], Gates]) -> None:
        arch_step(self.state, self.batch, gates())

    def sizes(self, seed: int) -> Gates:
        gates = several_sizes(self.space, self.policy(), 1.0, torch.Generator().manual_seed(seed))
        return self.at_largest(gates)

    def masks(self, tau: float = 1.0, seed: int = 0) -> Gates:
        return self.at_largest(gumbel_soft(self.space, self.policy(), tau, torch.Generator().manual_seed(seed)))

    def widths_masked(self, tau: float = 1.0, seed: int = 0) -> Gates:
        return self.at_largest(self.masks(tau, seed), "depth")

    def at_largest(self, gates: Gates, start: str = RESOLUTION) -> Gates:
        """Decide what `start` begins the name of: the largest that is open. A resolution is never mixed."""
        return {name: decided(gate) if name.startswith(start) else gate for name, gate in gates.items()}

    def weight_step(self, gates: Gates) -> None:
        weight_step(self.state, self.batch, gates, self.t)

    def sandwich(self) -> None:
        setup = replace(self.state.setup, sandwich=SANDWICH)
        state = replace(self.state, setup=setup, rng=seeded())
        weight_step(state, self.batch, one_hot(self.space, self.archs[0]), self.t)

    @torch.no_grad()
    def evaluate(self, gates: Gates) -> None:
        self.task.loss(self.net, self.batch, gates)


class Plain:
    """One architecture as a network of its own, and what it costs to train and to run it."""

    def __init__(self, bench: Bench, arch: Arch) -> None:
        self.task, self.rule = bench.task, bench.rule
        self.net = in_format(bench.config, bench.net.extract(arch)).train()
        self.optimiser = self.rule.optimiser(self.net)
        images, labels = bench.batch
        size = arch.get(RESOLUTION)
        self.batch: Batch = (resize(images, size) if isinstance(size, int) else images, labels)

    def step(self) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        self.task.loss(self.net, self.batch).loss.backward()  # type: ignore[no-untyped-call]
        self.rule.apply(self.optimiser, 0.0)

    @torch.no_grad()
    def forward(self) -> None:
        self.task.loss(self.net, self.batch)


def config_of(name: str) -> SpaceConfig:
    """Return a space by its name, or the one that `adapt` makes of its reference network."""
    config: SpaceConfig = SPACES[name.removeprefix(OWN)]()
    if not name.startswith(OWN):
        return config
    assert config.reference is not None
    return adapt(config.network(config.reference, 3, 10), (3, 32, 32), multiple=2, least=0.125)


def in_format(config: SpaceConfig, net: Net) -> Net:
    """Return a network in the memory format that a search of the space trains it in."""
    return net.to(memory_format=config.memory_format)  # type: ignore[call-overload, no-any-return]


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def decided(gate: Gate) -> Gate:
    weight = torch.zeros_like(gate.weight.detach())
    weight[max(gate.active)] = 1.0
    return replace(gate, weight=weight, active=(max(gate.active),))


def detached(gates: Gates) -> Gates:
    return {name: replace(gate, weight=gate.weight.detach()) for name, gate in gates.items()}


def timed(bench: Bench, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Return (search, plain) seconds of every pair in every round."""
    pairs = bench.pairs()
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in BOUNDS}
    for round_ in range(rounds + 1):
        for name, pair in pairs:
            pair.plain()  # so that both find memory that has been touched for such sizes, whatever ran before
            if round_ % 2:
                plain, search = seconds_of(pair.plain), seconds_of(pair.search)
            else:
                search, plain = seconds_of(pair.search), seconds_of(pair.plain)
            if round_:  # the first one warms up
                seconds[name].append((search, plain))
    return seconds


def seconds_of(step: Callable[[], object]) -> float:
    began = time.process_time()
    step()
    return time.process_time() - began


def row(name: str, seconds: list[tuple[float, float]]) -> dict[str, Any]:
    each = [search / plain for search, plain in seconds]
    ratio = statistics.median(each)
    return {
        "ratio": round(ratio, 3),
        "low": round(min(each), 3),
        "high": round(max(each), 3),
        "ms": round(1000 * statistics.median(search for search, _ in seconds), 1),
        "plain_ms": round(1000 * statistics.median(plain for _, plain in seconds), 1),
        "bound": BOUNDS[name],
        "met": None if BOUNDS[name] is None else ratio <= BOUNDS[name],
    }


def line(name: str, found: dict[str, Any]) -> str:
    met = "" if found["met"] is None else f"bound {found['bound']:.2f}: {'ok' if found['met'] else 'MISS'}"
    times = f"{found['ms']:9.1f} ms / {found['plain_ms']:.1f} ms  ({found['low']}-{found['high']})"
    return f"  {name:54} x {found['ratio']:6.3f}  {met:17}{times}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--space", action="append", choices=[*SPACES, *NAMES], help=f"again for more; {', '.join(NAMES)}"
    )
    parser.add_argument("--networks", type=int, default=3)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--bf16", action="store_true", help="both sides in bfloat16")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    spaces = asked.space or list(NAMES)
    steps: dict[str, dict[str, Any]] = {}
    for space in spaces:
        print(space, flush=True)
        seconds = timed(Bench(space, asked.batch, asked.networks, asked.bf16), asked.rounds)
        steps[space] = {name: row(name, found) for name, found in seconds.items() if found}
        print(*(line(name, found) for name, found in steps[space].items()), sep="\n", flush=True)
    if asked.out:
        report = {
            "date": date.today().isoformat(),
            "setting": {k: v for k, v in vars(asked).items() if k not in ("out", "space")} | {"threads": 1},
            "steps": steps,
            "environment": {k: v for k, v in environment(0).items() if k not in ("command", "git", "seed")},
        }
        write_json(asked.out, report)


if __name__ == "__main__":
    main()
