"""Functions of the user's own in a training: its loss, its metric, its augmentation, each named as module:function.

Only what the user names is imported: what a run folder says is compared with that, and never called.
"""

import contextlib
import hashlib
import inspect
import math
import os
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from renascent.core.errors import RenascentError, UserError
from renascent.core.outside import imported
from renascent.core.protocols import Change, Criterion
from renascent.core.randomness import seeded

Metric = Callable[[Tensor, Tensor], float]
"""All logits (n, classes) and labels (n,) of a split -> a number."""


def own_loss(place: str, classes: int) -> Criterion:
    """Return a loss, after trying it. Raises UserError where there is none, or it returns no scalar with a gradient."""
    function = function_at(place, "loss")

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        with _failing("loss", place, "give a function of logits (batch, classes) and labels (batch,)"):
            found = function(logits, labels)
        if not isinstance(found, Tensor) or found.shape != () or not found.requires_grad:
            raise UserError(f"loss '{place:.80}' returns {_kind(found)}: give a scalar tensor with a gradient")
        return found

    logits, labels = _trial(classes)
    loss(logits.requires_grad_(), labels)
    return loss


def own_metric(place: str, classes: int) -> Metric:
    """Return a metric, after trying it: better before a training than behind. Raises UserError as `own_loss`."""
    function = function_at(place, "metric")

    def metric(logits: Tensor, labels: Tensor) -> float:
        with _failing("metric", place, "give a function of logits (n, classes) and labels (n,) that returns a number"):
            found = float(function(logits, labels))
        if not math.isfinite(found):
            raise UserError(f"metric '{place:.80}' is {found}: give a function that returns a finite number")
        return found

    metric(*_trial(classes))
    return metric


def own_augmentation(place: str) -> Change:
    """Return a change to raw images by a function of them alone, whose random numbers follow from the batch's.

    What it draws from torch's generator of the CPU, from `random` or from numpy's global generator is the same again
    after a resume. Raises UserError where it returns no images of the same shape and kind.
    """
    function = function_at(place, "augmentation")

    def change(x: Tensor, rng: torch.Generator) -> Tensor:
        with _failing("augmentation", place, "give a function of images (batch, channels, h, w)"), drawn(rng):
            found = function(x)
        if not isinstance(found, Tensor) or (found.shape, found.dtype) != (x.shape, x.dtype):
            kind = f"{_kind(x)} of {x.dtype}"
            given = f"{_kind(found)} of {found.dtype}" if isinstance(found, Tensor) else _kind(found)
            raise UserError(f"augmentation '{place:.80}' makes {given} of {kind}: give images as they were")
        return found

    return change


def drawn(rng: torch.Generator) -> contextlib.AbstractContextManager[None]:
    """Let all random numbers inside, of torch on the CPU, of `random` and of numpy, follow from a generator's next."""
    return seeded(int(torch.randint(2**31, (), generator=rng)))


def function_at(place: str, what: str) -> Callable[..., Any]:
    """Return the function that is named as module:function, found as `python -m` finds modules.

    what: it is for, named in errors. Raises UserError where there is none.
    """
    try:
        found = imported(place, os.getcwd(), "function")
    except UserError as e:
        raise UserError(f"{what}: {e}") from None
    if not callable(found):
        raise UserError(f"{what}: '{place:.80}' is {type(found).__name__}, no function: write module:function")
    return found  # type: ignore[no-any-return]


def sources(**places: str | None) -> dict[str, str]:
    """Return checksums of the functions' own text, by what they are for: of those that are named, and have one."""
    found = {}
    for what, place in places.items():
        with contextlib.suppress(OSError, TypeError):
            if place is not None:
                text = inspect.getsource(function_at(place, what))
                found[what] = hashlib.sha256(text.encode()).hexdigest()
    return found


def _trial(classes: int) -> tuple[Tensor, Tensor]:
    """Return logits (2 * classes, classes) and labels, on which a function is tried before a training."""
    count = 2 * classes
    logits = torch.linspace(-1, 1, count * classes).reshape(classes, count).T.contiguous()
    return logits, torch.arange(count) % classes


def _kind(found: object) -> str:
    return f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__


@contextlib.contextmanager
def _failing(what: str, place: str, advice: str) -> Iterator[None]:
    """Turn what a function of the user's own raises into one line."""
    try:
        yield
    except (RenascentError, KeyboardInterrupt):
        raise
    except Exception as e:
        why = " ".join(f"{type(e).__name__}: {e!s:.200}".split())
        raise UserError(f"{what} '{place:.80}' fails ({why}): {advice}") from e
