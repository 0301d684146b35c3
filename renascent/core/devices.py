"""The device that work is done on."""

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
