"""Images, folders and data sets that cannot be used: each ends in one line that says why, and nothing hangs."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import socket
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from renascent.core.errors import UserError
from renascent.tasks.images import ImageTask
from renascent.tasks.load import load
from renascent.tasks.mnist import FILES
from renascent.tasks.prepare import ImageOptions

LONGEST = 1000


def refusal(act: Callable[[], Any]) -> str:
    """Return the one line that refuses something, after checking that it is one."""
    with pytest.raises(UserError) as error:
        act()
    line = str(error.value)
    assert line.isprintable(), line
    assert len(line) <= LONGEST
    return line


def draw(root: Path, names: str, n: int = 2, size: tuple[int, int] = (4, 4)) -> None:
    """Write n small images into each of the folders `names`."""
    for k, name in enumerate(names.split()):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            Image.new("RGB", size, (40 * k, 9 * i, 0)).save(root / name / f"{i}.png")


def linked(root: Path) -> None:
    draw(root, "cat dog")
    (root / "round").symlink_to(root)


def socketed(root: Path) -> None:
    draw(root, "cat dog")
    here = os.getcwd()
    os.chdir(root / "cat")  # a socket's name may not be long
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.bind("s.png")
    finally:
        os.chdir(here)


def put(name: str, content: bytes | Image.Image) -> Callable[[Path], None]:
    """Return what makes a folder of two classes with one more file in it."""

    def make(root: Path) -> None:
        draw(root, "cat dog")
        path = root / os.fsdecode(name)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            content.save(path)

    return make


def folders(names: str, n: int = 2) -> Callable[[Path], None]:
    return lambda root: draw(root, names, n)


def also(make: Callable[[Path], None], more: Callable[[Path], Any]) -> Callable[[Path], None]:
    def both(root: Path) -> None:
        make(root)
        more(root)

    return both


def cut(kind: str, length: int) -> bytes:
    """Return the first bytes of an image of noise."""
    noise, file = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), io.BytesIO()
    Image.fromarray(noise).save(file, kind)
    return file.getvalue()[:length]


def deep(*values: float, mode: Any = np.float32) -> Image.Image:
    return Image.fromarray(np.array([values], mode))


FOLDERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "empty": (lambda root: None, "has 0 class folders; give at least 2"),
    "one class": (folders("cat"), "has 1 class folders"),
    "classes without images": (folders("cat dog", 0), "has no images; put them at"),
    "one empty class": (also(folders("cat dog"), folders("emu", 0)), "class without an image: emu"),
    "one image a class": (folders("cat dog", 1), "too few images for a test split"),
    "images beside the classes": (
        put("a.png", b""),
        "beside the class folders: a.png",
    ),
    "text": (put("cat/a.png", b"hello"), "no image that Pillow can read: cat/a.png"),
    "no bytes": (put("cat/a.png", b""), "no image that Pillow can read: cat/a.png"),
    "half a PNG": (put("cat/a.png", cut("PNG", 900)), "damaged image: cat/a.png"),
    "half a JPEG": (put("cat/a.jpg", cut("JPEG", 900)), "damaged image: cat/a.jpg (image file is truncated"),
    "half a GIF": (put("cat/a.gif", cut("GIF", 900)), "damaged image: cat/a.gif"),
    "half a WebP": (put("cat/a.webp", cut("WEBP", 90)), "cat/a.webp"),
    "half a TIFF": (put("cat/a.tif", cut("TIFF", 900)), "damaged image: cat/a.tif"),
    "a pickle": (put("cat/a.npy", pickle.dumps([1])), "no image that Pillow can read: cat/a.npy"),
    "floats above 1": (put("cat/a.tif", deep(0, 9)), "values of mode F that are not all in 0 to 1: cat/a.tif (0 to 9)"),
    "NaN": (put("cat/a.tif", deep(0, float("nan"))), "mode F"),
    "32 bits": (put("cat/a.tif", deep(0, 2**30, mode=np.int32)), "mode I that are not all in 0 to 65535: cat/a.tif"),
    "below 0": (put("cat/a.tif", deep(-1, 5, mode=np.int32)), "(-1 to 5)"),
    "two sizes": (put("cat/a.png", Image.new("RGB", (9, 4))), "a.png is 9x4 pixels and"),
    "a pipe": (also(folders("cat dog"), lambda root: os.mkfifo(root / "cat/a.png")), "no regular file: cat/a.png"),
    "a socket": (socketed, "no regular file: cat/s.png"),
    "a device": (
        also(folders("cat dog"), lambda root: (root / "cat/a").symlink_to("/dev/zero")),
        "no regular file: cat/a",
    ),
    "a link to itself": (also(folders("cat dog"), lambda root: (root / "a").symlink_to("a")), "class folders: a"),
    "a link to nothing": (also(folders("cat dog"), lambda root: (root / "cat/a").symlink_to("b")), "file: cat/a"),
    "a link to the whole": (linked, "folder inside a class: round/cat, round/dog, round/round"),
    "train is the whole": (lambda root: (root / "train").symlink_to(root), "train"),
    "a folder in a class": (folders("cat dog cat/old"), "folder inside a class: cat/old"),
    "no UTF-8": (put("cat/\udcff\udcfe.png", b"x"), r"cat/\udcff\udcfe.png"),
    "line breaks": (put("cat/a\nb\tc.png", b"x"), r"cat/a b c.png"),
    "a long name": (put(f"cat/{'x' * 250}", b"x"), "cat/xxx"),
    "many": (
        also(folders("cat dog"), lambda root: [(root / f"{'n' * 200}{k}").touch() for k in range(300)]),
        "296 more",
    ),
    "what is no split": (folders("train/cat train/dog extra/cat"), "extra/ is no split: rename it to one of train"),
    "no train": (folders("valid/cat valid/dog"), "has valid/ and no train/"),
    "val twice": (folders("train/cat train/dog val/cat VALID/dog"), "are both the val split"),
    "another class in val": (folders("train/cat train/dog val/Cat"), "val/Cat is a class that train/ does not have"),
    "val without classes": (also(folders("train/cat train/dog"), folders("val", 0)), "val has no images"),
    "images in train": (folders("train val"), "train has 0 class folders"),
    "a file called train": (also(folders("cat"), lambda root: (root / "train").touch()), "has 1 class folders"),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_cannot_be_used(tmp_path: Path, name: str):
    make, message = FOLDERS[name]
    (root := tmp_path / "photos").mkdir()
    make(root)
    assert message in refusal(lambda: load(root))


@pytest.mark.parametrize("name", ["", "x" * 100_000, "a\0b", "\udcff", "no/such", "/dev/zero", "cat\ndog"])
def test_a_name_that_is_no_folder(name: str):
    assert "unknown data set" in refusal(lambda: load(name))


def test_a_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Permissions do not bind who runs the tests as root."""
    draw(tmp_path, "cat dog")

    def denied(*given: Any, **about: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(tmp_path))

    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", denied)
        assert refusal(lambda: load(tmp_path)).endswith("cannot be listed: Permission denied")
    monkeypatch.setattr(Path, "open", denied)
    assert "cannot be opened: cat/0.png (Permission denied), cat/1.png" in refusal(lambda: load(tmp_path))


X, Y = torch.rand(12, 3, 4, 4), torch.arange(12) % 3

TENSORS: dict[str, tuple[dict[str, Any], str]] = {
    "None": ({"x": None}, "train images are a NoneType"),
    "text": ({"x": "cat.png"}, "train images are a str"),
    "ragged": ({"x": [[1, 2], [3]]}, "train images are a list"),
    "objects": ({"x": np.array([object()] * 12)}, "train images are a ndarray of object"),
    "one number": ({"x": torch.tensor(1.0)}, "have the shape ()"),
    "sparse": ({"x": X.to_sparse()}, "no plain tensor"),
    "meta": ({"x": X.to("meta")}, "no plain tensor"),
    "complex": ({"x": X + 1j}, "torch.complex64"),
    "switches": ({"x": X > 0.5}, "torch.bool"),
    "32 bits": ({"x": (X * 255).int()}, "torch.int32; give torch.uint8 (0 to 255), torch.uint16 (0 to 65535) or"),
    "NaN": ({"x": X * torch.nan}, "12 of the train images hold NaN or infinity"),
    "more than float32 holds": ({"x": X.double() * 1e300}, "hold NaN or infinity"),
    "no width": ({"x": X[..., :0]}, "none of them 0"),
    "labels of text": ({"y": list("abcabcabcabc")}, "train labels are a list"),
    "labels on meta": ({"y": Y.to("meta")}, "no plain tensor"),
    "one label": ({"y": torch.tensor(3)}, "labels have the shape ()"),
    "labels of 10^8": ({"y": Y * 10**8}, "199999998 of 200000001 classes have no training image"),
    "labels of 2^63": ({"y": Y + (2**63 - 5)}, "(the largest is 9223372036854775805)"),
    "labels below 0": ({"y": Y - 5}, "labels run from -5"),
    "one class": ({"y": 0 * Y}, "there is 1 class"),
    "10^9 classes": ({"classes": 10**9}, "999999997 of 1000000000 classes"),
    "10^5000 classes": ({"classes": 10**5000}, "classes is of type int; give how many"),
    "classes in words": ({"classes": "3"}, "classes is '3'"),
    "no classes": ({"classes": 0}, "classes is 0; give how many there are: at least 2"),
    "names too few": ({"class_names": ["a", "b"]}, "with 2 classes they must be in 0 to 1"),
    "names too many": ({"class_names": ["a", "b", "c", "owl"]}, "no training image (class owl)"),
    "a name twice": ({"class_names": ["a", "a", "b"]}, "give a list of different names"),
    "names in one word": ({"class_names": "abc"}, "class names are 'abc'"),
    "mean of text": ({"mean": "abc"}, "give 3 numbers each"),
    "mean of one": ({"mean": 0.5}, "give 3 numbers each"),
    "std of NaN": ({"std": [float("nan")] * 3}, "every std above 0"),
    "val NaN": ({"val": float("nan")}, "cannot hold out that many of 12"),
    "val 10^400": ({"val": 10**400}, "cannot hold out that many of 12"),
    "val in words": ({"val": "0.5"}, "the val data are a str; give a pair"),
    "val of three": ({"val": (X, Y, Y)}, "the val data are a tuple; give a pair"),
    "test of one": ({"test": (X,)}, "the test data are a tuple; give a pair"),
    "seed of a half": ({"split_seed": 1.5}, "seed is 1.5"),
    "an unknown device": ({"device": "gpu"}, "gpu cannot be used"),
    "a device that only has shapes": ({"device": "meta"}, "meta cannot be used"),
    "augmentation in words": ({"augmentation": "flip"}, "augmentation is 'flip'"),
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_that_cannot_be_used(name: str):
    about, message = TENSORS[name]
    x, y = about.get("x", X), about.get("y", Y)
    assert message in refusal(
        lambda: ImageTask.from_tensors(x, y, **{key: about[key] for key in about.keys() - {"x", "y"}})
    )


@pytest.mark.parametrize("part", [[True] * 12, [0.5], "abc", None, [[1], [2]], [2**70], 3])
def test_indices_that_are_none(part: Any):
    assert "the indices of the train split are" in refusal(lambda: ImageTask(X, Y, {"train": part, "val": [1]}))


class Given(Dataset[Any]):
    """A data set of one thing, again and again."""

    def __init__(self, item: Any, length: Any = 12) -> None:
        self.item, self.length = item, length

    def __len__(self) -> Any:
        return self._or_raised(self.length)

    def __getitem__(self, index: int) -> Any:
        return self._or_raised(self.item)

    @staticmethod
    def _or_raised(what: Any) -> Any:
        if isinstance(what, BaseException):
            raise what
        return what


class Endless(IterableDataset[Any]):
    """What has no items to ask for."""

    def __iter__(self) -> Iterator[Any]:
        yield X[0], 0

    def __len__(self) -> int:
        return 12


class Evil:
    """What cannot even be written down."""

    def __int__(self) -> int:
        raise KeyError("evil")

    def __repr__(self) -> str:
        raise RuntimeError("evil")


IMAGE = Image.new("RGB", (4, 4))

DATASETS: dict[str, tuple[Any, str]] = {
    "a loader": (DataLoader(TensorDataset(X, Y)), "are a DataLoader; give the data set in it"),
    "an iterable": (Endless(), "are an iterable data set; give a map-style one"),
    "None": (None, "NoneType without a length"),
    "a class": (Given, "without a length"),
    "splits": ({"train": 1}, "item 0 of the train data cannot be had: dict raised KeyError: 0"),
    "no length": (Given((IMAGE, 0), NotImplementedError("none")), "length of the train data cannot be had: NotImpl"),
    "half a length": (Given((IMAGE, 0), 2.5), "without a length"),
    "a length below 0": (Given((IMAGE, 0), -1), "cannot be had: ValueError"),
    "a length of 10^30": (Given((IMAGE, 0), 10**30), "cannot be had: OverflowError"),
    "a length of 10^12": (Given((IMAGE, 0), 10**12), "1000000000000 images of the train data take"),
    "nothing": (Given((IMAGE, 0), 0), "the train data are empty"),
    "an error": (Given(KeyError("x")), "item 0 of the train data cannot be had: Given raised KeyError: 'x'"),
    "a long error": (Given(RuntimeError("a\nb" * 10_000)), "raised RuntimeError: a ba b"),
    "an exit": (Given(SystemExit(0)), "raised SystemExit: 0"),
    "a generator's exit": (Given(GeneratorExit()), "raised GeneratorExit"),
    "an end": (Given(StopIteration()), "raised StopIteration"),
    "items of None": (Given(None), "item 0 of the train data is a NoneType; give a pair"),
    "items of three": (Given((IMAGE, 0, 0)), "is a tuple of 3; give a pair"),
    "items of text": (Given("ab"), "is a str; give a pair"),
    "items by name": (Given({"image": IMAGE, "label": 0}), "is a dict; give a pair"),
    "a path": (Given((Path("cat.png"), 0)), "has as image a PosixPath"),
    "a label of text": (Given((IMAGE, "cat")), "has the label 'cat'"),
    "a long label": (Given((IMAGE, "x" * 10**5)), "xxx...xxx"),
    "no label": (Given((IMAGE, None)), "has the label None"),
    "an endless label": (Given((IMAGE, float("inf"))), "has the label inf"),
    "a label of 2^70": (Given((IMAGE, 2**70)), "has the label 1180591620717411303424"),
    "two labels": (Given((IMAGE, torch.tensor([1, 2]))), "has the label tensor([1, 2])"),
    "a label of no kind": (Given((IMAGE, Evil())), "has the label of type Evil"),
    "floats above 1": (Given((Image.new("F", (4, 4), 255), 0)), "values of mode F"),
    "32 bits": (Given((Image.new("I", (4, 4), 70000), 0)), "values of mode I"),
    "half a JPEG": (Given((Image.open(io.BytesIO(cut("JPEG", 900))), 0)), "damaged image (image file is truncated"),
    "an array of objects": (Given((np.array([[object()]]), 0)), "ndarray of object"),
    "an array of times": (Given((np.zeros((4, 4), "M8[s]"), 0)), "ndarray of datetime64[s]"),
    "one row": (Given((X[0, 0, 0], 0)), "have the shape (12, 4)"),
    "sparse": (Given((X[0].to_sparse(), 0)), "pixels of item 0 of the train data are no plain tensor"),
    "grey after colour": ([(IMAGE, 0), (IMAGE.convert("L"), 1)], "item 1 of the train data is (1, 4, 4)"),
}


@pytest.mark.parametrize("name", DATASETS)
def test_a_data_set_that_cannot_be_used(name: str):
    dataset, message = DATASETS[name]
    assert message in refusal(lambda: ImageTask.from_dataset(dataset))


def test_images_that_require_gradients_are_taken_without():
    task = ImageTask.from_tensors(X.clone().requires_grad_(), Y)
    assert not task.batches("val", 12)[0][0].requires_grad
    assert task.describe()["sha256"] == ImageTask.from_tensors(X, Y).describe()["sha256"]


def head(shape: tuple[int, ...], kind: str = "|u1") -> bytes:
    """Return the head of an npy file that promises an array."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
    return file.getvalue()


PIXELS, LABELS = head((60, 768)) + bytes(60 * 768), head((60,), "<i8") + np.arange(1, 61).tobytes()


def packed(data: bytes = PIXELS, labels: bytes = LABELS, how: int = zipfile.ZIP_STORED) -> bytes:
    """Return an npz file of two arrays, as they are written."""
    with zipfile.ZipFile(file := io.BytesIO(), "w", how) as archive:
        archive.writestr("data.npy", data)
        archive.writestr("labels.npy", labels)
    return file.getvalue()


NPZ = {
    "nothing": b"",
    "text": b"hello",
    "an npy": PIXELS,
    "a pickle": pickle.dumps({"data": 1}),
    "an empty archive": packed()[-22:],
    "cut": packed()[:9000],
    "2^45 rows": packed(head((2**45, 768)) + bytes(10)),
    "2^45 rows of zeros": packed(head((2**45, 768)) + bytes(10**6), how=zipfile.ZIP_DEFLATED),
    "2^45 labels": packed(labels=head((2**45,), "<i8")),
    "2^70 rows": packed(head((2**70, 2**70))),
    "rows below 0": packed(head((-1, 768)) + b"x"),
    "a pickle inside": packed(head((3,), "|O") + pickle.dumps([1])),
    "labels of text": packed(labels=head((60,), "<U1") + bytes(240)),
    "labels with halves": packed(labels=head((60,), "<f8") + bytes(480)),
    "a deep head": packed(b"\x93NUMPY\x01\x00" + struct.pack("<H", 60000) + b"(" * 60000),
    "a later version": packed(b"\x93NUMPY\x09\x00" + PIXELS[8:]),
}


@pytest.fixture(scope="module")
def imagenet16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with ImageNet16-120, of which one file is to be replaced."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "imagenet16").mkdir()
    for name in (*(f"train_data_batch_{k}" for k in range(1, 11)), "val_data"):
        (folder / "imagenet16" / f"{name}.npz").write_bytes(packed())
    return folder


@pytest.mark.parametrize("name", NPZ)
def test_an_npz_that_is_damaged_or_promises_too_much(imagenet16: Path, name: str):
    (path := imagenet16 / "imagenet16" / "train_data_batch_1.npz").write_bytes(NPZ[name])
    assert f"cannot read {path}: " in refusal(lambda: load("imagenet16-120", folder=imagenet16))


def idx(*shape: int, kind: bytes = b"\0\0\x08", values: int = 0) -> bytes:
    return kind + bytes([len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + bytes(values)


IDX = {
    "nothing": b"",
    "2^96 pixels": idx(*[2**32 - 1] * 3, values=99),
    "255 sizes": idx(*[1] * 255, values=1),
    "no size": b"\0\0\x08\0x",
    "one byte more": idx(4, 28, 28, values=4 * 784 + 1),
    "one byte less": idx(4, 28, 28, values=4 * 784 - 1),
    "floats": idx(4, 28, 28, kind=b"\0\0\x0d", values=4 * 784),
}


@pytest.mark.parametrize("name", IDX)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_an_idx_that_promises_something_else(tmp_path: Path, name: str, suffix: str):
    (tmp_path / "mnist").mkdir()
    for file in FILES:
        (tmp_path / "mnist" / (file + suffix)).write_bytes(gzip.compress(IDX[name]) if suffix else IDX[name])
    assert "its header and length are not those of an idx file" in refusal(lambda: load("mnist", folder=tmp_path))


COMMANDS = {
    "--data ''": "an empty word after --data",
    f"--data {'x' * 100_000}": "unknown data set 'xxx",
    "--data photos": "1 of what is in photos cannot be used: damaged image: cat/a.png",
    "--data photos --image-size 99999999": "give a smaller --image-size, or a folder of fewer images",
    "--data digits --skip-bad": "--skip-bad is for folders of images; digits",
    "--data photos/cat": "has 0 class folders",
    "--data photos/cat/a.png": "unknown data set",
}


@pytest.mark.parametrize("flags", COMMANDS, ids=range(len(COMMANDS)))
def test_a_command_line_with_such_data(refused: Any, tmp_path: Path, flags: str):
    put("cat/a.png", cut("PNG", 900))(tmp_path / "photos")
    refused(f"search nats-topology --strategy gdas {flags} --channels 4 --cells 1 --epochs 1", COMMANDS[flags])


@pytest.mark.parametrize("seed", range(6))
def test_images_damaged_anywhere_are_left_out_or_read(tmp_path: Path, seed: int):
    """A byte changed, cut or put in: whatever Pillow raises, the folder is read with `skip_bad`."""
    rng = np.random.default_rng(seed)
    draw(tmp_path, "cat dog", n=4)
    for number, kind in enumerate(("PNG", "JPEG", "GIF", "TIFF", "BMP", "PPM", "WEBP", "ICO", "JPEG2000", "TGA") * 3):
        whole = bytearray(cut(kind, 10**6))
        place = int(rng.integers(len(whole) if seed % 2 else 100))
        whole[place : place + int(rng.integers(3))] = rng.bytes(int(rng.integers(4)))
        (tmp_path / "cat" / f"{number}.img").write_bytes(whole[: None if seed % 3 else -int(rng.integers(1, 999))])
    task = load(tmp_path, options=ImageOptions(image_size=4, skip_bad=True))
    assert task.class_names == ("cat", "dog")
    assert 8 <= task.count("train+val") + task.count("test") <= 38
