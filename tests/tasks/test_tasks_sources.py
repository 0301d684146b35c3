"""Data sets by name: genuine formats written small, options, missing data, and the real files."""

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from renascent.core.errors import UserError
from renascent.tasks import DATASETS
from renascent.tasks.augment import Augmentation
from renascent.tasks.images import ImageTask
from renascent.tasks.load import load
from renascent.tasks.mnist import FILES
from renascent.tasks.prepare import ImageOptions, Raw, prepare

DATA = Path(os.environ.get("RENASCENT_DATA", "data"))
real = pytest.mark.skipif(not (DATA / "images").is_dir(), reason="RENASCENT_DATA has no images/: real data not here")


def test_cifar10_binary(small: Any, tmp_path: Path):
    written = small.cifar(tmp_path / "cifar-10-batches-bin", small.CIFAR_FILES, 20, 1, 10)
    task = load("cifar10", folder=tmp_path, options=ImageOptions(val=30))
    assert repr(task) == f"ImageTask(cifar10: 3x32x32, 10 classes; train 70, val 30, test 20; on {task.device})"
    x, y = small.in_order(task, "test")
    assert np.array_equal(x, written["test_batch.bin"][:, 1:].reshape(-1, 3, 32, 32))
    assert np.array_equal(y, np.arange(20) % 10)
    assert "official binary version" in task.source
    assert task.class_names[:2] == ("airplane", "automobile")


def test_cifar100_binary_uses_the_fine_label(small: Any, tmp_path: Path):
    written = small.cifar(tmp_path / "cifar-100-binary", ["train.bin", "test.bin"], 200, 2, 100)
    x, y = small.in_order(load("cifar100", folder=tmp_path), "test")
    assert np.array_equal(x, written["test.bin"][:, 2:].reshape(-1, 3, 32, 32))
    assert np.array_equal(y, np.arange(200) % 100)


@pytest.mark.parametrize("root", ["mnist", "MNIST/raw", "fashion-mnist", "FashionMNIST/raw"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_files(small: Any, tmp_path: Path, root: str, suffix: str):
    name, labels = "fashion-mnist" if "ashion" in root else "mnist", np.arange(40, dtype=np.uint8) % 10
    arrays = [small.pixels(40, 28, 28), labels, small.pixels(20, 28, 28, seed=1), labels[:20]]
    for file, array in zip(FILES, arrays, strict=True):
        small.idx(tmp_path / root / (file + suffix), array)
    task = load(name, folder=tmp_path)
    x, y = small.in_order(task, "test")
    assert np.array_equal(x[:, 0], arrays[2])
    assert np.array_equal(y, arrays[3])
    assert task.augmentation.flip is (name == "fashion-mnist")


def test_imagenet16_keeps_the_first_120_classes(small: Any, tmp_path: Path):
    (tmp_path / "imagenet16").mkdir()
    for k in range(10):
        labels, path = (
            np.arange(k * 30, k * 30 + 60) % 150 + 1,
            tmp_path / "imagenet16" / f"train_data_batch_{k + 1}.npz",
        )
        np.savez(path, data=small.pixels(60, 768, seed=k), labels=labels)
    data = small.pixels(150, 768, seed=11)
    np.savez(tmp_path / "imagenet16" / "val_data.npz", data=data, labels=np.arange(150) + 1)
    task = load("imagenet16-120", folder=tmp_path)
    x, y = small.in_order(task, "test")
    assert task.classes == 120
    assert np.array_equal(x, data[:120].reshape(-1, 3, 16, 16))
    assert np.array_equal(y, np.arange(120))


def test_mnist_labels_must_fit_the_images(small: Any, tmp_path: Path):
    for file, n in zip(FILES, (4, 3, 4, 4), strict=True):
        small.idx(tmp_path / "mnist" / file, small.pixels(n, 28, 28) if "idx3" in file else small.pixels(n))
    with pytest.raises(UserError, match=r"train-labels-idx1-ubyte: it has the shape \(3,\) and the images"):
        load("mnist", folder=tmp_path)


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "digits"])
def test_missing_data_say_what_to_do(tmp_path: Path, name: str):
    with pytest.raises(UserError, match=rf"{name} is not in the data folder {tmp_path}: ") as error:
        load(name, folder=tmp_path)
    message = str(error.value)
    assert "\n" not in message
    assert "put " in message
    assert "`download=True`" in message
    assert "http" in message


def test_the_folder_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RENASCENT_DATA", str(tmp_path / "here"))
    with pytest.raises(UserError, match=r"in the data folder .*/here: "):
        load("cifar10")
    monkeypatch.delenv("RENASCENT_DATA")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=rf"in the data folder {tmp_path}/data: "):
        load("cifar10")


def test_digits_are_those_of_scikit_learn(small: Any):
    task, (images, labels) = load("digits"), load_digits(return_X_y=True)
    found = [
        np.concatenate(parts) for parts in zip(*(small.in_order(task, s) for s in ("train+val", "test")), strict=True)
    ]
    held = sorted((*image.ravel().tolist(), label) for image, label in zip(*found, strict=True))
    assert held == sorted(
        (*row, y) for row, y in zip(np.round(images * 255 / 16).tolist(), labels.tolist(), strict=True)
    )


def test_digits_has_a_fixed_test_split(small: Any):
    first = load("digits", options=ImageOptions(split_seed=1, val=100))
    second = load("digits", options=ImageOptions(split_seed=2, val=0.25, pad=0, flip=True, cutout=3))
    assert first.count("val") == 100
    for a, b in zip(small.in_order(first, "test"), small.in_order(second, "test"), strict=True):
        assert np.array_equal(a, b)
    assert not np.array_equal(small.in_order(first, "train")[1][:100], small.in_order(second, "train")[1][:100])
    assert (small.in_order(first, "test")[0].min(), small.in_order(first, "test")[0].max()) == (0, 255)
    assert (first.augmentation.flip, first.augmentation.pad) == (False, 1)
    assert (second.augmentation.flip, second.augmentation.pad, second.augmentation.cutout) == (True, 0, 3)


def test_limit_is_stratified_and_before_the_split(small: Any):
    task = load("digits", options=ImageOptions(limit=100, augment_val=True))
    assert (task.count("train"), task.count("val"), task.count("test")) == (50, 50, 359)
    assert np.bincount(small.in_order(task, "train+val")[1]).min() >= 9
    assert task.augment_val


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cifar", {}, "unknown data set 'cifar': did you mean 'cifar10'"),
        ("no/such/folder", {}, "unknown data set 'no/such/folder': .*a folder of images"),
        ("digits", {"split": "oficial"}, "unknown split 'oficial': did you mean 'official'"),
        ("digits", {"split": "official"}, "digits has no official search split"),
        ("digits", {"val": 0}, "cannot hold out 0 of 1438 examples for validation"),
        ("digits", {"limit": 5}, "the limit is 5 images; give 10"),
        ("digits", {"limit": 2000}, "the limit is 2000 images; give 10 .* to 1438"),
        ("digits", {"pad": -1}, "pad is -1: give a number of at least 0"),
        ("digits", {"image_size": 16}, "`image_size` is for folders of images; digits has one size"),
    ],
)
def test_unfit_options_are_refused(name: str, options: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message):
        load(name, options=ImageOptions(**options))


def test_official_split_with_a_limit_and_with_val():
    labels = np.arange(50_000) % 10
    raw = Raw((np.zeros((50_000, 1, 1, 1), np.uint8), labels), None, tuple("0123456789"), "made up")
    halves = np.arange(25_000), np.arange(25_000, 50_000)

    def made(options: ImageOptions) -> ImageTask:
        return prepare(raw, options, Augmentation(), name="x", folder=Path(), official=lambda folder: halves)

    whole = made(ImageOptions(split="official"))
    assert (whole.count("train"), whole.count("val")) == (25_000, 25_000)
    part = made(ImageOptions(split="official", limit=1000))
    assert part.count("train+val") == 1000
    assert 400 < part.count("val") < 600
    with pytest.raises(UserError, match=r"val is 0.2, but the official split is half and half"):
        made(ImageOptions(split="official", val=0.2))


@pytest.fixture(scope="module")
def cifar10() -> ImageTask:
    return load("cifar10", folder=DATA, options=ImageOptions(split="official"))


@real
def test_real_cifar10_with_the_official_split(cifar10: ImageTask):
    assert (
        repr(cifar10)
        == f"ImageTask(cifar10: 3x32x32, 10 classes; train 25000, val 25000, test 10000; on {cifar10.device})"
    )
    assert "23 of 10000 test images are lossy" in cifar10.source
    assert np.allclose(cifar10.mean, (0.4914, 0.4822, 0.4465), atol=2e-3)
    assert np.allclose(cifar10.std, (0.2470, 0.2435, 0.2616), atol=2e-3)
    labels = torch.cat([y for _, y in cifar10.batches("train+val", 5000)])
    assert torch.bincount(labels).tolist() == [5000] * 10


@real
def test_real_cifar10_is_in_the_original_order(cifar10: ImageTask):
    """The official binary's first batch, rebuilt from the task, has its published MD5."""
    order = cifar10._part("train+val").argsort()[:10_000]
    x, y = (held[cifar10._part("train+val")[order]].numpy() for held in (cifar10._images.images, cifar10._labels))
    rows = np.concatenate([y[:, None].astype(np.uint8), x.reshape(len(x), -1)], axis=1)
    assert hashlib.md5(rows.tobytes()).hexdigest() == "5dd7e06a14cb22eb9f671a540d1b7c25"


@real
@pytest.mark.parametrize(
    ("name", "shape", "said"),
    [
        ("mnist", "1x28x28, 10 classes; train 30000, val 30000, test 10000", "original order"),
        ("fashion-mnist", "1x28x28, 10 classes; train 10000, val 10000, test 5000", "a subset of 20000 training"),
        ("cifar100", "3x32x32, 100 classes; train 10000, val 10000, test 5000", "a subset of 20000 training"),
    ],
)
def test_real_mosaics(name: str, shape: str, said: str):
    task = load(name, folder=DATA)
    assert repr(task) == f"ImageTask({name}: {shape}; on {task.device})"
    assert said in task.source
