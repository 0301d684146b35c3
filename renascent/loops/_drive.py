"""Steps, events and checkpoints: what the shared-weight loop and the trainer have in common."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch

from renascent.core.devices import enough_memory
from renascent.core.errors import Diverged, Interrupted, UserError
from renascent.core.files import Json
from renascent.core.protocols import ALONE, Metrics, Progress, Rest, Say
from renascent.core.randomness import others_kept, seed_others
from renascent.loops.run import AGAIN, Run, interruptible

CHECKPOINT_SECONDS = 60.0
"""A checkpoint is written after every epoch, and this often within one."""


MISFITS = (UserError, LookupError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError, AssertionError)
"""What the parts of a run, each in its own way, say of a state that is not theirs."""


class Stateful(Protocol):
    """Anything that can be put away and brought back."""

    def state_dict(self) -> Mapping[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any], /) -> Any: ...


class Means:
    """Running means of the metrics since the epoch began, kept where the metrics are."""

    def __init__(self) -> None:
        self.sums: dict[str, torch.Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, metrics: Metrics) -> None:
        for name, value in metrics.items():
            # MPS has no double precision
            exact = value.detach().to(torch.float32 if value.device.type == "mps" else torch.float64)
            self.sums[name] = self.sums.get(name, 0) + exact
            self.counts[name] = self.counts.get(name, 0) + 1

    @property
    def on_cpu(self) -> bool:
        return all(total.device.type == "cpu" for total in self.sums.values())

    def take(self) -> dict[str, float]:
        """Return the means and start again."""
        means = {name: float(total) / self.counts[name] for name, total in self.sums.items()}
        self.sums, self.counts = {}, {}
        return means

    def state_dict(self) -> dict[str, Any]:
        return {"sums": {k: float(v) for k, v in self.sums.items()}, "counts": dict(self.counts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.sums = {k: torch.tensor(v, dtype=torch.double) for k, v in state["sums"].items()}
        self.counts = dict(state["counts"])


def drive(
    run: Run,
    parts: Mapping[str, Stateful],
    *,
    epochs: int,
    steps_per_epoch: int,
    seed: int,
    step: Callable[[Progress], Metrics],
    epoch: Callable[[dict[str, float]], Mapping[str, Any]],
    say: Say,
    rest: Rest = ALONE,
) -> float:
    """Take every step that is still to take, and return the seconds spent on all of them, earlier sessions included.

    parts: all that changes; saved and restored together, so that a resumed run repeats the others bit for bit.
    epoch: adds to the event of an epoch, given the means of its metrics.
    rest: of the training that this run is a part of.

    Raises Diverged when a metric is not finite, leaving the last good checkpoint; Interrupted after Ctrl-C, leaving a
    checkpoint of this very step; UserError when another process is at work in the folder, or
    memory does not suffice.
    """
    means = Means()
    kept = {**parts, "means": means}
    memory = enough_memory("a step of the training", "give a smaller `batch`")
    with run.alone(), interruptible() as interrupt, memory, others_kept():
        steps = epochs * steps_per_epoch
        first, before = _restore(run, kept, steps)
        began = saved = time.monotonic()

        def save(done: int) -> None:
            seconds = before + time.monotonic() - began
            run.save({"step": done, "seconds": seconds, **{name: part.state_dict() for name, part in kept.items()}})

        for number in range(first, steps):
            t = Progress(number, steps, steps_per_epoch, rest)
            # so that everything random in a step is a function of the seed and its number
            drawn = (seed * 1_000_003 + rest.before + number) % 2**63
            torch.manual_seed(drawn)
            seed_others(drawn)  # a model of a user may draw from these
            means.add(step(t))
            asked = interrupt.asked  # once, so that a stop is never without its checkpoint
            due = t.ends_epoch or asked or time.monotonic() - saved > CHECKPOINT_SECONDS
            if due or number % 20 == 0 or means.on_cpu:  # reading a number makes an accelerator wait
                _check_finite(means, t, run)
            if due:
                _check_whole({name: part.state_dict() for name, part in parts.items()}, t, run)
            if t.ends_epoch:
                values = means.take()
                spent = round(before + time.monotonic() - began, 3)
                added = epoch(values)
                say(run.event("epoch", epoch=t.epoch + 1, epochs=epochs, **values, **added, seconds=spent))
            if due:
                save(number + 1)
                saved = time.monotonic()
            if asked and number + 1 < steps:
                raise Interrupted(
                    f"interrupted after step {number + 1} of {steps}; add `resume=True` to go on from here"
                )
    return before + time.monotonic() - began


def _restore(run: Run, parts: Mapping[str, Stateful], steps: int) -> tuple[int, float]:
    """Return the number of steps done and the seconds they took. Raises UserError for a state of something else."""

    def use(tree: Json) -> None:
        try:
            step, seconds = tree["step"], tree["seconds"]
            if type(step) is not int or not 0 <= step <= steps or not 0 <= float(seconds) < math.inf:
                raise ValueError(f"step {step!r:.40} of {steps}, after {seconds!r:.40} seconds")
            for name, part in parts.items():
                part.load_state_dict(tree[name])
        except MISFITS as e:
            reason = f"{type(e).__name__}: {e}".splitlines()[0]
            raise UserError(f"the checkpoint {run.checkpoint} does not fit this run ({reason:.120}): {AGAIN}") from e

    tree = run.restore(use)
    return (tree["step"], float(tree["seconds"])) if tree else (0, 0.0)


def _check_finite(means: Means, t: Progress, run: Run) -> None:
    for name, total in means.sums.items():
        if not math.isfinite(number := float(total)):
            raise _diverged(f"{name} is {number}", t, run)


def _check_whole(node: Any, t: Progress, run: Run, name: str = "") -> None:
    """Refuse to save what is ruined: the step after a finite loss may already have spoilt the weights."""
    if isinstance(node, torch.Tensor) and node.is_floating_point():
        if not bool((node < torch.inf).all()):  # NaN is not below; minus infinity is, and stands in masks
            raise _diverged(f"{name} is no longer finite", t, run)
    elif isinstance(node, Mapping):
        for key, value in node.items():
            _check_whole(value, t, run, f"{name}.{key}" if name else str(key))


def _diverged(what: str, t: Progress, run: Run) -> Diverged:
    kept = f"the last good checkpoint is {run.checkpoint}" if run.checkpoint.exists() else "there is no checkpoint yet"
    return Diverged(
        f"{what} at step {t.step + 1} of {t.steps} (epoch {t.epoch + 1}): stopped; {kept}; "
        "start again in another folder with a smaller `lr`"
    )
