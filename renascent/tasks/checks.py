"""Images and labels from any `torch.utils.data.Dataset`, and what they must be: one line says what is wrong."""

import itertools
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeGuard

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from renascent.core.errors import UserError
from renascent.core.fields import OneOf
from renascent.tasks.augment import Augmentation
from renascent.tasks.formats import brief, check_memory
from renascent.tasks.pixels import Unreadable, pillow, shown, to_eight_bits

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
        raise UserError(f"the class names are {_written(names)}; give a list of different names")
    if classes is not None and (type(classes) is not int or not 1 < classes < 2**63 or len(names) not in (0, classes)):
        raise UserError(f"classes is {_written(classes)}; give how many there are: at least 2, one for each name")
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


def check_same_kind(first: Tensor, other: Tensor, split: str) -> None:
    """Raise UserError unless two splits' images (n, channels, h, w) agree in all but their number."""
    if (first.shape[1:], first.dtype) != (other.shape[1:], other.dtype):
        raise UserError(
            f"the {split} images are {tuple(other.shape[1:])} {other.dtype} and the train images "
            f"{tuple(first.shape[1:])} {first.dtype}; make them the same"
        )


def checked_pair(pair: Any, split: str) -> tuple[Tensor, Tensor]:
    """Return images and labels as `checked_images` and `checked_labels` do."""
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise UserError(f"the {split} data are a {type(pair).__name__}; give a pair (images, labels)")
    x = checked_images(pair[0], split)
    return x, checked_labels(pair[1], len(x), split)


def is_number(value: Any) -> TypeGuard[float]:
    """Return whether a value is one number, and so says how much to hold out."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def checked_parts(parts: Mapping[str, Any], images: int) -> dict[str, Tensor]:
    """Return tensors of indices. Raises UserError when a split is missing, empty or points elsewhere."""
    if not isinstance(parts, Mapping):
        raise UserError(f"the splits are {_written(parts)}; give the indices of each: a dict of 'train' and 'val'")
    if missing := {"train", "val"} - set(parts):
        raise UserError(f"the task has no {sorted(missing)[0]} split; give indices of 'train' and 'val'")
    OneOf("split", HELD).check("split", list(parts))
    checked = {name: _indices(part, name) for name, part in parts.items()}
    for name, part in checked.items():
        if len(part) == 0 or int(part.min()) < 0 or int(part.max()) >= images:
            raise UserError(f"the {name} split has {len(part)} indices; give at least one, each in 0 to {images - 1}")
    return checked


def collect(dataset: Any, split: str) -> tuple[Tensor, Tensor]:
    """Return images (n, channels, h, w), uint8 or float, and labels (n,) int64 of a whole data set.

    An image is a PIL image, which is taken as `pixels.shown` has it; an array (h, w) or (h, w, channels); or a tensor
    (channels, h, w) or (h, w). Raises UserError, naming the item, when one is something else or differs from the first,
    when the data set itself raises something, and for more than the memory holds.

    >>> collect([(np.zeros((2, 3), np.uint8), 4)], "train")[0].shape
    torch.Size([1, 1, 2, 3])
    """
    images: list[Tensor] = []
    labels: list[int] = []
    length = _length(dataset, split)
    for index in range(length):
        where = f"item {index} of the {split} data"
        image, label = _item(dataset, index, where)
        images.append(_image(image, where))
        labels.append(_label(label, where))
        if index == 0:
            check_memory(length * images[0].nbytes, f"the {length} images of the {split} data", "fewer or smaller ones")
        if (images[-1].shape, images[-1].dtype) != (images[0].shape, images[0].dtype):
            raise UserError(
                f"{where} is {_kind(images[-1])} and item 0 is {_kind(images[0])}: "
                "resize or convert all images alike in the data set"
            )
    return torch.stack(images), torch.tensor(labels)


def _indices(part: Any, name: str) -> Tensor:
    x = as_tensor(list(part) if isinstance(part, range) else part, f"the indices of the {name} split")
    if x.numel() and (x.ndim != 1 or x.is_floating_point() or x.dtype == torch.bool):  # an empty list is of floats
        raise UserError(f"the indices of the {name} split are {_kind(x)}; give whole numbers in one row")
    return x.long()


def _length(dataset: Any, split: str) -> int:
    if isinstance(dataset, DataLoader):
        raise UserError(f"the {split} data are a DataLoader; give the data set in it (`loader.dataset`)")
    if isinstance(dataset, IterableDataset):
        raise UserError(f"the {split} data are an iterable data set; give a map-style one, with length and items")
    try:
        length = len(dataset)
    except TypeError as error:
        raise UserError(
            f"the {split} data are a {type(dataset).__name__} without a length; give a map-style data set"
        ) from error
    except (Exception, SystemExit) as error:
        raise UserError(f"the length of the {split} data cannot be had: {_raised(error)}") from error
    if length == 0:
        raise UserError(f"the {split} data are empty; give at least one image of every class")
    return length


def _item(dataset: Any, index: int, where: str) -> tuple[Any, Any]:
    try:
        item = dataset[index]
    except (Exception, SystemExit, GeneratorExit) as error:
        raise UserError(f"{where} cannot be had: {type(dataset).__name__} raised {_raised(error)}") from error
    if not isinstance(item, tuple | list) or len(item) != 2:
        size = f" of {len(item)}" if isinstance(item, tuple | list) else ""
        raise UserError(f"{where} is a {type(item).__name__}{size}; give a pair (image, label)")
    return item[0], item[1]


def checked_augmentation(how: Any) -> Augmentation:
    """Return an augmentation. Raises UserError for what is none."""
    if not isinstance(how, Augmentation):
        raise UserError(f"augmentation is {_written(how)}; give a renascent.tasks.augment.Augmentation")
    return how


def _raised(error: BaseException) -> str:
    return f"{type(error).__name__}: {brief(str(error))}"


def _image(image: Any, where: str) -> Tensor:
    """Return (channels, h, w)."""
    if isinstance(image, Image.Image):
        try:
            with pillow():
                image = np.asarray(shown(image)[0])
        except Unreadable as error:
            raise UserError(f"{where} has an image that cannot be used: {error}") from error
    if isinstance(image, np.ndarray) and image.ndim in (2, 3):
        image = as_tensor(np.array(np.atleast_3d(image).transpose(2, 0, 1)), f"the pixels of {where}")
    if isinstance(image, Tensor):
        pixels = as_tensor(image, f"the pixels of {where}").cpu()
        return pixels[None] if pixels.ndim == 2 else pixels
    shape = f" of shape {image.shape}" if isinstance(image, np.ndarray) else ""
    raise UserError(
        f"{where} has as image a {type(image).__name__}{shape}; "
        "give a PIL image, an array (h, w) or (h, w, channels), or a tensor"
    )


def _kind(image: Tensor) -> str:
    return f"{tuple(image.shape)} {image.dtype}"


def _label(label: Any, where: str) -> int:
    with suppress(Exception):  # whatever a thing raises that is no number
        if (number := int(label)) == label and -(2**63) <= number < 2**63:
            return number
    raise UserError(f"{where} has the label {_written(label)}; give a whole number from 0")


def _written(value: Any) -> str:
    try:
        return brief(repr(value))
    except Exception:
        return f"of type {type(value).__name__}"
