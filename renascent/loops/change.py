"""What is done to training images besides: RandAugment, and a function of the user's own."""

from typing import Any

import torch
from torch import Tensor

from renascent.core.errors import UserError, missing_extra
from renascent.core.protocols import Change, Task
from renascent.loops.own import drawn, own_augmentation
from renascent.loops.training import Fit


def change_of(task: Task, settings: Fit) -> Change | None:
    """Return what is done to raw images, one after the other; None where nothing is.

    Raises UserError where it cannot be done to the images of the task, MissingExtra without torchvision.
    """
    operations, magnitude = settings.randaugment, settings.randaugment_magnitude
    changes = [_randaugment(task, operations, magnitude)] if operations else []
    changes += [own_augmentation(settings.augmentation)] if settings.augmentation is not None else []
    if not changes:
        return None

    def change(x: Tensor, rng: torch.Generator) -> Tensor:
        for each in changes:
            x = each(x, rng)
        return x

    return change


def _randaugment(task: Task, operations: int, magnitude: int) -> Change:
    """Return RandAugment of torchvision, each image with operations of its own."""
    if task.channels not in (1, 3):
        raise UserError(f"randaugment changes grey and RGB images, and these have {task.channels} channels: leave it 0")
    if task.preparation and task.preparation.pixels == "other":
        raise UserError("randaugment changes 8-bit images and floats from 0 to 1, and these go beyond: leave it at 0")
    try:
        from torchvision.transforms import v2
    except ImportError as e:
        raise missing_extra("torchvision", "vision") from e
    except Exception as e:  # what it says where it was built for another torch
        why = " ".join(f"{type(e).__name__}: {e!s:.200}".split())
        raise UserError(
            f"torchvision cannot be imported ({why}): install the build of it that belongs to torch {torch.__version__}"
        ) from e
    transform: Any = v2.RandAugment(num_ops=operations, magnitude=magnitude)

    def change(x: Tensor, rng: torch.Generator) -> Tensor:
        with drawn(rng):
            return torch.stack([transform(image) for image in x])

    return change
