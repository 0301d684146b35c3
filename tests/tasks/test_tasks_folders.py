"""Folders of images, and every way in which they cannot be used."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from renascent.core.errors import UserError
from renascent.tasks import folders
from renascent.tasks.load import load
from renascent.tasks.prepare import ImageOptions


def write_folder(
    small: Any,
    root: Path,
    classes: tuple[str, ...] = ("cat", "dog"),
    n: int = 10,
    size: int = 6,
    mode: str = "RGB",
) -> Path:
    for k, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(n):
            image = Image.fromarray(small.pixels(1, size, size, 3, seed=100 * k + i)[0]).convert(mode)
            image.save(root / name / f"{i}.png")
    return root


def test_a_folder_of_classes(small: Any, tmp_path: Path):
    root = write_folder(small, tmp_path / "pets")
    (root / ".hidden").write_text("skipped")
    (root / "cat" / ".DS_Store").write_text("skipped")
    task = load(root, options=ImageOptions(val=0.25))
    assert repr(task) == f"ImageTask(pets: 3x6x6, 2 classes; train 12, val 4, test 4; on {task.device})"
    assert task.class_names == ("cat", "dog")
    assert "stratified fifth" in task.source
    got = {image.tobytes() for split in ("train+val", "test") for image in small.in_order(task, split)[0]}
    expected = {
        small.pixels(1, 6, 6, 3, seed=100 * k + i)[0].transpose(2, 0, 1).tobytes() for k in (0, 1) for i in range(10)
    }
    assert got == expected


def test_a_folder_with_splits(small: Any, tmp_path: Path):
    for split, n in (("train", 6), ("val", 2), ("test", 3)):
        write_folder(small, tmp_path / split, n=n, mode="L")
    task = load(str(tmp_path))
    assert (task.channels, task.count("train"), task.count("val"), task.count("test")) == (1, 12, 4, 6)
    assert small.in_order(task, "test")[1].tolist() == [0, 0, 0, 1, 1, 1]
    with pytest.raises(UserError, match="has no official search split"):
        load(str(tmp_path), options=ImageOptions(split="official"))


def test_a_folder_with_train_only_has_no_test_split(small: Any, tmp_path: Path):
    write_folder(small, tmp_path / "train")
    task = load(tmp_path)
    assert (task.count("train"), task.count("val"), task.count("test")) == (10, 10, 0)


def test_grey_among_colour_becomes_colour_and_sizes_are_made_equal(small: Any, tmp_path: Path):
    root = write_folder(small, tmp_path / "pets")
    Image.new("L", (9, 20), 77).save(root / "cat" / "grey.png")
    with pytest.raises(UserError, match=r"grey.png is 9x20 pixels and .*0.png is 6x6; give one size with `image_size`"):
        load(root)
    task = load(root, options=ImageOptions(image_size=8))
    assert (task.channels, task.size) == (3, (8, 8))
    assert any((image == 77).all() for split in ("train+val", "test") for image in small.in_order(task, split)[0])


def test_a_class_that_train_does_not_have_is_named(small: Any, tmp_path: Path):
    write_folder(small, tmp_path / "train", ("cat", "dog"))
    write_folder(small, tmp_path / "test", ("cat", "emu"))
    with pytest.raises(UserError, match=r"emu is a class that train/ does not have; it has cat, dog"):
        load(tmp_path)


def test_read_folder_names_a_file_that_is_no_image(small: Any, tmp_path: Path):
    root = write_folder(small, tmp_path / "pets")
    (root / "notes.txt").write_text("hello")
    with pytest.raises(UserError, match=r"notes.txt lies beside the class folders"):
        load(root)
    (root / "notes.txt").rename(root / "dog" / "notes.txt")
    with pytest.raises(UserError, match=r"notes.txt is not an image that Pillow can read; move it away"):
        load(root)
    (root / "dog" / "notes.txt").unlink()
    whole = (root / "dog" / "3.png").read_bytes()
    (root / "dog" / "3.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"3.png is a damaged image"):
        load(root)


def test_empty_folders_and_single_classes_are_refused(tmp_path: Path):
    (tmp_path / "cat").mkdir()
    with pytest.raises(UserError, match=r"has 1 class folders; give at least 2: .*/CLASS/IMAGE.png"):
        load(tmp_path)
    (tmp_path / "dog").mkdir()
    with pytest.raises(UserError, match="has no images; put them at"):
        load(tmp_path)
    with pytest.raises(UserError, match="image_size is -1: give a number of at least 0"):
        load(tmp_path, options=ImageOptions(image_size=-1))


def test_more_images_than_the_memory_holds_are_refused_before_they_are_read(
    small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    root = write_folder(small, tmp_path / "pets")
    monkeypatch.setattr(folders, "_memory", lambda: 2.0 * 20 * 6 * 6 * 3 - 1)
    with pytest.raises(
        UserError, match=r"twice that while they are read, .*: give a smaller `image_size`, or a folder"
    ):
        load(root)
    monkeypatch.setattr(folders, "_memory", lambda: 2.0 * 20 * 6 * 6 * 3)
    assert load(root).count("test") == 4
