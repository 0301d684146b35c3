"""Readers of published file formats: bytes in, arrays out. No reader here unpickles."""

import gzip
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from renascent.core.errors import UserError

Images = NDArray[np.uint8]
"""(n, channels, h, w)."""
Labels = NDArray[np.int64]
"""(n,), from 0."""
Pair = tuple[Images, Labels]


def read_cifar(paths: Sequence[Path], label_bytes: int) -> Pair:
    """Read CIFAR's binary version: records of label bytes, the last of which counts, and 3x32x32 pixels.

    Raises UserError when a file is no whole number of records.
    """
    record = label_bytes + 3 * 32 * 32
    for path in paths:
        if path.stat().st_size == 0 or path.stat().st_size % record:
            raise damaged(path, f"it has {path.stat().st_size} bytes, no whole number of {record}-byte records")
    rows = np.concatenate([np.fromfile(path, np.uint8).reshape(-1, record) for path in paths])
    return rows[:, label_bytes:].reshape(-1, 3, 32, 32), rows[:, label_bytes - 1].astype(np.int64)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read MNIST's idx format, plain or .gz: two zero bytes, type (8: uint8), rank, big-endian sizes, values.

    Raises UserError when the header or the length does not fit.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise damaged(path, str(error)) from error
    rank = data[3] if data[:3] == b"\0\0\x08" and len(data) > 3 else 0
    shape = np.frombuffer(data, ">u4", min(rank, (len(data) - 4) // 4), 4).tolist() if rank else []
    if not rank or len(data) != 4 + 4 * rank + math.prod(shape):
        raise damaged(path, "its header and length are not those of an idx file of bytes")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)


def read_imagenet16(paths: Sequence[Path], classes: int) -> Pair:
    """Read image-net.org's downsampled npz files: `data` (n, 768), `labels` from 1, up to `classes`.

    Chrabaszcz, Loshchilov and Hutter, A Downsampled Variant of ImageNet, arXiv:1707.08819.
    Raises UserError when a file has other arrays, or any that would need a pickle.
    """
    parts = []
    for path in paths:
        data, labels = read_npz(path, "data", "labels")
        if data.dtype != np.uint8 or data.shape != (labels.size, 768):
            raise damaged(path, f"its data are {data.shape} {data.dtype}, not ({labels.size}, 768) uint8")
        kept = labels.ravel() <= classes
        parts.append((data[kept], labels.ravel()[kept].astype(np.int64) - 1))
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return images.reshape(-1, 3, 16, 16), labels


def read_npz(path: Path, *names: str) -> list[NDArray[Any]]:
    """Return the named arrays of an npz file. Raises UserError when one is missing or the file is damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return [file[name] for name in names]
    except (OSError, ValueError, KeyError, EOFError, zlib.error) as error:
        raise damaged(path, str(error)) from error


def read_mosaics(pictures: Sequence[Path], labels: Path, split: str, tile: int, channels: int) -> Pair:
    """Read one split, its images the tiles of WebP pictures, its labels in an npz file under `split`.

    Raises UserError when a file is damaged, or the tiles are not as many as the labels.
    """
    images = np.concatenate([_tiles(path, tile, channels) for path in pictures])
    (numbers,) = read_npz(labels, split)
    if len(numbers) != len(images):
        raise damaged(labels, f"it has {len(numbers)} labels under {split!r} for {len(images)} images")
    return images, numbers.astype(np.int64)


def _tiles(path: Path, tile: int, channels: int) -> Images:
    """Cut a picture into tiles of `tile` pixels, row by row; grey tiles are stored as grey RGB."""
    try:
        # Pillow's limit against decompression bombs stays: the mosaics are well below it.
        with Image.open(path, formats=["WEBP"]) as picture:
            pixels = np.asarray(picture.convert("RGB"))[..., :channels]
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise damaged(path, str(error)) from error
    height, width = pixels.shape[:2]
    if height % tile or width % tile:
        raise damaged(path, f"{width}x{height} pixels is no whole number of {tile}x{tile} tiles")
    cut = pixels.reshape(height // tile, tile, width // tile, tile, channels).transpose(0, 2, 4, 1, 3)
    return np.ascontiguousarray(cut).reshape(-1, channels, tile, tile)


def damaged(path: Path, why: str) -> UserError:
    """Return the error for a file that is not what its name says."""
    return UserError(f"cannot read {path}: {' '.join(why.split())}; fetch the file again")
