"""What an image looks like in 8 bits: each mode against values worked out by hand."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from renascent.core.errors import UserError
from renascent.tasks.images import ImageTask
from renascent.tasks.pixels import ANIMATED, TRANSPARENT, Unreadable, read_image, shown, to_eight_bits


def pixels(image: Image.Image) -> list[list[int]]:
    """Each pixel of an image as it is shown, row by row."""
    x = np.asarray(shown(image)[0])
    return x.reshape(x.shape[0] * x.shape[1], -1).tolist()


def of_mode(mode: str, *values: object) -> Image.Image:
    """One row of pixels of a mode."""
    image = Image.new(mode, (len(values), 1))
    image.putdata(values)
    return image


@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_sixteen_bits_are_scaled_by_their_range(tmp_path: Path, order: str):
    deep = Image.fromarray(np.array([[0, 20000, 40000, 65535]], order))
    assert pixels(deep) == [[0], [78], [156], [255]]
    deep.save(tmp_path / "deep.tif")
    Image.fromarray(np.array([[0, 20000, 40000, 65535]], np.uint16)).save(tmp_path / "deep.png")
    for name in ("deep.tif", "deep.png"):
        assert np.asarray(read_image(tmp_path / name)[0]).tolist() == [[0, 78, 156, 255]]


def test_every_number_of_sixteen_bits_is_rounded():
    values = np.arange(65536)
    assert np.array_equal(to_eight_bits(values), np.rint(values / 257).astype(np.uint8))


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (of_mode("I", 0, 20000, 40000, 65535), [[0], [78], [156], [255]]),
        (of_mode("F", 0.0, 0.25, 0.5, 1.0), [[0], [64], [128], [255]]),
        (of_mode("1", 0, 255), [[0], [255]]),
        (of_mode("L", 3, 200), [[3], [200]]),
        (of_mode("CMYK", (0, 0, 0, 0), (255, 0, 0, 0), (0, 0, 0, 255)), [[255] * 3, [0, 255, 255], [0, 0, 0]]),
        (of_mode("RGBA", (9, 8, 7, 255), (0, 0, 0, 0), (0, 0, 0, 128)), [[9, 8, 7], [255] * 3, [127] * 3]),
        (of_mode("LA", (9, 255), (0, 0), (0, 128)), [[9], [255], [127]]),
        (of_mode("La", (9, 255), (0, 0)), [[9], [255]]),
    ],
    ids=["I", "F", "1", "L", "CMYK", "RGBA", "LA", "La"],
)
def test_modes_look_as_they_are_meant(image: Image.Image, expected: list[list[int]]):
    assert pixels(image) == expected


def test_palettes_show_their_colours_and_their_transparency(tmp_path: Path):
    image = of_mode("P", 0, 1, 2)
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    assert pixels(image) == [[10, 20, 30], [40, 50, 60], [70, 80, 90]]
    image.save(tmp_path / "clear.png", transparency=1)
    found, said = read_image(tmp_path / "clear.png")
    assert np.asarray(found).tolist() == [[[10, 20, 30], [255, 255, 255], [70, 80, 90]]]
    assert said == {TRANSPARENT}


@pytest.mark.parametrize(
    ("image", "clear", "expected"),
    [
        (of_mode("L", 5, 6), 6, [[5, 255]]),
        (of_mode("RGB", (1, 2, 3), (4, 5, 6)), (1, 2, 3), [[[255, 255, 255], [4, 5, 6]]]),
        (Image.fromarray(np.array([[257, 514]], np.uint16)), 257, [[255, 2]]),
    ],
    ids=["L", "RGB", "I;16"],
)
def test_one_colour_can_be_transparent(tmp_path: Path, image: Image.Image, clear: object, expected: object):
    image.save(tmp_path / "one.png", transparency=clear)
    assert np.asarray(read_image(tmp_path / "one.png")[0]).tolist() == expected


def test_an_opaque_channel_is_no_transparency():
    image, said = shown(of_mode("RGBA", (9, 8, 7, 255)))
    assert (image.mode, said) == ("RGB", set())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_its_exif_says(tmp_path: Path, orientation: int):
    """Independent of Pillow's names: EXIF says at which sides the first row and the first column are."""
    upright = np.array([[1, 2, 3], [4, 5, 6]], np.uint8) * 40
    as_stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: upright.T[::-1],
        7: upright[::-1, ::-1].T,
        8: upright.T[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    for name in ("turned.png", "turned.tif", "turned.webp"):
        how = {"lossless": True} if name.endswith("webp") else {}
        Image.fromarray(np.ascontiguousarray(as_stored)).save(tmp_path / name, exif=exif, **how)
        found = np.asarray(read_image(tmp_path / name)[0].convert("L"))
        assert np.array_equal(found, upright), name


def test_the_first_of_several_frames_is_read(tmp_path: Path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    for name in ("a.gif", "a.tif", "a.png", "a.webp"):
        frames[0].save(
            tmp_path / name, save_all=True, append_images=frames[1:], **({"lossless": True} if name == "a.webp" else {})
        )
        image, said = read_image(tmp_path / name)
        assert (image.getpixel((0, 0)), said) == ((255, 0, 0), {ANIMATED}), name


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (of_mode("I", 0, 65536), r"values of mode I that are not all in 0 to 65535 \(0 to 65536\)"),
        (of_mode("I", -1, 3), r"mode I .* \(-1 to 3\)"),
        (of_mode("F", 0.0, 255.0), r"values of mode F that are not all in 0 to 1 \(0 to 255\)"),
        (of_mode("F", 0.5, float("nan")), r"mode F .* \(nan to nan\)"),
    ],
)
def test_values_without_a_known_range_are_refused(image: Image.Image, message: str):
    with pytest.raises(Unreadable, match=message):
        shown(image)


def test_a_data_set_of_such_images_is_read_alike():
    """`from_dataset` takes images of every mode as a folder does."""
    deep = [(Image.fromarray(np.full((2, 3), 20000 * (1 + k % 2), np.uint16)), k % 2) for k in range(8)]
    arrays = [(np.asarray(image), label) for image, label in deep]
    for items in (deep, arrays):
        task = ImageTask.from_dataset(items)
        x, y = task.batches("train+val", 8)[0]
        grey = (x * task.std[0] + task.mean[0]) * 255
        assert grey.round()[:, 0, 0, 0].tolist() == [78 * (1 + label) for label in y.tolist()]
    with pytest.raises(UserError, match="item 0 of the train data has an image that cannot be used: values of mode F"):
        ImageTask.from_dataset([(of_mode("F", 2.0), 0)])
    exif = Image.Exif()
    exif[274] = 6
    tall = Image.new("RGB", (2, 5))
    tall.info["exif"] = exif.tobytes()
    assert ImageTask.from_dataset([(tall, k % 2) for k in range(8)]).size == (2, 5)
