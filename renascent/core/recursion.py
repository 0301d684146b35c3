"""Curvature by the recursion of BayesNAS: a backward pass in which every entry of a Jacobian is squared.

It is there to be compared with `renascent.core.curvature`, which needs no second forward pass and leaves nothing out.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.overrides import TorchFunctionMode

from renascent.core.errors import UserError


def recursive_curvature(run: Callable[[], Tensor], parameters: Sequence[Tensor]) -> list[Tensor]:
    """Return the diagonal curvature of the mean cross-entropy by recursion, of the shapes of `parameters`.

    Yang's thesis on BayesNAS, arXiv:1905.04123, Eqs 4-9 to 4-13: h = p (1 - p) at the logits, carried to what a layer
    reads by its squared weights, and to its weights by the square of what it reads; summed over positions, and the mean
    over images. A smooth activation would enter by its squared slope alone (Gauss-Newton).

    It drops what is beside the diagonal of every layer's curvature. So it is exact for a last linear layer, and
    elsewhere an approximation that was seen to give a tenth of the truth.

    run: computes logits (batch, classes); it is called once.  Normalisation is taken with its statistics held.
    Raises UserError, naming it, for a function that has no rule.
    """
    with squared():
        logits = run()
    _refuse_own_functions(logits)
    p = logits.detach().softmax(-1)
    found = torch.autograd.grad(logits, parameters, p * (1 - p), materialize_grads=True)
    return [part / len(logits) for part in found]


class _Squaring(TorchFunctionMode):
    """What `squared` puts into PyTorch's functions."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name, given = getattr(func, "__name__", str(func)).strip("_"), kwargs or {}
        if rule := RULES.get(name):
            return _instead(func(*args, **given), rule(*args, **given))
        found = func(*args, **given)
        if name not in UNCHANGED and isinstance(found, Tensor) and found.requires_grad:
            raise UserError(f"'{name}' has no rule for the curvature of the thesis: take the default, not `recursive`")
        return found


@contextmanager
def squared() -> Iterator[None]:
    """Let what is computed inside have squared Jacobians in its backward pass, its values as they are."""
    token = _SQUARED.set(True)
    try:
        with _Squaring():
            yield
    finally:
        _SQUARED.reset(token)


_SQUARED = ContextVar("squared", default=False)


def squaring() -> bool:
    """Return whether this is inside of `squared`: PyTorch's functions only have rules there, and none of our own."""
    return _SQUARED.get()


def _instead(value: Tensor, carrier: Tensor) -> Tensor:
    """Return `value`, whose gradient is that of `carrier`."""
    return value.detach() + (carrier - carrier.detach())


def _bilinear(apply: Callable[[Tensor, Tensor], Tensor], x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return what carries h to x by squared weights, and to weights by the square of x: Eqs 4-9 to 4-13."""
    carried = apply(x, weight.detach() ** 2) + apply(x.detach() ** 2, weight)
    return carried if bias is None else carried + bias.view(-1, *[1] * (carried.dim() - 2))


def _conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None, *more: Any, **named: Any) -> Tensor:
    return _bilinear(lambda a, b: F.conv2d(a, b, None, *more, **named), x, weight, bias)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    carried = _bilinear(F.linear, x, weight, None)
    return carried if bias is None else carried + bias


def _mul(a: Any, b: Any) -> Tensor:
    one, two = (each if isinstance(each, Tensor) else torch.tensor(float(each), dtype=torch.float64) for each in (a, b))
    return one * two.detach() ** 2 + one.detach() ** 2 * two


def _div(a: Tensor, b: float) -> Tensor:
    return _mul(a, 1 / b)


def _mean(x: Tensor, *axes: Any, **named: Any) -> Tensor:
    found = x.mean(*axes, **named)
    return found * (found.numel() / x.numel())


def _sub(a: Tensor, b: Tensor) -> Tensor:
    return a + b


def _batch_norm(
    x: Tensor,
    mean: Tensor | None,
    var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Carry h by scale^2 / var, the statistics held: the batch's own where these are used."""
    axes = [0, *range(2, x.dim())]
    if training or mean is None or var is None:
        var, mean = torch.var_mean(x.detach(), axes, correction=0)
    shape = (1, -1, *[1] * (x.dim() - 2))
    mean, deviation = mean.view(shape), (var + eps).sqrt().view(shape)
    scale = torch.ones_like(deviation) if weight is None else weight.view(shape)
    carried = (x / deviation) * scale.detach() ** 2 / deviation + ((x.detach() - mean) / deviation) ** 2 * scale
    return carried if bias is None else carried + bias.view(shape)


def _avg_pool2d(
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Carry h by squared coefficients: each of a window of n is 1 / n."""
    padded = count_include_pad and padding
    more = (kernel_size, stride, padding, ceil_mode)
    if (ceil_mode and padded) or divisor_override:
        raise UserError(
            "average pooling with a divisor, or with ceil_mode and padding, has no rule for the curvature of the thesis"
        )
    area = kernel_size**2 if isinstance(kernel_size, int) else kernel_size[0] * kernel_size[1]
    # of a map of ones, the sum over a window is what it counts where padding does not count
    counted = area if padded else F.avg_pool2d(torch.ones_like(x[:1, :1]), *more, divisor_override=1)
    return F.avg_pool2d(x, *more, count_include_pad) / counted


RULES: Mapping[str, Callable[..., Tensor]] = {
    "conv2d": _conv2d,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "avg_pool2d": _avg_pool2d,
    "mul": _mul,
    "rmul": _mul,
    "div": _div,
    "truediv": _div,
    "mean": _mean,
    "sub": _sub,
}
"""Function -> what has the gradient that carries h."""

UNCHANGED = frozenset(
    (
        *("relu", "max_pool2d", "add", "radd", "iadd", "sum", "cat", "stack", "chunk", "unbind", "clone", "to", "get"),
        *("flatten", "view", "reshape", "permute", "transpose", "squeeze", "unsqueeze", "expand", "expand_as"),
        *("getitem", "contiguous", "pad", "set"),
    )
)
"""Functions whose Jacobian has ones and zeros only, which are their own squares."""


def _refuse_own_functions(logits: Tensor) -> None:
    """Raise UserError for a backward pass that is written in Python: no rule has replaced it."""
    left: list[Any] = [logits.grad_fn]
    seen: set[Any] = set()
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        if isinstance(node, BackwardCFunction):
            name = type(node).__name__.removesuffix("Backward")
            raise UserError(f"'{name}' has no rule for the curvature of the thesis: take the default, not `recursive`")
        seen.add(node)
        left += [other for other, _ in node.next_functions]
