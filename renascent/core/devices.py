"""The device that work is done on."""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from renascent.core.errors import UserError


def usable_device(device: torch.device | str = "auto") -> torch.device:
    """Return a device that computes; of "auto", the first there is of CUDA, MPS and the CPU.

    Raises UserError for one that is not here, or holds no numbers, such as meta.

    >>> usable_device("cpu")
    device(type='cpu')
    """
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    found = [kind for kind, there in here.items() if there]
    try:
        ones = torch.ones(2, device=found[0] if device == "auto" else device)
        float(ones.sum())
    except Exception as e:  # each back end has errors of its own
        reason = str(e).strip().partition("\n")[0]
        raise UserError(
            f"`device` {device!s:.40} cannot be used ({reason:.200}): here there is {', '.join(found)}"
        ) from None
    return ones.device


def computes_bfloat16(device: torch.device) -> bool:
    """Return whether a device computes bfloat16 in hardware: GPUs of CUDA that say so, CPUs with AMX or AVX512-BF16."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # a version of PyTorch that knows nothing of the processor says no
    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)() if device.type == "cpu" else {}
    return any(known.get(name) is True for name in ("amx_bf16", "avx512_bf16"))


def lowered(device: torch.device) -> torch.dtype | None:
    """Return the precision that autocast computes in on a device; None where it is off.

    >>> with torch.autocast("cpu", torch.bfloat16):
    ...     lowered(torch.device("cpu"))
    torch.bfloat16
    """
    there = torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)
    return torch.get_autocast_dtype(device.type) if there else None


def autocast_as(device: torch.device, kind: torch.dtype | None) -> AbstractContextManager[None]:
    """Compute in the precision that `lowered` returned, or with autocast off where that is None."""
    if lowered(device) == kind:
        return nullcontext()
    return torch.autocast(device.type, kind, enabled=kind is not None)


def free_memory(device: torch.device | str) -> float:
    """Return the bytes that a GPU of CUDA has free; without end for other devices, whose memory is the machine's.

    >>> free_memory("cpu")
    inf
    """
    place = usable_device(device)
    return float(torch.cuda.mem_get_info(place)[0]) if place.type == "cuda" else math.inf


@contextmanager
def enough_memory(what: str, advice: str) -> Iterator[None]:
    """Turn a lack of memory, of a device or of the machine, into one line: what did not fit, and what to do."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError):
        raise UserError(f"there is not enough memory for {what}: {advice}") from None
    except RuntimeError as e:  # the CPU's allocator has no error of its own
        if "can't allocate memory" not in str(e):
            raise
        raise UserError(f"there is not enough memory for {what}: {advice}") from None
