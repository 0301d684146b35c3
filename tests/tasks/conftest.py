"""Small files in the genuine published formats, for the tests of tasks."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from renascent.tasks.images import ImageTask


class Small:
    """Writers of small files, and a reader of what a task holds."""

    CIFAR_FILES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")

    @staticmethod
    def pixels(n: int, *shape: int, seed: int = 0) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 256, (n, *shape), np.uint8)

    @staticmethod
    def in_order(task: ImageTask, split: str) -> tuple[np.ndarray, np.ndarray]:
        """The raw images and labels of one split, got back from its normalised batches."""
        x, y = task.batches(split, 10**6)[0]
        mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (task.mean, task.std))
        return ((x * std + mean) * 255).round().to(torch.uint8).numpy(), y.numpy()

    @staticmethod
    def cifar(root: Path, names: tuple[str, ...], n: int, label_bytes: int, classes: int) -> dict[str, np.ndarray]:
        root.mkdir(parents=True)
        written = {}
        for k, name in enumerate(names):
            rows = Small.pixels(n, label_bytes + 3072, seed=k)
            rows[:, label_bytes - 1] = np.arange(n) % classes
            (root / name).write_bytes(rows.tobytes())
            written[name] = rows
        return written

    @staticmethod
    def idx(path: Path, array: np.ndarray) -> None:
        header = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
        data = header + array.tobytes()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)

    @staticmethod
    def mosaic(path: Path, images: np.ndarray, columns: int) -> None:
        """images (n, h, w, 3), row by row."""
        rows = [np.concatenate(images[i : i + columns], axis=1) for i in range(0, len(images), columns)]
        Image.fromarray(np.concatenate(rows)).save(path, lossless=True)


@pytest.fixture(scope="session")
def small() -> type[Small]:
    return Small
