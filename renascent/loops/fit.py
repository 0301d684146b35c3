"""Train one fixed network."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from renascent.core.errors import Diverged, UserError
from renascent.core.fields import Count, NonNegative, Range, settings
from renascent.core.optimiser import check_learns
from renascent.core.protocols import ALONE, Batch, Loss, Metrics, Progress, Rest, Say, Stream, Task, WeightRule
from renascent.core.schema import ABSENT
from renascent.loops._drive import Stateful, drive
from renascent.loops.run import Run

EVALUATION_BATCH = 512


@settings
class Fit:
    """How a fixed network is trained. The defaults are NATS-Bench's 200-epoch setting.

    Args:
        epochs: passes over the training images.
        batch: images a step.
        weights: rule of the optimiser.
        label_smoothing: share of the target spread evenly over all classes.
        drop_path: probability of dropping an edge for an image, growing linearly to this.
        auxiliary: weight of the loss of a second classifier in the middle of the network, there for its training only;
            0 means none.
        bf16: run the forward pass in bfloat16 where it is safe (slow for depthwise convolutions on a CPU).
        float64: compute in double precision: slower, and the same but for the last digits on every processor, where
            single precision grows apart from step to step.
        compile: compile the network first; pays for long trainings only.
        ema: decay of a moving average of the weights that is then the result, such as 0.999; 0 means none.

    References:
        NATS-Bench, arXiv:2009.00437, Table 3.

        label_smoothing: Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, Rethinking the Inception Architecture for
            Computer Vision, CVPR 2016, arXiv:1512.00567.
        drop_path: Larsson, Maire and Shakhnarovich, FractalNet, ICLR 2017, arXiv:1605.07648.

        auxiliary: Szegedy et al., Going Deeper with Convolutions, CVPR 2015, arXiv:1409.4842, Sec. 5.
    """

    epochs: Count = 200
    batch: Count = 256
    weights: WeightRule = field(default_factory=lambda: WeightRule(lr=0.1, lr_end=0.0, clip=0.0))
    label_smoothing: Annotated[float, Range(0, 0.9999)] = 0.0
    drop_path: Annotated[float, Range(0, 0.9999)] = 0.0
    auxiliary: NonNegative = field(default=0.0, metadata=ABSENT)
    bf16: bool = False
    float64: bool = False
    compile: bool = False
    ema: Annotated[float, Range(0, 0.9999)] = 0.0

    def __post_init__(self) -> None:
        if self.bf16 and self.float64:
            raise UserError("bf16 and float64 are both on, and they exclude each other: choose one")


@dataclass(frozen=True)
class Fitted:
    """A trained network. scores: accuracy in [0, 1] of each split it was evaluated on.  seconds: of training.

    process_seconds: of the processor, on the steps of this session alone: no evaluation, no checkpoint.
    """

    net: nn.Module
    scores: dict[str, float]
    seconds: float
    process_seconds: float = 0.0


class Judged(NamedTuple):
    """Mean loss, and score in [0, 1], over a whole split."""

    loss: float
    score: float


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
    check_fit(net, settings, task)
    learning, head = _learning(net, settings, task.device)
    stream = _stream(task, split, seed, settings.batch, rest.epochs)
    optimiser = settings.weights.optimiser(learning, momentum)
    average = _average(net, settings.ema) if settings.ema else None
    parts: dict[str, Stateful] = {"net": net, "optimiser": optimiser, "stream": stream}
    parts |= {name: part for name, part in (("average", average), ("auxiliary", head)) if part}
    # isolate: Dynamo caches per code object and silently falls back to eager after 8 recompilations
    forward = torch.compile(net, isolate_recompiles=True) if settings.compile else net  # type: ignore[call-overload]
    best: nn.Module = average.module if average else net
    process_seconds: list[float] = []

    def step(t: Progress) -> Metrics:
        began = time.process_time()
        if settings.drop_path:
            net.drop_path = settings.drop_path * t.fraction  # type: ignore[assignment]
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(task.device.type, torch.bfloat16, enabled=settings.bf16):
            loss, score = _loss(task, forward, head, stream.next(), settings)
        loss.backward()  # type: ignore[no-untyped-call]
        settings.weights.apply(optimiser, t.rate_fraction, epochs=t.rate_epochs)
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
    scores = {name: _sound(best, task, name) for name in evaluate}
    say(run.event("fitted", scores=scores))
    return Fitted(best, scores, seconds, sum(process_seconds))


def _stream(task: Task, split: str, seed: int, batch: int, epochs: int) -> Stream:
    """Return the training batches of a split, from behind those of the epochs that came before."""
    stream = task.stream(split, seed, batch)
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


def _loss(task: Task, forward: Callable[..., Any], head: nn.Module | None, batch: Batch, settings: Fit) -> Loss:
    """Return the loss of a network and, weighted, of its auxiliary head; the score is the network's."""
    if head is None:
        return task.loss(forward, batch, smoothing=settings.label_smoothing)
    asides: list[Tensor] = []

    def answer(x: Tensor) -> Tensor:
        out, aside = forward(x, head)
        asides.append(aside)
        return out  # type: ignore[no-any-return]

    loss, score = task.loss(answer, batch, smoothing=settings.label_smoothing)
    aside = task.loss(lambda _: asides[0], batch, smoothing=settings.label_smoothing).loss
    return Loss(loss + settings.auxiliary * aside, score)


def accuracy(net: nn.Module, task: Task, split: str) -> float:
    """Return the score of `net` in evaluation mode over a whole split."""
    return judge(net, task, split).score


@torch.no_grad()
def judge(net: nn.Module, task: Task, split: str) -> Judged:
    """Return the loss and the score of `net` in evaluation mode over a whole split."""
    training = net.training
    net.eval()
    loss, score, images = 0.0, 0.0, 0
    for batch in task.batches(split, EVALUATION_BATCH):
        found = task.loss(net, batch)
        loss += float(found.loss) * len(batch[1])
        score += float(found.score) * len(batch[1])
        images += len(batch[1])
    net.train(training)
    return Judged(loss / images, score / images)


@torch.no_grad()
def recalibrate(net: nn.Module, batches: Iterable[Batch]) -> None:
    """Set the running statistics of batch normalisation to the mean over `batches`; weights stay as they are."""
    norms = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    held, training = [m.momentum for m in norms], net.training
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all batches
    net.train()
    for x, _ in batches:
        net(x)
    for norm, momentum in zip(norms, held, strict=True):
        norm.momentum = momentum
    net.train(training)


def _sound(net: nn.Module, task: Task, split: str) -> float:
    """Return the score of a trained network. Raises Diverged where the last step ruined it: no loss told of that."""
    names = [name for name, weight in net.named_parameters() if not bool(weight.isfinite().all())]
    loss, score = judge(net, task, split)
    if names or not math.isfinite(loss):
        what = f"{names[0]} is no longer finite" if names else f"the loss on {split} is {loss}"
        raise Diverged(f"{what} after the last step: train again in another folder with a smaller `lr`")
    return score


def _watched(net: nn.Module, task: Task, splits: Sequence[str]) -> dict[str, float]:
    """Return loss and score of each split by the names that an epoch's event has for them."""
    found = {split: judge(net, task, split) for split in splits}
    return {f"{split}_{what}": value for split, pair in found.items() for what, value in pair._asdict().items()}


def _average(net: nn.Module, decay: float) -> AveragedModel:
    return AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)  # type: ignore[no-untyped-call]


def check_fit(net: nn.Module, settings: Fit, task: Task) -> None:
    """Raise UserError for a network that cannot learn, and for settings that it, a task or its device cannot follow."""
    check_learns(net)
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
