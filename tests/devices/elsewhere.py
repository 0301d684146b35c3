"""A device made of the processor's memory that behaves as a GPU's: it refuses to be mixed with the CPU.

`torch` can have one such backend written in Python (`torch.utils.backend_registration`, experimental). It holds every
tensor's numbers in a CPU tensor, and counts how often the program waited for them.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch.utils import _pytree as tree
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "elsewhere"
HERE, THERE = torch.device("cpu"), torch.device("privateuseone", 0)

MIXING = ("copy_", "_copy_from", "index", "index_put", "index_put_", "_index_put_impl_")
"""Operations that a GPU, too, lets have a CPU tensor among the others: a copy, an index."""

FACTORIES = (
    "arange",
    "arange.start",
    "arange.start_step",
    "empty.memory_format",
    "empty_strided",
    "eye",
    "eye.m",
    "full",
)

waits: list[str] = []
"""What the program waited for, an entry each time."""


class Held(torch.Tensor):
    """A tensor of the device. raw: its numbers."""

    raw: torch.Tensor

    @staticmethod
    def __new__(cls, raw: torch.Tensor) -> Held:
        about = {"strides": raw.stride(), "storage_offset": raw.storage_offset(), "dtype": raw.dtype, "device": THERE}
        made: Held = torch.Tensor._make_wrapper_subclass(cls, raw.shape, **about)
        made.raw = raw
        return made

    def __repr__(self, **_: Any) -> str:
        return f"Held({self.raw})"

    @classmethod
    def __torch_dispatch__(cls, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(op, *args, **(kwargs or {}))


def _run(op: Any, *args: Any, **kwargs: Any) -> Any:
    """Run an operation of the device on the numbers. Raises RuntimeError where it mixes devices."""
    flat, spec = tree.tree_flatten((args, kwargs))
    tensors = [value for value in flat if isinstance(value, torch.Tensor)]
    held = [t for t in tensors if isinstance(t, Held)]
    name = op._schema.name.removeprefix("aten::")
    if held and any(t.dim() for t in tensors if not isinstance(t, Held)) and name not in MIXING:
        raise RuntimeError(f"{name}: expected all tensors to be on the same device")
    moves = name == "_to_copy" and kwargs.get("device", THERE).type == "cpu"
    copies = name in ("copy_", "_copy_from") and not isinstance(args[name == "_copy_from"], Held)
    if moves or copies or name in ("_local_scalar_dense", "nonzero", "equal"):
        waits.append(name)
    named_device = any(isinstance(value, torch.device) and value.type == NAME for value in flat)
    raw = [t.raw if isinstance(t, Held) else HERE if isinstance(t, torch.device) else t for t in flat]
    given, named = tree.tree_unflatten(raw, spec)
    if name == "_copy_from":
        given[1].copy_(given[0])
        return args[1]
    known = {id(t.raw): t for t in held}
    out = op(*given, **named)
    if moves or not (held or named_device):
        return out

    def kept(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        return known[id(value)] if id(value) in known else Held(value)

    return tree.tree_map(kept, out)


def _made_here(make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def made(*args: Any, device: Any = None, **kwargs: Any) -> torch.Tensor:
        if device is None or torch.device(device) != THERE:
            return make(*args, device=device, **kwargs)
        return make(*args, **kwargs).to(THERE)

    return made


def _factory(op: Any) -> Callable[..., Held]:
    def made(*args: Any, device: Any = None, pin_memory: Any = None, **kwargs: Any) -> Held:
        return Held(op(*args, device=HERE, **kwargs))

    return made


@functools.cache
def install() -> tuple[Any, ...]:
    """Add the device to torch, once in a process; it stays. Returns what has to be kept alive."""
    _setup_privateuseone_for_python_backend(NAME)
    module: Any = sys.modules[f"torch.{NAME}"]
    module.get_amp_supported_dtype = lambda: [torch.bfloat16]
    rest, aten = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    rest.fallback(_run, "PrivateUse1")
    for name in FACTORIES:
        base, _, overload = name.partition(".")
        aten.impl(name, _factory(getattr(getattr(torch.ops.aten, base), overload or "default")), "PrivateUse1")
    # these make a tensor of the device from a list, past all that Python can register
    torch.tensor, torch.as_tensor = _made_here(torch.tensor), _made_here(torch.as_tensor)
    torch.accelerator.synchronize = lambda device=None: waits.append("synchronize")
    return rest, aten
