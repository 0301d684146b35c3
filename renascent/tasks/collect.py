"""Any `torch.utils.data.Dataset` of (image, label), as two tensors."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from renascent.core.errors import UserError


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
