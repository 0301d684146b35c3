"""Images and labels from any `torch.utils.data.Dataset`, and what they must be: one line says what is wrong."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from PIL import Image
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


def collect(dataset: Any, split: str) -> tuple[Tensor, Tensor]:
    """Return images (n, channels, h, w), uint8 or float, and labels (n,) int64 of a whole data set.

    An image is a PIL image, an array (h, w) or (h, w, channels), or a tensor (channels, h, w) or (h, w).
    Raises UserError, naming the item, when one is something else or differs from the first.

    >>> collect([(np.zeros((2, 3), np.uint8), 4)], "train")[0].shape
    torch.Size([1, 1, 2, 3])
    """
    images: list[Tensor] = []
    labels: list[int] = []
    for index in range(_length(dataset, split)):
        where = f"item {index} of the {split} data"
        item = dataset[index]
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise UserError(f"{where} is a {type(item).__name__}; give a pair (image, label)")
        images.append(_image(item[0], where))
        labels.append(_label(item[1], where))
        if (images[-1].shape, images[-1].dtype) != (images[0].shape, images[0].dtype):
            raise UserError(
                f"{where} is {_kind(images[-1])} and item 0 is {_kind(images[0])}: "
                "resize or convert all images alike in the data set"
            )
    return torch.stack(images), torch.tensor(labels)


def _length(dataset: Any, split: str) -> int:
    try:
        length = len(dataset)
    except TypeError as error:
        raise UserError(
            f"the {split} data are a {type(dataset).__name__} without a length; give a map-style data set"
        ) from error
    if length == 0:
        raise UserError(f"the {split} data are empty; give at least one image of every class")
    return length


def _image(image: Any, where: str) -> Tensor:
    """Return (channels, h, w)."""
    if isinstance(image, Tensor):
        return image[None] if image.ndim == 2 else image
    if isinstance(image, Image.Image):
        image = np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))
    if isinstance(image, np.ndarray) and image.ndim in (2, 3):
        return torch.from_numpy(np.array(np.atleast_3d(image).transpose(2, 0, 1)))
    shape = f" of shape {image.shape}" if isinstance(image, np.ndarray) else ""
    raise UserError(
        f"{where} has as image a {type(image).__name__}{shape}; "
        "give a PIL image, an array (h, w) or (h, w, channels), or a tensor"
    )


def _kind(image: Tensor) -> str:
    return f"{tuple(image.shape)} {image.dtype}"


def _label(label: Any, where: str) -> int:
    with suppress(TypeError, ValueError):
        if (number := int(label)) == label:
            return number
    raise UserError(f"{where} has the label {label!r}; give a whole number from 0")
