"""Build a latency table: choose layers of a space that stand for all, and measure them in turns, again and again."""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import torch

from renascent.core.devices import usable_device
from renascent.core.errors import UserError
from renascent.core.fields import Count, NonNegative, Range, Whole, settings
from renascent.core.protocols import SpaceConfig
from renascent.core.space import Arch, Integer, Space
from renascent.costs.latency.config import LayerConfig, configs_of, distinct
from renascent.costs.latency.gp import by_family, spread_out
from renascent.costs.latency.measure import evaluation_mode, timed
from renascent.costs.latency.runtimes import Pass, check_runtime, prepared
from renascent.costs.latency.table import Entry, Lut, Network
from renascent.nets.sizes.layers import columns
from renascent.nets.sizes.resolution import RESOLUTION, input_shape

SAVE_SECONDS = 10.0
"""Between two savings of an unfinished table."""

DRAWN = 2000
"""Random architectures whose layers are the candidates."""


@settings
class Sampling:
    """What is measured for a table, and how long.

    Args:
        limit: layer configurations at most; of a space that has more, a well-spread sample is measured.
        networks: whole random networks, to calibrate the sum of the layers by.
        resolution: only input sizes from LOW-HIGH, such as 96-160; all of the space if not given.
        visits: to each layer and network, one after the other in turns.
        passes: timed in a visit, after two untimed ones.
        minutes: in all, of every session; what is measured by then is the table.
        seed: of the random architectures.
    """

    limit: Count = 1500
    networks: Whole = 20
    resolution: str | None = None
    visits: Count = 15
    passes: Count = 5
    minutes: NonNegative = 5.0
    seed: Annotated[int, Range(0, 2**63 - 1)] = 0

    def __post_init__(self) -> None:
        self.span()

    def span(self) -> tuple[int, int]:
        """Return the least and the largest input size. Raises UserError for what is none."""
        if self.resolution is None:
            return 1, 2**62
        low, dash, high = self.resolution.partition("-")
        if not (low.isdigit() and (high.isdigit() or not dash)) or int(low) > int(high or low) or not int(low):
            raise UserError(f"resolution is '{self.resolution}': give LOW-HIGH in pixels, such as 96-160, or one size")
        return int(low), int(high or low)


@dataclass(frozen=True)
class Plan:
    """What is to be measured. layers: in the order of their first visit; any first few of them are spread well.

    networks: name -> architecture and its layers.
    """

    layers: tuple[LayerConfig, ...]
    networks: Mapping[str, tuple[Arch, tuple[LayerConfig, ...]]]


def random_archs(space: Space, count: int, sampling: Sampling, stream: int = 0) -> list[Arch]:
    """Return random architectures, of input sizes within those of `sampling`. stream: of random numbers, of its seed.

    Raises UserError where the space has no such input size.
    """
    rng = np.random.default_rng([sampling.seed, stream])
    found = [space.sample(rng) for _ in range(count)]
    if sampling.resolution is None:
        return found
    decision, (low, high) = space.decisions.get(RESOLUTION), sampling.span()
    sizes = [r for r in decision.options if low <= r <= high] if isinstance(decision, Integer) else []
    if not sizes:
        there = f"{decision.options[0]} to {decision.options[-1]}" if isinstance(decision, Integer) else "no decision"
        raise UserError(f"resolution is '{sampling.resolution}', in space '{space.name}' it is {there}: leave it out")
    return [space.arch({**arch, RESOLUTION: int(rng.choice(sizes))}) for arch in found]


def plan(config: SpaceConfig, shape: tuple[int, int, int], classes: int, sampling: Sampling) -> Plan:
    """Choose the layers and the networks to be measured: those of random architectures, and of the extreme ones.

    shape: (channels, h, w) of the data.
    """
    space = config.space
    indices = np.array([space.indices(arch) for arch in random_archs(space, DRAWN, sampling)])
    indices = np.concatenate([indices, indices.min(0)[None], indices.max(0)[None]])
    layers = distinct(config.layers(columns(space, indices), shape, classes), len(indices))
    drawn = random_archs(space, sampling.networks, sampling, stream=1)
    networks = {space.format(arch): (arch, layers_of(config, arch, shape, classes)) for arch in drawn}
    return Plan(tuple(_ordered(layers, sampling)), networks)


def layers_of(config: SpaceConfig, arch: Arch, shape: tuple[int, int, int], classes: int) -> tuple[LayerConfig, ...]:
    """Return the layers of one architecture, repetitions included."""
    row = columns(config.space, config.space.indices(arch)[None])
    values = {name: np.asarray(column).tolist()[0] for name, column in row.items()}
    return tuple(configs_of(config.layers(values, shape, classes)))


def measured(
    plan: Plan,
    config: SpaceConfig,
    shape: tuple[int, int, int],
    classes: int,
    sampling: Sampling,
    *,
    table: Lut,
    runtime: str = "eager",
    device: torch.device | str = "auto",
    save: Callable[[Lut], object] = lambda table: None,
    show: Callable[[int, int], object] = lambda done, of: None,
) -> Lut:
    """Measure a plan in turns: every network and layer once, and again, until visits or minutes are used up.

    table: what was measured so far; it is gone on with.  save: called with the unfinished table now and then, and when
    the work is broken off.  show: called with the visits done and all.
    Raises UserError and MissingExtra as `latency.measure_all` does.
    """
    place = usable_device(device)
    check_runtime(runtime, place)
    nets = {name: config.network(arch, shape[0], classes).eval() for name, (arch, _) in plan.networks.items()}
    build = _Build(plan, sampling, table)
    with evaluation_mode(list(nets.values())):
        inputs = {name: input_shape(arch, shape) for name, (arch, _) in plan.networks.items()}
        runs: dict[Item, Pass] = {n: prepared(net, inputs[n], 1, runtime, place) for n, net in nets.items()}
        try:
            for item in build.pending():
                run = runs.get(item) or _alone(item, runtime, place)
                if runtime != "eager":
                    runs[item] = run  # made once: it takes a second
                build.visits[item].append(float(np.median(timed(run, sampling.passes, UNTIMED, place))))
                show(sum(map(len, build.visits.values())), len(build.visits) * sampling.visits)
                if time.monotonic() - build.saved >= SAVE_SECONDS:
                    save(build.table())
                    build.saved = time.monotonic()
        finally:
            save(build.table())
    return build.table()


UNTIMED = 2
"""Passes of a visit before the timed ones."""

LEAST = 40
"""Layers visited once even when the minutes are used up."""

Item = str | LayerConfig
"""A network by its name, or a layer."""


class _Build:
    """What a build has measured so far, and what is left."""

    def __init__(self, plan: Plan, sampling: Sampling, table: Lut) -> None:
        self.plan, self.sampling, self.about = plan, sampling, dict(table.about)
        held: dict[Item, Entry] = {name: net.entry for name, net in table.networks.items()}
        held |= {layer: entry for layer, entry in table.layers.items()}  # noqa: C416 (of another key type)
        items: list[Item] = [*plan.networks, *plan.layers]
        self.visits = {item: list(held[item].visits_ms) if item in held else [] for item in items}
        self.began = time.monotonic() - float(self.about.get("seconds", 0.0))
        self.saved = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def pending(self) -> Iterator[Item]:
        least = len(self.plan.networks) + LEAST
        for visit, (number, item) in itertools.product(range(self.sampling.visits), enumerate(self.visits)):
            if self.seconds > self.sampling.minutes * 60 and (visit > 0 or number >= least):
                return
            if len(self.visits[item]) <= visit:
                yield item

    def table(self) -> Lut:
        entries = {i: Entry(tuple(v), self.sampling.passes) for i, v in self.visits.items() if v}
        nets = {n: Network(layers, entries[n]) for n, (_, layers) in self.plan.networks.items() if n in entries}
        layers = {i: entry for i, entry in entries.items() if isinstance(i, LayerConfig)}
        table = Lut({**self.about, "seconds": round(self.seconds, 1)}, layers, nets)
        return replace(table, calibration=replace(table, networks=table.whole).calibrated())


def _alone(item: Item, runtime: str, device: torch.device) -> Pass:
    assert isinstance(item, LayerConfig), "networks are ready before"
    return prepared(item.module().to(device).eval(), item.shape, 1, runtime, device)


def _ordered(layers: Sequence[LayerConfig], sampling: Sampling) -> list[LayerConfig]:
    """Return at most `limit` layers, families in turns; of each, one far from the others and a random one in turns."""
    rng, families = np.random.default_rng([sampling.seed, 2]), by_family(layers)
    if sampling.limit < len(families):
        raise UserError(f"limit is {sampling.limit}, and the layers are of {len(families)} kinds: give at least that")
    queues = []
    for rows in families.values():
        kept = [layers[row] for row in rows]
        far = spread_out(kept, sampling.limit)
        mixed = itertools.chain.from_iterable(zip(far, rng.permutation(len(kept)).tolist(), strict=False))
        queues.append([kept[k] for k in dict.fromkeys([*mixed, *far])])
    turns = itertools.chain.from_iterable(itertools.zip_longest(*queues))
    return [layer for layer in turns if layer is not None][: sampling.limit]
