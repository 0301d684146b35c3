"""One piece of a build's work: train an architecture, or price it. What comes out is a record, JSON values."""

import math
import re
from pathlib import Path

import torch

from renascent.bench.building.plan import Plan, loaded
from renascent.core.environment import processor_name
from renascent.core.errors import Interrupted
from renascent.core.files import Json
from renascent.costs import macs, measure, params
from renascent.loops.trained import train_curves
from renascent.tasks.images import ImageTask

TRIES = 3
"""A training whose process dies is repeated, and given up when this many processes have died of it."""

ROUNDS = 3
"""How many times a network is timed."""


def train(text: str, arch: str, seed: int) -> Json:
    """Train one architecture of the plan in a JSON text and return its record; one that fails says why.

    A number that is not finite, such as a validation loss that overflows, is None.
    """
    try:
        plan, task = loaded(text)
        space = plan.space
        curves = train_curves(space, space.space.parse(arch), task, plan.settings, seed)
    except Interrupted:
        raise  # whoever stopped it did not mean that it failed
    except Exception as e:
        return failed(arch, seed, f"{type(e).__name__}: {e}")
    values = {name: [v if math.isfinite(v) else None for v in curve] for name, curve in curves.values.items()}
    seconds = round(curves.seconds, 4)
    return {"arch": arch, "seed": seed, "values": values, "seconds": seconds, "machine": machine(task)}


def machine(task: ImageTask) -> str:
    """Return what computes, so that where two agree, so should the numbers: the GPU, or the processor and its model."""
    if task.device.type == "cuda":
        return str(torch.cuda.get_device_name(task.device))
    # a rented machine tells no more than "AMD EPYC" by name, and models differ in the last bits
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    told = dict(re.split(r"\s*:\s*", line, maxsplit=1) for line in lines if ":" in line)
    model = "".join(f", {key} {told[key]}" for key in ("cpu family", "model", "stepping") if key in told)
    return f"{processor_name()}{model}, {torch.backends.cpu.get_cpu_capability()}"


def failed(arch: str, seed: int, why: str) -> Json:
    """Return the record of a training that failed."""
    # the rest of the message is about checkpoints, and a build keeps none
    return {"arch": arch, "seed": seed, "error": " ".join(why.partition(": stopped; ")[0].split())}


def died(arch: str, seed: int, how: str) -> Json:
    """Return the record of a training that was given up, its processes having died."""
    return failed(arch, seed, f"its process died {TRIES} times, the last time {how}: is there memory enough?")


def price(plan: Plan, task: ImageTask, arch: str) -> Json:
    """Count and time one architecture with fresh weights, on one input; return its record."""
    shape = (task.channels, *task.size)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        net = plan.space.network(plan.space.space.parse(arch), task.channels, task.classes)
        net = net.to(task.device)
        # the least of several: what else the machine does can only slow it down
        latency = min(measure(net, shape, repeats=50, warmup=10).median_ms for _ in range(ROUNDS))
    return {"arch": arch, "params": params(net), "macs": macs(net, shape), "latency_ms": round(latency, 5)}
