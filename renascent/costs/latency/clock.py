"""How a bounded latency is measured, and the measurement."""

from dataclasses import dataclass

import torch

from renascent.core.environment import processor_name
from renascent.core.protocols import SpaceConfig, Task
from renascent.core.space import Arch
from renascent.costs import Latency, measure_all
from renascent.costs.latency.blocks import Twin
from renascent.costs.latency.runtimes import RUNTIMES, check_runtime
from renascent.costs.latency.table import Lut
from renascent.nets.sizes.resolution import input_shape


@dataclass(frozen=True)
class Clock:
    """How a bounded latency is measured. runtime: what runs a network, on the task's device.

    table: what predicts it, where a look-up table does: then with the runtime and on the device of that.
    beside: the reference, and the milliseconds of which a share became the bound. It is then measured in turns with a
    network, whose latency is its proportion to it: how busy the machine is changes that little.
    known: False where what predicts it does not say of which device: then nothing is measured.
    twin: what is measured in place of the network that is searched, of the same decisions.
    """

    runtime: str = "eager"
    table: Lut | None = None
    beside: tuple[Arch, float] | None = None
    known: bool = True
    twin: Twin | None = None

    def place(self, device: torch.device) -> tuple[str, torch.device | None]:
        """Return the runtime and the device it measures with and on: None where the bound is on one that is not here.

        device: of the search; of several graphics cards, the one that is meant.
        """
        if self.table is None:
            return self.runtime, device if self.known else None
        about = self.table.about
        runtime = next((name for name in RUNTIMES if name in str(about.get("runtime"))), "")
        if not runtime or about.get("processor") != processor_name():
            return runtime, None
        if about.get("device") == "cpu":
            return runtime, torch.device("cpu")
        if not torch.cuda.is_available():
            return runtime, None
        card = device if device.type == "cuda" else torch.device("cuda")
        return runtime, card if torch.cuda.get_device_name(card) == about.get("device") else None


EAGER = Clock()
"""Measures with plain PyTorch, on the task's device."""


def latency_of(config: SpaceConfig, arch: Arch, task: Task, clock: Clock = EAGER) -> Latency | None:
    """Measure the latency of an architecture with fresh weights on one input; None where that cannot be done here."""
    runtime, device = clock.place(task.device)
    if device is None:
        return None
    check_runtime(runtime, device)
    archs = [arch, *([clock.beside[0]] if clock.beside else [])]
    config, shape, classes = clock.twin or Twin(config, (task.channels, *task.size), task.classes)
    cases = [(config.network(one, shape[0], classes), input_shape(one, shape)) for one in archs]
    seen, *others = measure_all(cases, passes=10, runtime=runtime, device=device)
    if clock.beside is None:
        return seen
    scale = clock.beside[1] / others[0].median_ms
    return Latency(scale * seen.median_ms, scale * seen.p10_ms, scale * seen.p90_ms, seen.runtime)


def confirmed_latency(config: SpaceConfig, arch: Arch, task: Task, clock: Clock, limit: float) -> Latency | None:
    """Measure a latency; again where it misses the limit.

    Other work on the machine only ever adds to a time: the smaller of two counts. For proportions the mean counts,
    since the reference may have been slowed.
    """
    seen = latency_of(config, arch, task, clock)
    if seen is None or seen.median_ms <= limit:
        return seen
    again = latency_of(config, arch, task, clock) or seen
    if clock.beside is None:
        return min(seen, again, key=lambda one: one.median_ms)
    p10, median, p90 = ((getattr(seen, name) + getattr(again, name)) / 2 for name in ("p10_ms", "median_ms", "p90_ms"))
    return Latency(median, p10, p90, seen.runtime)
