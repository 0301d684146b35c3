"""What is tried of a user's model before it is searched."""

import contextlib
import copy

import numpy as np
import torch
from torch import Tensor, nn

from renascent.core.errors import UserError
from renascent.core.gates import one_hot
from renascent.nets.adapt.supernet import AdaptedNet
from renascent.nets.adapt.trace import Untraceable, example, first_line, trace


def trains_alike(net: AdaptedNet, shape: tuple[int, ...]) -> None:
    """Raise Untraceable unless random architectures are what they are taken out of the supernet as, and train."""
    rng = np.random.default_rng(0)
    for arch in [net.plan.reference, *(net.space.sample(rng) for _ in range(2))]:
        size = arch.get("resolution")
        x = example(net.model, (shape[0], size, size) if isinstance(size, int) else shape, batch=4)
        plain = net.extract(arch)
        try:
            with torch.random.fork_rng([]), torch.no_grad():
                torch.manual_seed(0)
                inside = net.train()(x, one_hot(net.space, arch))
                torch.manual_seed(0)
                alone = plain.train()(x)
        except Exception as e:
            raise Untraceable(f"the model fails while training ({first_line(e)}): give one that trains") from e
        if not isinstance(alone, Tensor) or alone.shape != (len(x), net.plan.outputs):
            raise Untraceable(
                "the model returns something else while training: give one that returns (batch, classes) then, too"
            )
        scale = float(alone.abs().max()) or 1.0
        if not float((inside - alone).abs().max()) <= 1e-3 * scale:
            raise Untraceable("the model computes something else inside the search: its layers cannot be shared")


def copied(model: nn.Module) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise UserError(f"the model is {type(model).__name__}: give a torch.nn.Module")
    try:
        return copy.deepcopy(model)
    except Exception as e:
        raise UserError(f"the model cannot be copied ({first_line(e)}): give one that copy.deepcopy copies") from e


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
