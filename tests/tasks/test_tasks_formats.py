"""Readers of published formats: pixel for pixel, and what damaged files are told."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from renascent.core.errors import UserError
from renascent.tasks.formats import read_cifar, read_idx, read_imagenet16, read_mosaics


def test_mosaics_and_their_labels(small: Any, tmp_path: Path):
    tiles = small.pixels(12, 4, 4, 3)
    small.mosaic(tmp_path / "a.webp", tiles[:8], 4)
    small.mosaic(tmp_path / "b.webp", tiles[8:], 2)
    np.savez(tmp_path / "labels.npz", train=np.arange(12, dtype=np.uint8), test=np.arange(3))
    paths = [tmp_path / "a.webp", tmp_path / "b.webp"]
    x, y = read_mosaics(paths, tmp_path / "labels.npz", "train", tile=4, channels=3)
    assert np.array_equal(x, tiles.transpose(0, 3, 1, 2))
    assert y.tolist() == list(range(12))
    assert read_mosaics(paths, tmp_path / "labels.npz", "train", tile=4, channels=1)[0].shape == (12, 1, 4, 4)
    with pytest.raises(UserError, match="it has 3 labels under 'test' for 12 images"):
        read_mosaics(paths, tmp_path / "labels.npz", "test", tile=4, channels=3)
    with pytest.raises(UserError, match="16x8 pixels is no whole number of 5x5 tiles"):
        read_mosaics(paths, tmp_path / "labels.npz", "train", tile=5, channels=3)
    with pytest.raises(UserError, match=r"cannot read .*labels.npz"):
        read_mosaics([tmp_path / "labels.npz"], tmp_path / "labels.npz", "train", tile=4, channels=3)


def test_a_picture_above_pillows_limit_is_refused(small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small.mosaic(tmp_path / "a.webp", small.pixels(8, 4, 4, 3), 4)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(UserError, match=r"cannot read .*a.webp: .*128 pixels.* exceeds limit"):
        read_mosaics([tmp_path / "a.webp"], tmp_path / "labels.npz", "train", tile=4, channels=3)


def test_damaged_files_are_named(tmp_path: Path):
    bad = tmp_path / "bad.bin"
    for data in (b"", b"x" * 3000):
        bad.write_bytes(data)
        with pytest.raises(UserError, match=rf"cannot read .*bad.bin: it has {len(data)} bytes, no whole number"):
            read_cifar([bad], 1)
    for data in (b"", b"\0\0\x08\x03\0\0", b"\0\0\x0d\x01\0\0\0\x01x", b"\0\0\x08\x01\0\0\0\x05xxxx"):
        bad.write_bytes(data)
        with pytest.raises(UserError, match=r"header and length are not those of an idx file"):
            read_idx(bad)
    zipped = tmp_path / "bad.gz"
    for data in (b"no gzip", gzip.compress(b"abc" * 100)[:-9]):
        zipped.write_bytes(data)
        with pytest.raises(UserError, match=r"cannot read .*bad.gz: .*; fetch the file again"):
            read_idx(zipped)


def test_imagenet16_refuses_other_arrays_and_pickles(small: Any, tmp_path: Path):
    path = tmp_path / "a.npz"
    np.savez(path, data=small.pixels(3, 767), labels=np.arange(3))
    with pytest.raises(UserError, match=r"its data are \(3, 767\) uint8, not \(3, 768\) uint8"):
        read_imagenet16([path], 120)
    np.savez(path, data=np.array([object()]), labels=np.arange(3))
    with pytest.raises(UserError, match=r"cannot read .*a.npz: .*allow_pickle=False"):
        read_imagenet16([path], 120)
