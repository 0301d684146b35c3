"""A folder of images: `train/class/*.png` with `val/` and `test/` beside it, or just `class/*.png`."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from renascent.core.errors import UserError
from renascent.tasks.augment import Augmentation
from renascent.tasks.formats import Pair
from renascent.tasks.prepare import Raw
from renascent.tasks.split import split

FOLDER_AUGMENTATION = Augmentation(flip=True, pad=4)


def read_folder(root: Path, image_size: int = 0) -> Raw:
    """Read the images of `root`, a folder for each class; without `train/`, a stratified fifth becomes test.

    With `train/`, the splits `val/` and `test/` are used when they are there, and no test split is made up.
    image_size: side in pixels; images are scaled to cover that square and cut at the centre; 0 keeps them as
    they are. Grey when every image is, otherwise RGB. Files that start with a dot are skipped.
    All are held in memory. Raises UserError, naming the file, for anything but images, fewer than 2 classes, unequal
    sizes, or more than the memory holds.
    """
    divided = (root / "train").is_dir()
    tops = [root / "train", *(p for p in (root / "val", root / "test") if p.is_dir())] if divided else [root]
    classes = _classes(tops[0])
    files = {top.name if divided else "train": _files(top, classes) for top in tops}
    mode, size = _common([path for part in files.values() for path, _ in part], image_size)
    _check_memory(sum(map(len, files.values())) * size[0] * size[1] * len(mode), root)
    pairs = {name: _decode(part, mode, size) for name, part in files.items()}
    source = f"images of the folder {root.resolve().name!r}"
    if divided:
        return Raw(pairs["train"], pairs.get("test"), classes, source, pairs.get("val"))
    (x, y), source = pairs["train"], f"{source}, a stratified fifth held out as test split"
    train, test = split(y, 0.2, seed=0)
    return Raw((x[train], y[train]), (x[test], y[test]), classes, source)


def _listed(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _classes(top: Path) -> tuple[str, ...]:
    classes = tuple(path.name for path in _listed(top) if path.is_dir())
    if len(classes) < 2:
        raise UserError(f"{top} has {len(classes)} class folders; give at least 2: {top}/CLASS/IMAGE.png")
    return classes


def _files(top: Path, classes: Sequence[str]) -> list[tuple[Path, int]]:
    """Return every image file of a split and its label."""
    found = []
    for path in _listed(top):
        if not path.is_dir():
            raise UserError(f"{path} lies beside the class folders; move it into one, or away")
        if path.name not in classes:
            raise UserError(f"{path} is a class that train/ does not have; it has {', '.join(classes)}")
        found += [(file, classes.index(path.name)) for file in _listed(path)]
    if not found:
        raise UserError(f"{top} has no images; put them at {top}/CLASS/IMAGE.png, or remove it")
    return found


def _common(paths: Sequence[Path], image_size: int) -> tuple[str, tuple[int, int]]:
    """Return the mode and the size (width, height) that all images get, from their headers alone."""
    headers = [_header(path) for path in paths]
    mode = "L" if all(grey in ("1", "L") for grey, _ in headers) else "RGB"
    if image_size:
        return mode, (image_size, image_size)
    for path, (_, size) in zip(paths, headers, strict=True):
        if size != headers[0][1]:
            first = f"{paths[0]} is {headers[0][1][0]}x{headers[0][1][1]}"
            raise UserError(f"{path} is {size[0]}x{size[1]} pixels and {first}; give one size with `image_size`")
    return mode, headers[0][1]


def _check_memory(needed: int, root: Path) -> None:
    """Raise UserError for more bytes than fit, once as they are and once more while they are put together."""
    there = _memory()
    if 2 * needed > there:
        raise UserError(
            f"the images of {root} take {needed / 2**30:.1f} GiB, twice that while they are read, and this machine has "
            f"{there / 2**30:.1f} GiB of memory: give a smaller `image_size`, or a folder of fewer images"
        )


def _memory() -> float:
    """Return the bytes of memory of this machine; without end where the system does not say."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return math.inf


def _header(path: Path) -> tuple[str, tuple[int, int]]:
    try:
        with Image.open(path) as image:
            return image.mode, image.size
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} is not an image that Pillow can read; move it away") from error


def _decode(files: Sequence[tuple[Path, int]], mode: str, size: tuple[int, int]) -> Pair:
    """Return images (n, channels, h, w) and labels (n,)."""
    images = np.empty((len(files), size[1], size[0], len(mode)), np.uint8)
    for row, (path, _) in zip(images, files, strict=True):
        try:
            with Image.open(path) as image:
                fitted = image.convert(mode)
        except (OSError, SyntaxError, ValueError) as error:
            raise UserError(f"{path} is a damaged image ({error}); replace it or move it away") from error
        row[...] = np.atleast_3d(np.asarray(fitted if fitted.size == size else ImageOps.fit(fitted, size)))
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)), np.array([label for _, label in files], np.int64)
