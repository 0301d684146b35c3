"""Latency measured on this device."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from renascent.core.devices import usable_device
from renascent.core.errors import UserError
from renascent.costs.latency.runtimes import Pass, check_runtime, device_of, named, prepared

try:
    import resource
except ImportError:  # not on every system
    resource = None  # type: ignore[assignment]

ROUNDS = 10
"""Rounds in which a network is timed: a slow phase of the machine that is shorter than half of them does not count."""


BUSY = 0.25
"""Spread of passes from which on a machine counts as busy: see docs/latency.md for what was measured at which."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one forward pass. p10_ms, p90_ms: the spread around the median.  runtime: what ran it."""

    median_ms: float
    p10_ms: float
    p90_ms: float
    runtime: str

    @property
    def spread(self) -> float:
        """How much longer than the median the slowest tenth of passes took at least, as a share of it."""
        return self.p90_ms / self.median_ms - 1 if self.median_ms > 0 else 0.0

    @property
    def busy(self) -> str:
        """One line where the spread says that others were at work on the machine; nothing where it does not.

        >>> Latency(1.0, 0.9, 1.2, "by hand").busy, Latency(1.0, 0.9, 1.8, "by hand").busy.partition(":")[0]
        ('', 'latency was measured on a busy machine')
        """
        if self.spread <= BUSY:
            return ""
        longer = f"one pass in ten took at least {100 * self.spread:.0f} % longer than the median"
        return (
            f"latency was measured on a busy machine: {longer} of {self.median_ms:.3g} ms (up to {100 * BUSY:.0f} % is "
            "quiet); measure again when it is idle"
        )


def measure(
    net: nn.Module,
    shape: tuple[int, ...],
    *,
    batch: int = 1,
    repeats: int = 200,
    warmup: int = 30,
    runtime: str = "eager",
) -> Latency:
    """Time `net` on a batch of inputs of `shape` (channels, h, w): evaluation mode, one thread on a CPU.

    median_ms is that of the quieter half of ten rounds, p10_ms and p90_ms are those of all passes.

    repeats: timed passes, in all rounds together, and `warmup` untimed ones: at least, for all rounds have as many.
    runtime: "eager", "compiled" or "onnxruntime".
    Raises UserError for an unknown runtime or one that cannot run on the network's device, MissingExtra where it is
    not installed.
    """
    rounds = max(1, min(ROUNDS, repeats))
    (found,) = measure_all(
        [(net, shape)],
        batch=batch,
        rounds=rounds,
        passes=math.ceil(repeats / rounds),
        warmup=math.ceil(warmup / rounds),
        runtime=runtime,
        device=device_of(net),
    )
    return found


def measure_all(
    cases: Sequence[tuple[nn.Module, tuple[int, ...]]],
    *,
    batch: int = 1,
    rounds: int = 20,
    passes: int = 5,
    warmup: int = 3,
    runtime: str = "eager",
    device: torch.device | str = "auto",
    show: Callable[[int, int], object] = lambda done, of: None,
) -> list[Latency]:
    """Time several networks against each other, each on inputs of its shape (channels, h, w).

    Every round times every network once, a few passes each, so that a slow phase of the machine affects all equally.

    median_ms is that of the quieter half of the rounds, p10_ms and p90_ms are those of all passes.

    passes: timed in a row, after `warmup` untimed ones, in each round.  device: where the networks are put.
    show: called with the rounds done, and all of them.
    Raises UserError and MissingExtra as `measure` does, and UserError for a device that cannot be used.

    >>> layers = [nn.Conv2d(4, width, 3) for width in (4, 64)]
    >>> small, large = measure_all([(layer, (4, 16, 16)) for layer in layers], rounds=5)
    >>> small.median_ms < large.median_ms
    True
    """
    place = usable_device(device)
    check_runtime(runtime, place)
    for name, count in {"rounds": rounds, "passes": passes, "warmup": warmup + 1, "batch": batch}.items():
        if count < 1:
            raise UserError(f"{name} is {count}: give a whole number of at least 1")
    samples: list[list[list[float]]] = [[] for _ in cases]
    with evaluation_mode([net for net, _ in cases]):
        ready = [prepared(net, shape, batch, runtime, place) for net, shape in cases]
        for done in range(1, rounds + 1):
            for found, run in zip(samples, ready, strict=True):
                found.append(timed(run, passes, warmup, place))
            show(done, rounds)
    return [summary(found, named(runtime, place)) for found in samples]


def timed(run: Pass, passes: int, warmup: int, device: torch.device) -> list[float]:
    """Return the milliseconds of some passes in a row, after untimed ones.

    A pass in which the system gave the processor to something else tells nothing of the network and does not count;
    when there is no other, the processor time of these passes does.
    """
    for _ in range(warmup):
        run()
    found = [_timed(run, device) for _ in range(passes)]
    return [wall for wall, _, taken in found if not taken] or [processor for _, processor, _ in found]


def _timed(run: Pass, device: torch.device) -> tuple[float, float, bool]:
    """Return the milliseconds of one pass, those of the processor, and whether another process ran on it meanwhile."""
    _wait(device)
    switches = _switches()
    worked, began = time.thread_time(), time.perf_counter()
    run()
    _wait(device)
    ended, done = time.perf_counter(), time.thread_time()
    return (ended - began) * 1e3, (done - worked) * 1e3, device.type == "cpu" and _switches() > switches


def _switches() -> int:
    """Return how often this thread had to leave its processor; 0 where the system does not tell."""
    if resource is None or not hasattr(resource, "RUSAGE_THREAD"):
        return 0
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


def summary(rounds_ms: Sequence[Sequence[float]], runtime: str) -> Latency:
    """Return median and spread of the passes of some rounds.

    >>> summary([[1.0, 2.0, 30.0]], "by hand").median_ms
    2.0
    """
    p10, p90 = np.percentile(np.concatenate(rounds_ms), (10, 90))
    middle = quiet([float(np.median(r)) for r in rounds_ms])
    # quiet rounds in which few passes counted weigh little among all passes
    return Latency(middle, min(float(p10), middle), max(float(p90), middle), runtime)


def quiet(medians_ms: Sequence[float]) -> float:
    """Return the median of the smaller half of some numbers: others' work on the machine only ever adds to a time.

    >>> quiet([3.0]), quiet([1.0, 9.0, 1.2, 8.0, 1.1])
    (3.0, 1.1)
    """
    ordered = np.sort(np.asarray(medians_ms, dtype=np.float64))
    return float(np.median(ordered[: (len(ordered) + 1) // 2]))


@contextmanager
def evaluation_mode(nets: Sequence[nn.Module]) -> Iterator[None]:
    """Evaluate inside with one thread and without gradients; modes and threads are restored afterwards."""
    modes, threads = [net.training for net in nets], torch.get_num_threads()
    for net in nets:
        net.eval()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(threads)
        for net, mode in zip(nets, modes, strict=True):
            net.train(mode)


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
