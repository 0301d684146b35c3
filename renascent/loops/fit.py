"""Train one fixed network."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from renascent.core.errors import Diverged, UserError
from renascent.core.optimiser import check_learns
from renascent.core.protocols import ALONE, Metrics, Progress, Rest, Say, Stream, Task
from renascent.core.text import aligned, number, percent
from renascent.loops._drive import Stateful, drive
from renascent.loops.change import change_of
from renascent.loops.criterion import check_own, loss_of
from renascent.loops.evaluate import ByClass, Examined, examine, judge
from renascent.loops.own import Metric, own_metric
from renascent.loops.run import Run
from renascent.loops.training import Fit as Fit


@dataclass(frozen=True)
class Fitted:
    """A trained network. scores: accuracy in [0, 1] of each split it was evaluated on.  seconds: of training.

    process_seconds: of the processor, on the steps of this session alone: no evaluation, no checkpoint.
    by_class: how it does on each class of each split.  metrics: of the user's own, of each split, where there is one.

    >>> print(Fitted(nn.Linear(2, 3), {"test": 0.75}, 2.0))
    test accuracy  75.00 %
    parameters           9
    training         2.0 s
    """

    net: nn.Module
    scores: dict[str, float]
    seconds: float
    process_seconds: float = 0.0
    by_class: Mapping[str, ByClass] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        rows = [(f"{split} accuracy", percent(score)) for split, score in self.scores.items()]
        rows += [(f"{name} balanced accuracy", percent(s.balanced_accuracy)) for name, s in self.by_class.items()]
        rows += [(f"{split} metric", number(value)) for split, value in self.metrics.items()]
        size = sum(p.numel() for p in self.net.parameters())
        return aligned([*rows, ("parameters", f"{size:,}"), ("training", f"{self.seconds:.1f} s")], "<>")

    @property
    def figures(self) -> dict[str, Any]:
        """What is told of it beside the scores."""
        return {"by_class": dict(self.by_class), "metrics": dict(self.metrics)}


def fit(
    net: nn.Module,
    task: Task,
    settings: Fit,
    *,
    run: Run,
    seed: int = 0,
    split: str = "train+val",
    evaluate: Iterable[str] = ("test",),
    watch: Sequence[str] = (),
    say: Say = lambda event: None,
    rest: Rest = ALONE,
    momentum: Sequence[Tensor] = (),
) -> Fitted:
    """Train `net` on one split of `task`, going on where `run` stopped, and evaluate it on others.

    split: "train" or "train+val".
    watch: splits judged after every epoch too: its event then holds their loss and score.
    rest: of a longer training that this one is a part of.
    momentum: of every weight before the first step, in the order of `parameters()`; none: it is zero.
    Raises Diverged when a loss is not finite, Interrupted after Ctrl-C, UserError when `drop_path` or `auxiliary` is
    asked of a network without a place for it.
    """
    check_fit(net, settings, task, split)
    learning, head = _learning(net, settings, task.device)
    stream = _stream(task, split, seed, settings, rest.epochs)
    optimiser = settings.weights.adamw(learning) if settings.adamw else settings.weights.optimiser(learning, momentum)
    average = _average(net, settings.ema) if settings.ema else None
    parts: dict[str, Stateful] = {"net": net, "optimiser": optimiser, "stream": stream}
    parts |= {name: part for name, part in (("average", average), ("auxiliary", head)) if part}
    # isolate: Dynamo caches per code object and silently falls back to eager after 8 recompilations
    forward = torch.compile(net, isolate_recompiles=True) if settings.compile else net  # type: ignore[call-overload]
    best: nn.Module = average.module if average else net
    learnt = loss_of(task, forward, head, settings, split)
    process_seconds: list[float] = []

    def step(t: Progress) -> Metrics:
        began = time.process_time()
        if settings.drop_path:
            net.drop_path = settings.drop_path * t.fraction  # type: ignore[assignment]
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(task.device.type, torch.bfloat16, enabled=settings.bf16):
            loss, score = learnt(stream.next())
        loss.backward()  # type: ignore[no-untyped-call]
        settings.apply(optimiser, t)
        if average:
            average.update_parameters(net)
        process_seconds.append(time.process_time() - began)
        return {"train_loss": loss.detach(), "train_score": score}

    seconds = drive(
        run,
        parts,
        epochs=settings.epochs,
        steps_per_epoch=stream.steps_per_epoch,
        seed=seed,
        step=step,
        epoch=lambda means: _watched(best, task, watch),
        say=say,
        rest=rest,
    )
    return _fitted(best, task, settings, evaluate, run, say, seconds=seconds, process_seconds=sum(process_seconds))


def _fitted(
    net: nn.Module, task: Task, settings: Fit, splits: Iterable[str], run: Run, say: Say, **spent: float
) -> Fitted:
    """Evaluate what was trained, and say so. Raises Diverged where the last step ruined it."""
    metric = own_metric(settings.metric, task.classes) if settings.metric else None
    found = {split: _sound(net, task, split, metric) for split in splits}
    scores = {split: each.score for split, each in found.items()}
    say(run.event("fitted", scores=scores))
    by_class = {split: each.by_class for split, each in found.items() if each.by_class}
    metrics = {split: each.metric for split, each in found.items() if each.metric is not None}
    return Fitted(net, scores, by_class=by_class, metrics=metrics, **spent)


def _stream(task: Task, split: str, seed: int, settings: Fit, epochs: int) -> Stream:
    """Return the training batches of a split, from behind those of the epochs that came before."""
    change = change_of(task, settings)
    stream = task.stream(split, seed, settings.batch, **({"change": change} if change else {}))
    if epochs:
        stream.load_state_dict({"given": epochs * stream.steps_per_epoch})
    return stream


def _learning(net: nn.Module, settings: Fit, device: torch.device) -> tuple[nn.Module, nn.Module | None]:
    """Return what learns, in its precision on its device, and the auxiliary head among it."""
    head: nn.Module | None = net.auxiliary_head() if settings.auxiliary else None  # type: ignore[operator]
    learning = (nn.ModuleList([net, head]) if head else net).train().to(device)
    if settings.float64:
        learning.double()
        net.register_forward_pre_hook(lambda _, given: (given[0].double(), *given[1:]))
    return learning, head


def _sound(net: nn.Module, task: Task, split: str, metric: Metric | None) -> Examined:
    """Return the figures of a trained network. Raises Diverged where the last step ruined it: no loss told of that."""
    names = [name for name, weight in net.named_parameters() if not bool(weight.isfinite().all())]
    found = examine(net, task, split, None if names else metric)
    if names or not math.isfinite(found.loss):
        what = f"{names[0]} is no longer finite" if names else f"the loss on {split} is {found.loss}"
        raise Diverged(f"{what} after the last step: train again in another folder with a smaller `lr`")
    return found


def _watched(net: nn.Module, task: Task, splits: Sequence[str]) -> dict[str, float]:
    """Return loss and score of each split by the names that an epoch's event has for them."""
    found = {split: judge(net, task, split) for split in splits}
    return {f"{split}_{what}": value for split, pair in found.items() for what, value in pair._asdict().items()}


def _average(net: nn.Module, decay: float) -> AveragedModel:
    return AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)  # type: ignore[no-untyped-call]


def check_fit(net: nn.Module, settings: Fit, task: Task, split: str = "train") -> None:
    """Raise UserError for a network that cannot learn, and for settings that it, a task or its device cannot follow."""
    check_learns(net)
    check_own(settings, task, split)
    if settings.float64 and task.device.type == "mps":
        raise UserError("float64 is on, and MPS has no double precision: leave it out, or use the CPU")
    if settings.drop_path and not isinstance(getattr(net, "drop_path", None), float | int | Tensor):
        raise UserError(f"drop_path is {settings.drop_path}, but {type(net).__name__} has no drop_path: leave it at 0")
    if not settings.auxiliary:
        return
    name, least = type(net).__name__, getattr(net, "auxiliary_size", None)
    if not isinstance(least, int):
        raise UserError(
            f"auxiliary is {settings.auxiliary}, but {name} has no place for an auxiliary head: leave it at 0"
        )
    if min(task.size) < least:
        size = " x ".join(map(str, task.size))
        raise UserError(
            f"auxiliary is {settings.auxiliary}, but the auxiliary head of {name} reads images of at least "
            f"{least} x {least}, and these are {size}: leave it at 0"
        )
