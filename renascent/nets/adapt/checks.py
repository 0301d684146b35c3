"""What is tried of a user's model before it is searched."""

import contextlib
import copy
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parameter import is_lazy

from renascent.core.errors import UserError
from renascent.core.gates import one_hot
from renascent.core.randomness import seeded
from renascent.core.space import Arch
from renascent.nets.adapt.edits import cropped, tensors
from renascent.nets.adapt.supernet import AdaptedNet
from renascent.nets.adapt.trace import Untraceable, example, failing, trace
from renascent.nets.macs import count

RECOMPUTED = "where it computes again in the backward pass (torch.utils.checkpoint), switch that off for the search"


def trains_alike(net: AdaptedNet, shape: tuple[int, ...]) -> None:
    """Raise Untraceable unless architectures are what they are taken out of the supernet as, and train alike."""
    for arch, size in _some(net, shape):
        x, plain = example(net.model, size, batch=4), net.extract(arch).train()
        with failing("the model fails while training ({}): give one that trains", Untraceable):
            with seeded(0), torch.enable_grad():
                alone = plain(x.clone())
            if not isinstance(alone, Tensor) or alone.shape != (len(x), net.plan.outputs):
                raise Untraceable(
                    "the model returns something else while training: give one that returns (batch, classes) then, too"
                )
            if not alone.requires_grad:
                raise Untraceable("what the model returns has no gradient: give one that learns")
            wanted = _gradients(plain, alone)
        with seeded(0), torch.enable_grad():
            inside = net.train()(x.clone(), one_hot(net.space, arch))
        if not _near(inside.detach(), alone.detach(), 1e-3):
            norms = [name for name, m in plain.named_modules() if isinstance(m, _NormBase) and not m.training]
            kept = f"'{norms[0]}' stays in evaluation mode while the model trains, let it train" if norms else ""
            raise Untraceable(
                f"the model computes something else inside the search: {kept or 'its layers cannot be shared'}"
            )
        with failing(f"the model has no gradient inside the search ({{}}): {RECOMPUTED}", Untraceable):
            found = _gradients(net.model, inside)
        sizes = net.plan.change(arch).sizes
        largest = max((float(gradient.abs().max()) for gradient in wanted.values()), default=0.0)
        for name in wanted.keys() & found.keys():
            part = cropped(found[name], net.plan.axes.get(name, {}), sizes)
            if not _near(part, wanted[name], 1e-2, largest):
                raise Untraceable(f"'{name}' has another gradient inside the search: {RECOMPUTED}")


def _gradients(net: nn.Module, out: Tensor) -> dict[str, Tensor]:
    """Return the gradient of a random sum of what a network returns, of every weight that learns."""
    net.zero_grad()
    (out * torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out)).sum().backward()  # type: ignore[no-untyped-call]
    named = {name: p for name, p in net.named_parameters() if p.requires_grad}
    found = {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in named.items()}
    net.zero_grad()
    return found


def _near(found: Tensor, wanted: Tensor, share: float, largest: float = 0.0) -> bool:
    """Return whether no number is further away than a share of the largest there is."""
    scale = max(float(wanted.abs().max()), largest) or 1.0
    return float((found - wanted).abs().max()) <= share * scale


def unknown_macs(net: AdaptedNet, shape: tuple[int, ...]) -> tuple[str, ...]:
    """Return of what the multiply-accumulates are not known: operations; widths that cost otherwise than foreseen."""
    found = dict.fromkeys(net.plan.coverage.unknown)
    for arch, size in _some(net, shape):
        with failing("the model fails on a single input ({}): give one that takes a batch of any size"):
            really = count(net.extract(arch), size, computing=True)
        found |= dict.fromkeys(really.unknown)
        if really.macs != round(float(net.plan.macs.exact(net.space.indices(arch)[None])[0])):
            found["what changes with the batch, or otherwise than the widths"] = None
    return tuple(found)


def _some(net: AdaptedNet, shape: tuple[int, ...]) -> Iterator[tuple[Arch, tuple[int, ...]]]:
    """Give some architectures, the model itself, the smallest and a random one, and the shape of one input of each."""
    smallest = net.space.from_indices(np.zeros(len(net.space.counts), dtype=np.int64))
    for arch in (net.plan.reference, smallest, net.space.sample(np.random.default_rng(0))):
        size = arch.get("resolution")
        yield arch, (shape[0], size, size) if isinstance(size, int) else shape


def usable(model: object) -> nn.Module:
    """Return a model. Raises UserError for what is none, or has no weights that could be cut."""
    if not isinstance(model, nn.Module):
        raise UserError(f"the model is {type(model).__name__}: give a torch.nn.Module")
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        raise UserError("the model is TorchScript, whose code is compiled already: give the module it was made of")
    if any(hasattr(module, "_orig_mod") for module in model.modules()):
        raise UserError("the model is compiled (torch.compile): give the module it was made of")
    if any(isinstance(module, nn.DataParallel) for module in model.modules()):
        raise UserError("the model is wrapped in DataParallel: give what is inside it (model.module)")
    found = [tensor for _, tensor in tensors(model)]
    if any(is_lazy(tensor) for tensor in found):
        raise UserError("the model has lazy layers, which have no sizes yet: run it on an input first")
    if any(tensor.is_meta for tensor in found):
        raise UserError("the model is on the device meta and has no weights: make it on the CPU")
    with failing("the model has no state_dict ({}): give one whose weights can be saved"):
        state = model.state_dict()
    for name, value in state.items():
        if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_quantized:
            raise UserError(
                f"'{name:.80}' in the model's state_dict is no plain tensor: give a model that saves only such"
            )
    return model


def copied(model: nn.Module) -> nn.Module:
    """Return a copy of a model. Raises UserError where it has none."""
    with failing("the model cannot be copied ({}): give one that copy.deepcopy copies"):
        return copy.deepcopy(model)


def resolutions_of(shape: tuple[int, ...], given: tuple[int, ...]) -> tuple[int, ...]:
    """Return the sizes to choose from, the model's own among them."""
    own = shape[1]
    if shape[1] != shape[2] or max(given) > own:
        raise UserError(
            f"resolutions are {','.join(map(str, given))} for an input of {shape[1]} x {shape[2]}: "
            "give sizes up to that of a square input"
        )
    return tuple(sorted({*given, own}))


def smaller_sizes(model: nn.Module, shape: tuple[int, int, int]) -> tuple[int, ...]:
    """Return sizes of a square input, from half its own, at which the model runs; none when it takes no other.

    >>> smaller_sizes(nn.Conv2d(3, 8, 3), (3, 32, 32)), smaller_sizes(nn.Linear(32, 8), (3, 32, 32))
    ((16, 20, 24, 28), ())
    """
    own = shape[1]
    step = 32 if own >= 160 else 16 if own >= 64 else 4
    sizes = range(-(-own // 2 // step) * step or step, own, step) if own == shape[2] else range(0)
    found = []
    for size in sizes:
        with contextlib.suppress(UserError):
            trace(model, (shape[0], size, size))
            found.append(size)
    return tuple(found)
