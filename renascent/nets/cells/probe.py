"""Probes: the gradient of gate weights whose options are left out of the output."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.func import functional_call

from renascent.core.devices import autocast_as, lowered
from renascent.core.recursion import squaring

Option = Callable[[Tensor], Tensor]
"""A candidate operation, or a function that computes one. What it keeps, it keeps in buffers."""


def probe(out: Tensor, x: Tensor, weight: Tensor, options: Mapping[int, Option]) -> Tensor:
    """Return `out` as it is, and in the backward pass give weight[k] the gradient <d loss / d out, options[k](x)>.

    That is the gradient of out + sum over k of weight[k] options[k](x) where weight[k] is zero, so that `out` may also
    be a sum to which more is added later. The options are computed in the backward pass, one at a time and without a
    graph: the gradient of every path in the memory of one, ProxylessNAS, arXiv:1812.00332, Appendix D. Neither x nor
    the options' parameters get a gradient, which at weight zero is what they would get. Differentiable once.

    weight: (options,).  options: index into `weight` -> what is computed on x, of the shape of `out`.

    >>> weight = torch.tensor([1.0, 0.0], requires_grad=True)
    >>> x = torch.tensor([2.0, 3.0])
    >>> probe(x * weight[0], x, weight, {1: torch.square}).sum().backward()
    >>> weight.grad
    tensor([ 5., 13.])
    """
    if not weight.requires_grad or not options:
        return out
    if squaring():
        return sum((weight[k] * unnoticed(option, x) for k, option in options.items()), out)
    return _Probe.apply(out, weight, x.detach(), options)  # type: ignore[no-any-return, no-untyped-call]


@torch.no_grad()
def unnoticed(option: Option, x: Tensor) -> Tensor:
    """Compute an option and leave no trace of it: no graph, its buffers and the random numbers to come as they were.

    So running statistics and the draws of dropout are those of a step without it, bit for bit.
    """
    with torch.random.fork_rng([x.device] if x.is_cuda else []):
        # on copies: originals put back afterwards would be refused by a graph that has saved them
        if isinstance(option, nn.Module) and (copies := {name: b.clone() for name, b in option.named_buffers()}):
            return functional_call(option, copies, (x,))  # type: ignore[no-any-return]
        return option(x)


class _Probe(Function):
    @staticmethod
    def forward(ctx: Any, out: Tensor, weight: Tensor, x: Tensor, options: Mapping[int, Option]) -> Tensor:
        ctx.save_for_backward(x)
        ctx.options, ctx.like = options, torch.empty_like(weight, device="meta")
        ctx.device, ctx.kind = weight.device, lowered(x.device)
        return out.view_as(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        with autocast_as(x.device, ctx.kind):  # a backward pass is outside of what the forward pass was in
            slopes = {k: (g * unnoticed(option, x)).sum() for k, option in ctx.options.items()}
        nothing = g.new_zeros(())
        # one move to the weight's device, where every single number would make an accelerator wait
        gradient = torch.stack([slopes.get(k, nothing) for k in range(len(ctx.like))]).to(ctx.device, ctx.like.dtype)
        return g, gradient, None, None
