"""The pixels of image files: held in memory, or looked at once and read again whenever they are used."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from renascent.core.errors import UserError
from renascent.tasks.formats import Images, brief
from renascent.tasks.memory import check_memory
from renascent.tasks.pixels import Unreadable, read_image
from renascent.tasks.streamed import Known, Seen, Streamed, Streaming, scan


class Fault(NamedTuple):
    """A file that is no image that can be used, and why. detail: what it has of its own, beside the reason."""

    reason: str
    path: Path
    detail: str


@dataclass
class Found:
    """What was found in image files. images: of those that can be used, (n, channels, h, w).

    kept: indices of their paths.  said: how often what is said of images.
    """

    images: Images | Streamed = field(default_factory=lambda: np.empty((0, 0, 0, 0), np.uint8))
    kept: list[int] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    said: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Photos:
    """Image files as a `tasks.streamed.Source`.  side: in pixels, to which they are scaled and cut; 0: as they are."""

    paths: Sequence[Path]
    side: int
    changed = "put it back, or begin anew"

    def read(self, place: int) -> tuple[Tensor, set[str]]:
        """Return (channels, h, w) uint8, and what is said of the image. Raises Unreadable."""
        image, notes = read_image(self.paths[place], (self.side, self.side) if self.side else None)
        return torch.from_numpy(np.array(np.atleast_3d(np.asarray(image)).transpose(2, 0, 1))), notes

    def image(self, place: int) -> Tensor:
        """Return (channels, h, w) uint8. Raises UserError for a file that could be used before."""
        try:
            return self.read(place)[0]
        except Unreadable as e:
            raise UserError(f"{self.name(place)} can no longer be used ({e}): {self.changed}") from None

    def name(self, place: int) -> str:
        """Return the path of an image."""
        return brief(str(self.paths[place]), 200)

    def look(self, place: int) -> tuple[Seen, set[str]] | Fault:
        """Return what is kept of an image, or what is wrong with it."""
        try:
            image, notes = self.read(place)
        except Unreadable as e:
            return Fault(e.reason, self.paths[place], e.detail)
        return Seen.of(image), notes

    def check_size(self, first: int, size: Sequence[int], place: int, shape: Sequence[int]) -> None:
        """Raise UserError for an image whose shape (channels, h, w) is not of the size (h, w) that the first has."""
        if tuple(shape[1:]) != tuple(size):
            one = f"{self.name(first)} is {size[1]}x{size[0]}"
            raise UserError(
                f"{self.name(place)} is {shape[2]}x{shape[1]} pixels and {one}; give one size with `image_size`"
            )


def read_photos(photos: Photos, where: str, streaming: Streaming) -> Found:
    """Read the images of a folder, which errors call `where`, or look at all of them if they are to be streamed.

    Raises UserError for sizes that differ, and for more than the memory holds where they have to be held.
    """
    check_memory(3 * photos.side**2, f"an image of {where}", "a smaller `image_size`, or a folder of fewer images")
    found = None if streaming.streamed else _held(photos, where, streaming)
    return found or _scanned(photos, streaming)


def _held(photos: Photos, where: str, streaming: Streaming) -> Found | None:
    """Return the images in memory; None as soon as they turn out to be too many."""
    found, images, count = Found(), np.empty((0, 0, 0, 0), np.uint8), len(photos.paths)
    room = f"the images of {where}", "a smaller `image_size`, or a folder of fewer images"
    if not streaming.holds(count * photos.side**2, *room):
        return None
    for place, path in enumerate(photos.paths):
        try:
            image, notes = photos.read(place)
        except Unreadable as e:
            found.faults.append(Fault(e.reason, path, e.detail))
            continue
        if found.kept:
            photos.check_size(found.kept[0], images.shape[2:], place, image.shape)
        if len(image) > images.shape[1]:  # the first, or the first in colour after grey ones
            if not streaming.holds(count * image.numel(), *room):
                return None
            empty = np.empty((count, *image.shape), np.uint8)
            images = np.repeat(images, 3, axis=1) if found.kept else empty
        images[len(found.kept)] = image.numpy()
        found.kept.append(place)
        found.said.update(notes)
    found.images = images[: len(found.kept)]
    return found


def _scanned(photos: Photos, streaming: Streaming) -> Found:
    """Return images that are read again whenever they are used; processes look at them."""
    found, known = Found(), None
    for place, seen in enumerate(scan(photos.look, len(photos.paths), streaming.processes)):
        if isinstance(seen, Fault):
            found.faults.append(seen)
            continue
        seen, notes = seen
        known = known or Known(len(photos.paths), seen)
        photos.check_size(found.kept[0] if found.kept else place, known.shape[1:], place, seen.shape)
        known.add(place, seen)
        found.kept.append(place)
        found.said.update(notes)
    if known:
        found.images = Streamed(photos, known, np.array(found.kept, np.int64), streaming.processes)
    return found
