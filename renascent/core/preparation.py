"""How an image becomes the input of a network: what was done to those that it learnt from."""

from dataclasses import dataclass
from typing import Annotated

from renascent.core.errors import UserError
from renascent.core.fields import Count, OneOf

PIXELS = ("uint8", "unit", "other")
"""Kinds of values that a network learnt from: whole numbers from 0 to 255, floats from 0 to 1, other floats."""

COLOURS = {1: "grey", 3: "RGB"}
"""Channels -> what images of so many are."""


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What was done to the images that a network learnt from, so that others can be prepared alike.

    Args:
        class_names: In the order of the logits.
        size: Of an image, (h, w) in pixels.
        resized: Whether images were scaled to cover that size and cut at the centre; otherwise all of them had it.
        pixels: Kind of the values that were given, one of `PIXELS`.
        mean: Of each channel, of 8-bit values in [0, 1].
        std: Deviation of each channel, likewise.

    >>> Preparation(class_names=("cat", "dog"), size=(32, 32), mean=(0.5,), std=(0.2,)).colour
    'grey'
    """

    class_names: tuple[str, ...]
    size: tuple[Count, Count]
    resized: bool = False
    pixels: Annotated[str, OneOf("kind of pixels", PIXELS)] = "uint8"
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.mean:
            raise ValueError(f"mean has {len(self.mean)} channels and std {len(self.std)}")

    @property
    def channels(self) -> int:
        """Channels of an image."""
        return len(self.mean)

    @property
    def colour(self) -> str | None:
        """What an image of so many channels is; None where that is no picture."""
        return COLOURS.get(self.channels)

    def check_pictures(self) -> None:
        """Raise UserError unless it is known how a picture of 8 bits becomes an input."""
        if self.colour is None:
            raise UserError(
                f"the network takes {self.channels} channels, which no picture has: "
                "prepare its inputs as for the training"
            )
        if self.pixels == "other":
            raise UserError(
                "the network learnt from floats beyond 0 to 1, and how your code makes them of a picture is not known: "
                "prepare its inputs as for the training, or train on images of 8 bits"
            )
