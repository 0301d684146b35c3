"""Images and labels from any `torch.utils.data.Dataset`: held in memory, or had again whenever they are used."""

import bisect
import itertools
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from renascent.core.errors import UserError
from renascent.tasks.checks import as_tensor, checked_images, kind_of, written
from renascent.tasks.formats import brief
from renascent.tasks.memory import check_memory
from renascent.tasks.pixels import Unreadable, pillow, shown
from renascent.tasks.streamed import Known, Seen, Streamed, Streaming, scan

Pair = tuple[Tensor | Streamed, Tensor]
"""Images (n, channels, h, w) and labels (n,)."""

KEPT = 20
"""Bytes, at least, that are kept of an image that is streamed: its checksum and two sums of a channel."""


def gather(datasets: Mapping[str, Any], streaming: Streaming) -> dict[str, Pair]:
    """Return images and labels of data sets, by the name of the split.

    An image is a PIL image, which is taken as `pixels.shown` has it; an array (h, w) or (h, w, channels); or a tensor
    (channels, h, w) or (h, w). All are held, or all are looked at, in processes, and had again whenever they are used.
    Raises UserError, naming the item, when one is something else or differs from the first, when a data set itself
    raises something, and for more than the memory holds where they have to be held.

    >>> gather({"train": [(np.zeros((2, 3), np.uint8), 4)]}, Streaming())["train"][0].shape
    torch.Size([1, 1, 2, 3])
    """
    items = Items(datasets)
    what = f"the {items.ends[-1]} images of the {', '.join(datasets)} data"

    def holds(image: Tensor) -> bool:
        return streaming.holds(items.ends[-1] * image.nbytes, what, "fewer or smaller ones")

    found: dict[str, Pair] = {}
    for split in () if streaming.streamed else datasets:
        pair = _held(items, split, holds)
        if pair is None:
            break
        found[split] = pair
    if len(found) == len(datasets):
        return found
    check_memory(KEPT * items.ends[-1], what, "fewer")
    return _scanned(items, streaming)


class Items:
    """The items of several data sets, one data set after the other, as a `tasks.streamed.Source`.

    datasets: by the name of the split.  ends: of each, the place behind its last item.
    Raises UserError for what is no map-style data set.
    """

    changed = (
        "a data set that is streamed has to give the same one each time; leave what is random to `augmentation`, "
        "or give `streamed=False`, by which each is had once"
    )

    def __init__(self, datasets: Mapping[str, Any]) -> None:
        self.datasets = dict(datasets)
        self.lengths = {split: _length(dataset, split) for split, dataset in datasets.items()}
        self.ends = list(itertools.accumulate(self.lengths.values()))

    def places(self, split: str) -> range:
        """Return the places of the items of one data set."""
        end = self.ends[list(self.datasets).index(split)]
        return range(end - self.lengths[split], end)

    def pair(self, place: int) -> tuple[Tensor, int]:
        """Return image (channels, h, w) and label as the data set has them. Raises UserError for what is none."""
        split, index, name = *self._at(place), self.name(place)
        image, label = _item(self.datasets[split], index, name)
        return _image(image, name), _label(label, name)

    def image(self, place: int) -> Tensor:
        """Return (channels, h, w), uint8 or float32. Raises UserError when it cannot be had."""
        return self._usable(place, self.pair(place)[0])

    def name(self, place: int) -> str:
        """Return what an error calls the item."""
        return "item {1} of the {0} data".format(*self._at(place))

    def look(self, place: int) -> tuple[Seen, int, str] | UserError:
        """Return what is kept of an image, its label and kind; or what is wrong."""
        try:
            image, label = self.pair(place)
            return Seen.of(self._usable(place, image)), label, kind_of(image)
        except UserError as e:
            return UserError(str(e))

    def check_same(self, place: int, kind: str, first: int, first_kind: str) -> None:
        """Raise UserError for an image of another kind than the first."""
        if kind != first_kind:
            raise UserError(
                f"{self.name(place)} is {kind} and {self.name(first)} is {first_kind}: "
                "resize or convert all images alike in the data set"
            )

    def _usable(self, place: int, image: Tensor) -> Tensor:
        if image.is_floating_point() and not bool(torch.isfinite(image).all()):
            raise UserError(f"{self.name(place)} holds NaN or infinity; drop it")
        return checked_images(image[None], self._at(place)[0])[0]

    def _at(self, place: int) -> tuple[str, int]:
        number = bisect.bisect_right(self.ends, place)
        split = list(self.datasets)[number]
        return split, place - self.places(split).start


def _held(items: Items, split: str, holds: Callable[[Tensor], bool]) -> Pair | None:
    """Return images and labels of one data set; None if they are not to be held."""
    images: list[Tensor] = []
    labels: list[int] = []
    for place in items.places(split):
        image, label = items.pair(place)
        images.append(image)
        labels.append(label)
        if len(images) == 1 and not holds(image):
            return None
        items.check_same(place, kind_of(image), items.places(split).start, kind_of(images[0]))
    return torch.stack(images), torch.tensor(labels)


def _scanned(items: Items, streaming: Streaming) -> dict[str, Pair]:
    """Return images that are had again whenever they are used; processes look at them."""
    known, labels, first_kind = None, list[int](), ""
    for place, found in enumerate(scan(items.look, items.ends[-1], streaming.processes)):
        if isinstance(found, UserError):
            raise found
        seen, label, kind = found
        first_kind = first_kind or kind
        items.check_same(place, kind, 0, first_kind)
        known = known or Known(items.ends[-1], seen)
        known.add(place, seen)
        labels.append(label)
    assert known is not None  # no data set is empty
    images, numbers = Streamed(items, known, np.arange(items.ends[-1]), streaming.processes), torch.tensor(labels)
    parts = {split: slice(places.start, places.stop) for split in items.datasets for places in [items.places(split)]}
    return {split: (images[part], numbers[part]) for split, part in parts.items()}


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


def _label(label: Any, where: str) -> int:
    with suppress(Exception):  # whatever a thing raises that is no number
        if (number := int(label)) == label and -(2**63) <= number < 2**63:
            return number
    raise UserError(f"{where} has the label {written(label)}; give a whole number from 0")
