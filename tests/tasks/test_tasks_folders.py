"""Folders of images, and every way in which they cannot be used."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from renascent.core.errors import UserError
from renascent.loops.run import Run
from renascent.tasks import memory
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


def spoil(small: Any, root: Path) -> None:
    """Add to a folder what cannot be used: of every kind one."""
    top = root / "train" if (root / "train").exists() else root
    (top / "notes.txt").write_text("hello")
    (top / "dog" / "notes.txt").write_text("hello")
    whole = (top / "dog" / "3.png").read_bytes()
    (top / "dog" / "half.png").write_bytes(whole[: len(whole) // 2])
    (top / "dog" / "empty.png").touch()
    (top / "dog" / "old").mkdir()
    (top / "emu").mkdir()
    (top / "fox").mkdir()
    (top / "fox" / "0.png").write_text("no image at all")
    os.mkfifo(top / "cat" / "pipe.png")
    (top / "cat" / "loop.png").symlink_to("loop.png")


SPOILT = (
    "no regular file: cat/loop.png, cat/pipe.png; folder inside a class: dog/old; "
    "beside the class folders: notes.txt; no image that Pillow can read: dog/empty.png, dog/notes.txt, fox/0.png; "
    "damaged image: dog/half.png (image file is truncated); class without an image: emu, fox"
)


def test_all_that_cannot_be_used_is_listed_at_once(small: Any, tmp_path: Path):
    root = write_folder(small, tmp_path / "pets")
    (root / ".hidden").touch()
    spoil(small, root)
    with pytest.raises(UserError) as error:
        load(root)
    told = f"10 of what is in {root} cannot be used: {SPOILT}"
    advice = "(skipped in any case: .hidden); repair or remove these, or leave them out with `skip_bad=True`"
    assert str(error.value) == f"{told} {advice}"


@pytest.mark.parametrize("inside", ["", "train"])
def test_skip_bad_goes_on_and_says_what_it_left_out(small: Any, tmp_path: Path, inside: str):
    root = write_folder(small, tmp_path / "pets" / inside)
    write_folder(small, tmp_path / "same" / inside)
    spoil(small, root)
    task = load(tmp_path / "pets", options=ImageOptions(skip_bad=True))
    alike = load(tmp_path / "same")
    told = task.source if not inside else task.source.replace("train/", "")
    assert f"10 left out ({SPOILT})" in told
    assert task.class_names == alike.class_names == ("cat", "dog")
    for split in ("train", "val"):
        for a, b in zip(small.in_order(task, split), small.in_order(alike, split), strict=True):
            assert np.array_equal(a, b)


def test_the_run_folder_knows_class_names_and_an_older_one_without_them_goes_on(small: Any, tmp_path: Path):
    task = load(write_folder(small, tmp_path / "pets"))
    config = {"task": task.describe()}
    assert config["task"]["class_names"] == ["cat", "dog"]
    older = {"task": {key: value for key, value in config["task"].items() if key != "class_names"}}
    Run.start(tmp_path / "run", older)
    Run.start(tmp_path / "run", config, resume=True)
    with pytest.raises(UserError, match="another configuration"):
        Run.start(tmp_path / "run", {"task": {**config["task"], "classes": 3}}, resume=True)
    Run.start(tmp_path / "new", config)
    with pytest.raises(UserError, match=r"task.class_names was \['cat', 'dog'\], now \['cat', 'emu'\]"):
        Run.start(tmp_path / "new", {"task": {**config["task"], "class_names": ["cat", "emu"]}}, resume=True)


@pytest.mark.parametrize(
    ("names", "counts"),
    [
        (("train", "valid"), (12, 4, 0)),
        (("Train", "VALIDATION", "Testing"), (12, 4, 6)),
        (("TRAINING", "Val", "test"), (12, 4, 6)),
        (("train", "testing"), (6, 6, 4)),
    ],
)
def test_splits_are_known_by_the_names_people_give_them(
    small: Any, tmp_path: Path, names: tuple[str, ...], counts: tuple[int, ...]
):
    for name, n in zip(names, (6, 2, 3) if len(names) > 2 else (6, 2), strict=True):
        write_folder(small, tmp_path / name, n=n)
    (tmp_path / "README.txt").write_text("skipped, as it lies beside the splits")
    task = load(tmp_path)
    assert tuple(task.count(split) for split in ("train", "val", "test")) == counts
    if counts[1] == 4:
        x, _ = small.in_order(task, "val")
        assert {image.tobytes() for image in x} == {
            small.pixels(1, 6, 6, 3, seed=100 * k + i)[0].transpose(2, 0, 1).tobytes() for k in (0, 1) for i in (0, 1)
        }


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ("train", "extra", "more"),
            "has train/, and extra/, more/ is no split: rename it to one of train, training, val",
        ),
        (("valid", "test"), "has test/, valid/ and no train/"),
        (("train", "val", "valid"), "val/ and valid/ in .* are both the val split"),
        (("train", "Training"), "Training/ and train/ in .* are both the train split"),
        (("cat", "dog", "test"), "has test/ and no train/"),
    ],
)
def test_a_folder_that_is_no_split_is_refused_by_name(small: Any, tmp_path: Path, names: tuple[str, ...], message: str):
    for name in names:
        write_folder(small, tmp_path / name, n=2)
    with pytest.raises(UserError, match=message):
        load(tmp_path)


def test_an_image_above_pillows_limit_is_refused_by_its_pixels(
    small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    root = write_folder(small, tmp_path / "pets")
    Image.new("1", (20, 10)).save(root / "cat" / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 90)
    with pytest.raises(
        UserError, match=r"too large for Pillow: cat/large.png \(Image size \(200 pixels\) exceeds limit of 180"
    ):
        load(root, options=ImageOptions(image_size=6))
    assert load(root, options=ImageOptions(image_size=6, skip_bad=True)).count("test") == 4


def test_a_folder_of_mixed_modes_is_read_as_it_looks(small: Any, tmp_path: Path):
    """One image of each kind, all of one colour: what comes out is that colour, and what was done is said."""
    root = write_folder(small, tmp_path / "pets", n=2, size=4)
    for k, (image, _) in enumerate(KINDS):
        image.save(root / "cat" / f"kind{k}.tif")
    task = load(root, options=ImageOptions(image_size=4))
    x = np.concatenate([small.in_order(task, split)[0] for split in ("train+val", "test")])
    flat = {tuple(image[:, 0, 0].tolist()) for image in x if len(np.unique(image.reshape(3, -1), axis=1).T) == 1}
    assert flat == {colour for _, colour in KINDS}
    assert "transparent pixels put on white in 1 of 11 images" in task.source


KINDS = (
    (Image.fromarray(np.full((5, 4), 20000, np.uint16)), (78, 78, 78)),
    (Image.fromarray(np.full((5, 4), 40000, np.int32)), (156, 156, 156)),
    (Image.fromarray(np.full((5, 4), 0.2, np.float32)), (51, 51, 51)),
    (Image.new("L", (4, 6), 33), (33, 33, 33)),
    (Image.new("CMYK", (4, 6), (255, 0, 0, 0)), (0, 255, 255)),
    (Image.new("RGBA", (4, 6), (1, 2, 3, 0)), (255, 255, 255)),
    (Image.new("P", (4, 6)), (0, 0, 0)),
)


def test_a_folder_with_too_few_images_for_a_test_split_says_so(small: Any, tmp_path: Path):
    root = write_folder(small, tmp_path / "pets", n=1)
    with pytest.raises(UserError, match=r"pets has too few images for a test split \(.*\): add some, or give train/"):
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
    monkeypatch.setattr(memory, "memory", lambda: 2.0 * 20 * 6 * 6 * 3 - 1)
    with pytest.raises(
        UserError, match=r"twice that while they are read, .*: give a smaller `image_size`, or a folder"
    ):
        load(root)
    monkeypatch.setattr(memory, "memory", lambda: 2.0 * 20 * 6 * 6 * 3)
    assert load(root).count("test") == 4
