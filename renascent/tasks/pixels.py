"""What an image looks like, in 8 bits: of any mode of Pillow, with depth, transparency and orientation seen to."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ExifTags import Base

from renascent.core.errors import UserError
from renascent.tasks.formats import brief

DEEP = 65535
"""The white of 16 bits."""

GROUND = "white"
"""The colour that transparent pixels are put on."""

TRANSPARENT, ANIMATED = f"transparent pixels put on {GROUND}", "of several frames the first"
"""What is said of images that are shown in another way than their pixels are stored."""

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what puts the image upright."""


class Unreadable(UserError):
    """An image that cannot be used. detail: what its file has of its own, beside the reason that others share."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason} ({detail})" if detail else reason)
        self.reason, self.detail = reason, detail


def read_image(path: Path, size: tuple[int, int] | None = None, mode: str = "") -> tuple[Image.Image, set[str]]:
    """Return the image in a file as `shown` does. Raises Unreadable when it cannot be used.

    size: (w, h) in pixels that it is scaled to cover, and cut to at the centre; its own unless given.
    mode: "L" or "RGB", which it then becomes; as it is unless given.
    """
    # not by its name: Pillow 13 would map a TIFF on its side into memory with width and height exchanged
    with pillow(), path.open("rb") as file, Image.open(file) as opened:
        image, said = shown(opened)
        image = image if mode in ("", image.mode) else image.convert(mode)
        return covering(image, size) if size else image, said


def covering(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return an image of another size scaled to cover `size` (w, h) and cut at the centre, bicubic.

    >>> covering(Image.new("L", (8, 4)), (2, 2)).size
    (2, 2)
    """
    return image if image.size == size else ImageOps.fit(image, size)


@contextmanager
def pillow() -> Iterator[None]:
    """Turn whatever Pillow raises into Unreadable, and let it warn of nothing."""
    with warnings.catch_warnings(action="ignore"):
        try:
            yield
        except Unreadable:
            raise
        except UnidentifiedImageError:
            raise Unreadable("no image that Pillow can read") from None
        except Image.DecompressionBombError as e:
            raise Unreadable("too large for Pillow", str(e).partition(",")[0]) from None
        except Exception as e:  # a damaged file can raise anything
            what = "cannot be opened" if getattr(e, "strerror", None) else "damaged image"
            raise Unreadable(what, brief(getattr(e, "strerror", None) or str(e) or type(e).__name__)) from None


def shown(image: Image.Image) -> tuple[Image.Image, set[str]]:
    """Return an image as a viewer shows it, grey ("L") or "RGB", and what is to be said of it.

    It is turned as its EXIF orientation says; transparent pixels lie on white; CMYK, palettes and other modes of 8 bits
    become RGB. Of 16 bits (modes I;16 and I) 65535 becomes 255, of floats (mode F) 1.

    Raises Unreadable for numbers beyond that, and for modes that Pillow cannot convert.

    >>> shown(Image.fromarray(np.array([[20000, 40000]], np.uint16)))[0].tobytes() == bytes([78, 156])
    True
    """
    said = {ANIMATED} if getattr(image, "is_animated", False) and image.format != "MPO" else set()
    image.load()
    turn = _turn(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = Image.fromarray(_eight_bits(image))
    elif image.has_transparency_data:
        grey, layer = image.mode in ("1", "L", "LA", "La"), image if image.mode != "La" else image.convert("LA")
        layer = layer.convert("RGBA")
        if layer.getchannel("A").getextrema() != (255, 255):
            layer, said = Image.alpha_composite(Image.new("RGBA", image.size, GROUND), layer), said | {TRANSPARENT}
        image = layer.convert("L" if grey else "RGB")
    elif image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    return (image if turn is None else image.transpose(turn)), said


def to_eight_bits(values: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Return whole numbers from 0 to 65535 as 0 to 255, rounded.

    >>> to_eight_bits(np.array([0, 20000, 40000, 65535])).tolist()
    [0, 78, 156, 255]
    """
    return ((values.astype(np.int32) * 255 + DEEP // 2) // DEEP).astype(np.uint8)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Return what puts an image upright; nothing where its EXIF says nothing, or cannot be read."""
    try:
        return UPRIGHT.get(image.getexif().get(Base.Orientation, 1))
    except Exception:  # damaged EXIF is no reason to lose a whole image
        return None


def _eight_bits(image: Image.Image) -> NDArray[np.uint8]:
    """Return the pixels of a mode with more than 8 bits."""
    values, most = np.asarray(image), 1 if image.mode == "F" else DEEP
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= most):  # so that NaN is refused, too
        raise Unreadable(f"values of mode {image.mode} that are not all in 0 to {most}", f"{low:g} to {high:g}")
    if isinstance(clear := image.info.get("transparency"), int) and most == DEEP:
        values = np.where(values == clear, DEEP, values)
    return (values * 255.0).round().astype(np.uint8) if most == 1 else to_eight_bits(values)
