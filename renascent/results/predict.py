"""What the network of a run folder says of image files."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from renascent.core.devices import usable_device
from renascent.core.errors import UserError
from renascent.core.preparation import Preparation
from renascent.results.prepared import preparation_of, prepared
from renascent.results.record import Record
from renascent.tasks.folders import Faults
from renascent.tasks.pixels import Unreadable, covering, read_image

BATCH = 64
"""Images that are in memory at one time."""


@dataclass(frozen=True)
class Prediction:
    """What a network says of one image. probabilities: of each class, by name.  scaled: it had another size."""

    image: Path
    probabilities: dict[str, float]
    scaled: bool

    @property
    def label(self) -> str:
        """The most likely class."""
        return max(self.probabilities, key=self.probabilities.__getitem__)


@torch.no_grad()
def predict(
    record: Record, images: Sequence[str | Path], *, skip_bad: bool = False, device: torch.device | str = "cpu"
) -> list[Prediction]:
    """Return what the network of a run says of image files, and of all files in folders, in order.

    Args:
        record: The run; its network is the trained one, before any training the one with the search's weights.
        images: Files and folders; what begins with a dot in a folder is skipped.
        skip_bad: Leave out what cannot be used.
        device: Where the network runs.

    Raises:
        UserError: The run does not say how images are prepared, or images cannot be used: it names them.
    """
    preparation, found, faults = preparation_of(record), list[Prediction](), Faults(Path())
    paths = [path for given in images for path in _files(Path(given))]
    if not paths:
        raise UserError("there is no image to look at: give files, or a folder with some")
    place = usable_device(device)
    net = prepared(record).to(place)
    read = _read(paths, preparation, faults)
    while chunk := list(islice(read, BATCH)):
        pixels = torch.from_numpy(np.stack([x for _, x, _ in chunk])).to(place)
        for (path, _, scaled), row in zip(chunk, net(pixels).double().softmax(1).tolist(), strict=True):
            found.append(Prediction(path, dict(zip(preparation.class_names, row, strict=True)), scaled))
    if faults.count and (not skip_bad or not found):
        raise UserError(
            f"{faults.count} of {len(paths)} images cannot be used: {faults}; repair them, or leave them out "
            "with `skip_bad=True`"
        )
    return found


def _files(path: Path) -> Iterator[Path]:
    """Give a file, or all files below a folder, in order, links followed as in a training.

    Raises UserError for what is neither.
    """
    if not path.is_dir():
        if not path.exists():
            raise UserError(f"there is no image {path}: give files, or folders of images")
        yield path
        return
    for root, folders, names in os.walk(path, followlinks=True):
        above = {os.path.realpath(folder) for folder in (Path(root), *Path(root).parents)}  # no link goes up
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and os.path.realpath(os.path.join(root, name)) not in above
        )
        yield from (Path(root) / name for name in sorted(names) if not name.startswith("."))


def _read(
    paths: Sequence[Path], preparation: Preparation, faults: Faults
) -> Iterator[tuple[Path, NDArray[np.uint8], bool]]:
    """Give each image that can be used, (h, w, channels), and whether it was scaled; note the others."""
    height, width = preparation.size
    mode = "L" if preparation.colour == "grey" else "RGB"
    for path in paths:
        try:
            if not path.is_file():
                raise Unreadable("no regular file")  # nothing ever comes from a pipe
            image, _ = read_image(path, mode=mode)
            fitted = covering(image, (width, height))
        except Unreadable as e:
            faults.add(e.reason, path, e.detail)
            continue
        yield path, np.asarray(fitted).reshape(height, width, -1), fitted is not image
