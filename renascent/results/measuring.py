"""The networks that are measured before a search whose latency is bounded, kept while they are, to predict from."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from renascent.core.bounds import LATENCY
from renascent.core.protocols import Say, SpaceConfig, Task
from renascent.costs.budget import Budget, infeasible
from renascent.costs.latency.clock import Clock
from renascent.costs.latency.fitted import FittedLatency, Stored, fitted_latency
from renascent.costs.latency.turns import Watch

MEASURED_FILE = "latency-networks.part"
"""In the folder of a run to come: the networks measured so far for that, so that a resume measures the others."""

CLEARLY = 1.25
"""Times a bound on latency: when the smallest network takes longer than that, it is refused at once."""


def measured(config: SpaceConfig, task: Task, clock: Clock, budget: Budget, path: Path | None, say: Say) -> Stored:
    """Fit a latency to networks measured on the task's device. path: of the file that keeps what was measured."""
    shape = (task.channels, *task.size)
    (bound,) = (bound for bound in budget.bounds if bound.name == LATENCY)

    def refuse(smallest_ms: float, first_ms: float) -> None:
        if bound.relative and config.reference is None:
            return
        limit = bound.value * first_ms if bound.relative else bound.value
        if smallest_ms > CLEARLY * limit:
            raise infeasible(config, LATENCY, limit, smallest_ms)

    watch = Watch(path=path, refuse=refuse, show=lambda done, of: say({"event": "measured", "done": done, "of": of}))
    about: Any = {"device": task.device, "runtime": clock.runtime, "watch": watch}
    with torch.random.fork_rng([task.device] if task.device.type == "cuda" else []):
        cost: FittedLatency = fitted_latency(config, shape, task.classes, **about)
    return Stored(cost.weights.tolist(), cost.error, cost.reference_ms)


def measured_file(folder: Path, resume: bool) -> Path | None:
    """Return the file that keeps what is measured for a search to come; None where another run is in its folder.

    Unless that is resumed, what was measured for an earlier search is removed.
    """
    path = folder / MEASURED_FILE
    others = folder.is_dir() and any(file.suffix != ".part" for file in folder.iterdir())
    if not resume and not others:
        path.unlink(missing_ok=True)
    return path if resume or not others else None


def forget(folder: Path) -> None:
    """Remove what was measured for a search that cannot be, and its folder if nothing else is in it."""
    with suppress(OSError):
        (folder / MEASURED_FILE).unlink()
        folder.rmdir()
