"""What images and labels must be, checked once at the border; one line says what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from renascent.core.errors import UserError
from renascent.core.fields import OneOf

HELD = ("train", "val", "test")
"""The splits a task can hold."""


def checked_images(x: Tensor, split: str) -> Tensor:
    """Return x (n, channels, h, w) as uint8 or float32. Raises UserError when it cannot be images."""
    if x.ndim != 4 or 0 in x.shape:
        hint = "no image is in it" if len(x) == 0 else "give (images, channels, height, width), none of them 0"
        raise UserError(f"the {split} images have the shape {tuple(x.shape)}: {hint}")
    if x.dtype == torch.uint8:
        return x
    if not x.is_floating_point():
        raise UserError(f"the {split} images are {x.dtype}; give torch.uint8 (0 to 255) or floats (0 to 1)")
    if not (fine := torch.isfinite(x).flatten(1).all(1)).all():
        first = int(fine.logical_not().nonzero()[0])
        raise UserError(
            f"{int((~fine).sum())} of the {split} images hold NaN or infinity, first image {first}; drop them"
        )
    return x.float()


def checked_labels(y: Tensor, images: int, split: str) -> Tensor:
    """Return y (images,) as int64. Raises UserError when it is not one whole number an image."""
    if y.shape != (images,):
        raise UserError(f"the {split} labels have the shape {tuple(y.shape)}; give one an image: ({images},)")
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise UserError(f"the {split} labels are {y.dtype}; give whole numbers from 0, such as torch.int64")
    return y.long()


def check_range(y: Tensor, classes: int) -> None:
    """Raise UserError unless every label y (n,) is in 0..classes-1."""
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= classes:
        raise UserError(f"labels run from {low} to {high}; with {classes} classes they must be in 0 to {classes - 1}")


def check_classes(y: Tensor, classes: int) -> None:
    """Raise UserError unless the training labels y (n,) hold each of two or more classes."""
    if classes < 2:
        raise UserError(f"there is {classes} class; give labels of at least 2 classes")
    missing = (torch.bincount(y.cpu(), minlength=classes) == 0).nonzero().flatten().tolist()
    if missing:
        some = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
        raise UserError(
            f"{len(missing)} of {classes} classes have no training image (class {some}); "
            "add images of it, or number the labels without gaps"
        )


def check_same_kind(first: Tensor, other: Tensor, split: str) -> None:
    """Raise UserError unless two splits' images (n, channels, h, w) agree in all but their number."""
    if (first.shape[1:], first.dtype) != (other.shape[1:], other.dtype):
        raise UserError(
            f"the {split} images are {tuple(other.shape[1:])} {other.dtype} and the train images "
            f"{tuple(first.shape[1:])} {first.dtype}; make them the same"
        )


def checked_pair(pair: tuple[Tensor, Tensor], split: str) -> tuple[Tensor, Tensor]:
    """Return images and labels as `checked_images` and `checked_labels` do."""
    x = checked_images(torch.as_tensor(pair[0]), split)
    return x, checked_labels(torch.as_tensor(pair[1]), len(x), split)


def checked_parts(parts: Mapping[str, Any], images: int) -> dict[str, Tensor]:
    """Return tensors of indices. Raises UserError when a split is missing, empty or points elsewhere."""
    if missing := {"train", "val"} - set(parts):
        raise UserError(f"the task has no {sorted(missing)[0]} split; give indices of 'train' and 'val'")
    OneOf("split", HELD).check("split", list(parts))
    checked = {name: torch.as_tensor(part, dtype=torch.int64) for name, part in parts.items()}
    for name, part in checked.items():
        if len(part) == 0 or int(part.min()) < 0 or int(part.max()) >= images:
            raise UserError(f"the {name} split has {len(part)} indices; give at least one, each in 0 to {images - 1}")
    return checked
