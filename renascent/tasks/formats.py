"""Readers of published file formats: bytes in, arrays out. No reader here unpickles."""

import gzip
import math
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from renascent.core.errors import UserError
from renascent.tasks.memory import check_memory

Images = NDArray[np.uint8]
"""(n, channels, h, w)."""
Labels = NDArray[np.int64]
"""(n,), from 0."""
Pair = tuple[Images, Labels]


MOST_PACKED = 1032
"""Bytes that one byte of deflate can become, at most: a file that promises more is damaged."""


def read_cifar(paths: Sequence[Path], label_bytes: int) -> Pair:
    """Read CIFAR's binary version: records of label bytes, the last of which counts, and 3x32x32 pixels.

    Raises UserError when a file is no whole number of records, or cannot be read.
    """
    record, parts = label_bytes + 3 * 32 * 32, []
    for path in paths:
        with reading(path):
            size = path.stat().st_size
            if size == 0 or size % record:
                raise ValueError(f"it has {size} bytes, no whole number of {record}-byte records")
            check_memory(size, f"the records of {path}", "another file")
            parts.append(np.fromfile(path, np.uint8).reshape(-1, record))
    rows = np.concatenate(parts)
    return rows[:, label_bytes:].reshape(-1, 3, 32, 32), rows[:, label_bytes - 1].astype(np.int64)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read MNIST's idx format, plain or .gz: two zero bytes, type (8: uint8), rank, big-endian sizes, values.

    Raises UserError when the header or the length does not fit.
    """
    packed = path.suffix == ".gz"
    with reading(path), gzip.open(path) if packed else path.open("rb") as file:
        head, most = file.read(4), path.stat().st_size * (MOST_PACKED if packed else 1)
        rank = head[3] if head[:3] == b"\0\0\x08" and len(head) > 3 else 0
        sizes = file.read(4 * rank)
        shape = np.frombuffer(sizes, ">u4").tolist() if 0 < rank <= 4 and len(sizes) == 4 * rank else []
        promised = math.prod(shape)
        if promised <= most:
            check_memory(promised, f"the values of {path}", "another file")
        values = file.read(promised + 1) if shape and promised <= most else b""
        if not shape or len(values) != promised:
            raise ValueError("its header and length are not those of an idx file of bytes")
        return np.frombuffer(values, np.uint8).reshape(shape)


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
        labels = _whole(path, "labels", labels.ravel())
        kept = labels <= classes
        parts.append((data[kept], labels[kept] - 1))
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return images.reshape(-1, 3, 16, 16), labels


def read_npz(path: Path, *names: str) -> list[NDArray[Any]]:
    """Return the named arrays of an npz file. Raises UserError when one is missing or the file is damaged.

    What the headers promise is compared with the file's size before room is made for it.
    """
    with reading(path), zipfile.ZipFile(path) as archive:
        return [_array(archive, name, path.stat().st_size) for name in names]


def _array(archive: zipfile.ZipFile, name: str, size: int) -> NDArray[Any]:
    """Return one array of an npz file of so many bytes."""
    about = archive.getinfo(f"{name}.npy")
    if about.file_size > MOST_PACKED * min(about.compress_size, size):
        raise ValueError(f"{name} promises {about.file_size} bytes and has {about.compress_size}")
    check_memory(about.file_size, f"the values of {name} in {archive.filename}", "another file")
    with archive.open(about) as file:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, kind = header(file)
        if not kind.hasobject and math.prod(shape) * kind.itemsize != about.file_size - file.tell():
            raise ValueError(f"{name} promises the shape {shape}, and has {about.file_size - file.tell()} bytes")
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)


def _whole(path: Path, name: str, values: NDArray[Any]) -> Labels:
    """Return whole numbers in one row as int64."""
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise damaged(path, f"its {name} are {values.shape} {values.dtype}, not whole numbers in one row")
    return values.astype(np.int64)


def read_mosaics(pictures: Sequence[Path], labels: Path, split: str, tile: int, channels: int) -> Pair:
    """Read one split, its images the tiles of WebP pictures, its labels in an npz file under `split`.

    Raises UserError when a file is damaged, or the tiles are not as many as the labels.
    """
    images = np.concatenate([_tiles(path, tile, channels) for path in pictures])
    (held,) = read_npz(labels, split)
    numbers = _whole(labels, split, held)
    if len(numbers) != len(images):
        raise damaged(labels, f"it has {len(numbers)} labels under {split!r} for {len(images)} images")
    return images, numbers


def _tiles(path: Path, tile: int, channels: int) -> Images:
    """Cut a picture into tiles of `tile` pixels, row by row; grey tiles are stored as grey RGB."""
    # Pillow's limit against decompression bombs stays: the mosaics are well below it.
    with reading(path), Image.open(path, formats=["WEBP"]) as picture:
        pixels = np.asarray(picture.convert("RGB"))[..., :channels]
    height, width = pixels.shape[:2]
    if height % tile or width % tile:
        raise damaged(path, f"{width}x{height} pixels is no whole number of {tile}x{tile} tiles")
    cut = pixels.reshape(height // tile, tile, width // tile, tile, channels).transpose(0, 2, 4, 1, 3)
    return np.ascontiguousarray(cut).reshape(-1, channels, tile, tile)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever a reader raises for a damaged file into `damaged`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise damaged(path, str(error) or type(error).__name__) from error


def damaged(path: Path, why: str) -> UserError:
    """Return the error for a file that is not what its name says."""
    return UserError(f"cannot read {path}: {brief(why, 200)}; fetch the file again")


def plain(text: str) -> str:
    """Return a name in characters that can be printed, and written in UTF-8: others are written as escapes."""
    return text if text.isprintable() else repr(text)[1:-1]


def brief(text: str, most: int = 60) -> str:
    """Return a text in one line, its middle left out where it is longer than `most` characters.

    >>> brief("a" * 50 + "b" * 50, 21)
    'aaaaaaaaa...bbbbbbbbb'
    """
    text, half = plain(" ".join(text.split())), (most - 3) // 2
    return text if len(text) <= most else f"{text[:half]}...{text[-half:]}"
