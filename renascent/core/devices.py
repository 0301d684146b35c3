"""The device that work is done on."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

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
