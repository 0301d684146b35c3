"""What images, labels and splits must be: one line says what is wrong."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor

from renascent.core.errors import UserError
from renascent.core.fields import OneOf
from renascent.tasks.augment import Augmentation
from renascent.tasks.formats import brief
from renascent.tasks.pixels import to_eight_bits
from renascent.tasks.streamed import Streamed

HELD = ("train", "val", "test")
"""The splits a task can hold."""


def as_tensor(value: Any, what: str) -> Tensor:
    """Return numbers as a plain tensor without gradient. what: names them in the error, in the plural."""
    try:
        if isinstance(value, np.ndarray):
            value = np.require(value, value.dtype.newbyteorder("="), ["C", "W"])
        x = torch.as_tensor(value)
    except Exception:  # what is no array can raise anything
        kind = f" of {value.dtype}" if isinstance(value, np.ndarray) else ""
        raise UserError(f"{what} are a {type(value).__name__}{kind}; give a tensor or array of numbers") from None
    if x.is_nested or x.is_quantized or x.is_meta or x.layout != torch.strided:
        raise UserError(f"{what} are no plain tensor (nested, sparse, quantised or on 'meta'); give a dense one")
    return x.detach().as_subclass(Tensor)  # a subclass says by itself what its methods do


def checked_images(images: Any, split: str) -> Tensor:
    """Return images (n, channels, h, w) as uint8 or float32; those of 16 bits are scaled to uint8.

    Raises UserError when they cannot be images.
    """
    x = as_tensor(images, f"the {split} images")
    if x.ndim != 4 or 0 in x.shape:
        hint = "no image is in it" if x.shape[:1] == (0,) else "give (images, channels, height, width), none of them 0"
        raise UserError(f"the {split} images have the shape {tuple(x.shape)}: {hint}")
    if x.dtype == torch.uint16:
        return torch.from_numpy(to_eight_bits(x.cpu().numpy())).to(x.device)
    if x.dtype == torch.uint8:
        return x
    if not x.is_floating_point():
        allowed = "torch.uint8 (0 to 255), torch.uint16 (0 to 65535) or floats (0 to 1)"
        raise UserError(f"the {split} images are {x.dtype}; give {allowed}")
    x = x.float()
    if not (fine := torch.isfinite(x).flatten(1).all(1)).all():
        first = int(fine.logical_not().nonzero()[0])
        raise UserError(
            f"{int((~fine).sum())} of the {split} images hold NaN or infinity, first image {first}; drop them"
        )
    return x


def checked_labels(labels: Any, images: int, split: str) -> Tensor:
    """Return labels (images,) as int64. Raises UserError when it is not one whole number an image."""
    y = as_tensor(labels, f"the {split} labels")
    if y.shape != (images,):
        raise UserError(f"the {split} labels have the shape {tuple(y.shape)}; give one an image: ({images},)")
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise UserError(f"the {split} labels are {y.dtype}; give whole numbers from 0, such as torch.int64")
    return y.long()


def checked_names(y: Tensor, train: Tensor, classes: int | None, names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of all classes, their numbers unless given, before anything is made as large as a label says.

    Args:
        y: Labels (n,).
        train: Indices of those to train on.
        classes: How many there are; one more than the largest label if neither this nor `names` is given.
        names: Of the classes, in the order of the labels; or none.

    Raises:
        UserError: Labels are outside, a class has no label to train on, or the names are not one a class.
    """
    if not isinstance(names, list | tuple) or len({*map(str, names)}) != len(names):
        raise UserError(f"the class names are {written(names)}; give a list of different names")
    if classes is not None and (type(classes) is not int or not 1 < classes < 2**63 or len(names) not in (0, classes)):
        raise UserError(f"classes is {written(classes)}; give how many there are: at least 2, one for each name")
    low, high = int(y.min()), int(y.max())
    count = classes if classes is not None else len(names) or high + 1
    if low < 0 or high >= count:
        raise UserError(f"labels run from {low} to {high}; with {count} classes they must be in 0 to {count - 1}")
    if count < 2:
        raise UserError(f"there is {count} class; give labels of at least 2 classes")
    trained = set(y[train.to(y.device)].tolist())
    if missing := count - len(trained):
        first = itertools.islice((k for k in range(count) if k not in trained), 5)
        some = ", ".join(brief(str(names[k])) if names else str(k) for k in first) + (", ..." if missing > 5 else "")
        raise UserError(
            f"{missing} of {count} classes have no training image (class {some}); "
            f"add images of it, or number the labels without gaps (the largest is {high})"
        )
    return tuple(map(str, names)) or tuple(map(str, range(count)))


def check_same_kind(first: Tensor | Streamed, other: Tensor | Streamed, split: str) -> None:
    """Raise UserError unless two splits' images (n, channels, h, w) agree in all but their number."""
    if (first.shape[1:], first.dtype) != (other.shape[1:], other.dtype):
        raise UserError(
            f"the {split} images are {tuple(other.shape[1:])} {other.dtype} and the train images "
            f"{tuple(first.shape[1:])} {first.dtype}; make them the same"
        )


def checked_pair(pair: Any, split: str) -> tuple[Tensor | Streamed, Tensor]:
    """Return images and labels as `checked_images` and `checked_labels` do; streamed images were checked one by one."""
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise UserError(f"the {split} data are a {type(pair).__name__}; give a pair (images, labels)")
    x = pair[0] if isinstance(pair[0], Streamed) else checked_images(pair[0], split)
    return x, checked_labels(pair[1], len(x), split)


def is_number(value: Any) -> TypeGuard[float]:
    """Return whether a value is one number, and so says how much to hold out."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def checked_parts(parts: Mapping[str, Any], images: int) -> dict[str, Tensor]:
    """Return tensors of indices. Raises UserError when a split is missing, empty or points elsewhere."""
    if not isinstance(parts, Mapping):
        raise UserError(f"the splits are {written(parts)}; give the indices of each: a dict of 'train' and 'val'")
    if missing := {"train", "val"} - set(parts):
        raise UserError(f"the task has no {sorted(missing)[0]} split; give indices of 'train' and 'val'")
    OneOf("split", HELD).check("split", list(parts))
    checked = {name: _indices(part, name) for name, part in parts.items()}
    for name, part in checked.items():
        if len(part) == 0 or int(part.min()) < 0 or int(part.max()) >= images:
            raise UserError(f"the {name} split has {len(part)} indices; give at least one, each in 0 to {images - 1}")
    return checked


def _indices(part: Any, name: str) -> Tensor:
    x = as_tensor(list(part) if isinstance(part, range) else part, f"the indices of the {name} split")
    if x.numel() and (x.ndim != 1 or x.is_floating_point() or x.dtype == torch.bool):  # an empty list is of floats
        raise UserError(f"the indices of the {name} split are {kind_of(x)}; give whole numbers in one row")
    return x.long()


def checked_augmentation(how: Any) -> Augmentation:
    """Return an augmentation. Raises UserError for what is none."""
    if not isinstance(how, Augmentation):
        raise UserError(f"augmentation is {written(how)}; give a renascent.tasks.augment.Augmentation")
    return how


def kind_of(image: Tensor) -> str:
    """Return shape and dtype of an image as an error names them."""
    return f"{tuple(image.shape)} {image.dtype}"


def written(value: Any) -> str:
    """Return a value as an error shows it."""
    try:
        return brief(repr(value))
    except Exception:
        return f"of type {type(value).__name__}"


def check_logits(logits: Tensor, shape: tuple[int, int]) -> None:
    """Raise UserError unless what a network returned has a shape (batch, classes)."""
    if logits.shape != shape:
        raise UserError(f"the network returns the shape {tuple(logits.shape)}; give (batch, classes), here {shape}")
