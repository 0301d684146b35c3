"""Curvature by the recursion of BayesNAS: a backward pass in which every entry of a Jacobian is squared.

It is there to be compared with `renascent.core.curvature`, which needs no second forward pass and leaves nothing out.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial
from inspect import Signature, signature
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import BackwardCFunction, once_differentiable
from torch.overrides import TorchFunctionMode

from renascent.core.errors import UserError

Wanted = Sequence[bool]
"""Which of what a function is given want a share of h."""

Carried = tuple[Tensor | None, ...]
"""What each gets; None for nothing, which may be left out at the end."""

Carry = Callable[[Tensor], Carried]
"""h at what a function returns -> h at what it was given."""

Rule = Callable[..., Carry]
"""Wanted, and what the function is given -> how it carries h. It keeps what it needs, and no more."""


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
            bound = _asking(rule).bind(*args, **given)
            bound.apply_defaults()
            return _Carried.apply(partial(func, *args, **given), rule, *bound.args)  # type: ignore[no-untyped-call]
        found = func(*args, **given)
        if name not in UNCHANGED and isinstance(found, Tensor) and found.requires_grad:
            raise UserError(f"'{name}' has no rule for the curvature of the thesis: take the default, not `recursive`")
        return found


@cache
def _asking(rule: Rule) -> Signature:
    """Return what a rule takes, but for what wants a share."""
    return signature(partial(rule, ()))


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


class _Carried(Function):
    """Computes something, and has a backward pass that a rule gives it."""

    @staticmethod
    def forward(ctx: Any, compute: Callable[[], Tensor], rule: Rule, *given: Any) -> Tensor:
        ctx.carry = rule(ctx.needs_input_grad[2:], *given)
        return compute()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, h: Tensor) -> Any:
        carry, ctx.carry = ctx.carry, None  # released when it is done, as what autograd saves is
        found = carry(h)
        return None, None, *found, *[None] * (len(ctx.needs_input_grad) - 2 - len(found))


def _without_values(x: Tensor) -> Tensor:
    """Return what stands for a map of which only shape and layout are asked for, and takes no memory."""
    return torch.empty_like(x, device="meta")


def _conv2d(
    wanted: Wanted,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Carry:
    """Carry h to x by squared weights, and to weights by the square of x: Eqs 4-9 to 4-13."""
    read, kernel = x.detach() if wanted[1] else _without_values(x), weight.detach()
    steps, spread = _pair(stride), _pair(dilation)
    sides = kernel.shape[2:]
    if padding == "same" and any(side % 2 == 0 for side in sides):
        raise UserError("padding to the same size by an even kernel has no rule for the curvature of the thesis")
    same = [d * (side // 2) for d, side in zip(spread, sides, strict=True)]
    around = same if padding == "same" else _pair(0 if padding == "valid" else padding)

    def slope(h: Tensor, a: Tensor, b: Tensor, which: int) -> Tensor:
        mask = [k == which for k in range(3)]
        about = (None, steps, around, spread, False, [0, 0], groups, mask)
        return torch.ops.aten.convolution_backward(h, a, b, *about)[which]  # type: ignore[no-any-return]

    def carry(h: Tensor) -> Carried:
        of_x = slope(h, torch.empty_like(read, device=h.device), kernel.square(), 0) if wanted[0] else None
        of_weight = slope(h, read.square(), kernel, 1) if wanted[1] else None
        return of_x, of_weight, h.sum((0, 2, 3)) if wanted[2] else None

    return carry


def _pair(value: Any) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


def _linear(wanted: Wanted, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Carry:
    read, kernel = x.detach() if wanted[1] else None, weight.detach()

    def carry(h: Tensor) -> Carried:
        rows = h.flatten(0, -2)
        of_weight = None if read is None else rows.T @ read.flatten(0, -2).square()
        return h @ kernel.square(), of_weight, rows.sum(0) if wanted[2] else None

    return carry


def _mul(wanted: Wanted, a: Any, b: Any) -> Carry:
    one, other = (x.detach() if isinstance(x, Tensor) else x for x in (a, b))
    shapes = [x.shape if isinstance(x, Tensor) else () for x in (a, b)]
    by = other if wanted[0] else None, one if wanted[1] else None

    def carry(h: Tensor) -> Carried:
        return tuple(None if x is None else (h * x**2).sum_to_size(shape) for x, shape in zip(by, shapes, strict=True))

    return carry


def _div(wanted: Wanted, a: Tensor, b: float) -> Carry:
    return _mul(wanted, a, 1 / b)


def _sub(wanted: Wanted, a: Any, b: Any) -> Carry:
    shapes = [x.shape if isinstance(x, Tensor) else () for x in (a, b)]
    return lambda h: tuple(h.sum_to_size(shape) if want else None for want, shape in zip(wanted, shapes, strict=False))


def _batch_norm(
    wanted: Wanted,
    x: Tensor,
    mean: Tensor | None,
    var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Carry:
    """Carry h by scale^2 / var, the statistics held: the batch's own where these are used."""
    axes = [0, *range(2, x.dim())]
    if training or mean is None or var is None:
        var, mean = torch.var_mean(x, axes, correction=0)
    shape = (1, -1, *[1] * (x.dim() - 2))
    centre, variance, read = mean.view(shape), (var + eps).view(shape), x.detach() if wanted[3] else None
    factor = (1 if weight is None else weight.detach().view(shape).square()) / variance

    def carry(h: Tensor) -> Carried:
        of_scale = None if read is None else (h * (read - centre).square()).sum(axes) / variance.flatten()
        return h * factor, None, None, of_scale, h.sum(axes) if wanted[4] else None

    return carry


def _linear_map(carrier: Callable[..., Tensor], x: Tensor, *more: Any, **named: Any) -> Carry:
    """Return the rule of a linear function of one map. carrier: that function with its coefficients squared."""
    read = _without_values(x)

    def carry(h: Tensor) -> Carried:
        with torch.enable_grad():
            asked = torch.empty_like(read, device=h.device).requires_grad_()
            return torch.autograd.grad(carrier(asked, *more, **named), asked, h)

    return carry


def _mean(wanted: Wanted, x: Tensor, dim: Any = None, keepdim: bool = False) -> Carry:
    every = tuple(range(x.dim())) if dim is None else dim
    return _linear_map(lambda a: a.mean(every, keepdim) * (a.mean(every).numel() / a.numel()), x)


def _avg_pool2d(
    wanted: Wanted,
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Carry:
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
    return _linear_map(lambda a: F.avg_pool2d(a, *more, count_include_pad) / counted, x)


RULES: Mapping[str, Rule] = {
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
"""Function -> its rule."""

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
        if isinstance(node, BackwardCFunction) and not isinstance(node, _Carried._backward_cls):
            name = type(node).__name__.removesuffix("Backward")
            raise UserError(f"'{name}' has no rule for the curvature of the thesis: take the default, not `recursive`")
        seen.add(node)
        left += [other for other, _ in node.next_functions]
