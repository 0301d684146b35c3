"""A network that takes pictures as they are decoded, and what a file of it says about its inputs and outputs."""

import torch
from torch import Tensor, nn

from renascent.core.errors import UserError
from renascent.core.files import Json
from renascent.core.preparation import Preparation
from renascent.nets.sizes.resolution import RESOLUTION, at_resolution
from renascent.results.record import Record
from renascent.tasks.augment import normalise
from renascent.tasks.pixels import DEEP, GROUND

FORMAT = "renascent model 1"
"""What the description of a file begins with: `format`."""


class Prepared(nn.Module):
    """Normalise 8-bit pictures as those of the training were, then run `net`.

    net: takes normalised images (batch, channels, h, w).
    """

    takes = torch.uint8
    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, preparation: Preparation) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor(preparation.mean))
        self.register_buffer("std", torch.tensor(preparation.std))

    def forward(self, x: Tensor) -> Tensor:
        """Map pictures (batch, h, w, channels), 0 to 255, to logits (batch, classes)."""
        kind = next((p.dtype for p in self.net.parameters()), torch.float32)
        images = normalise(x.permute(0, 3, 1, 2), self.mean.float(), self.std.float())
        out: Tensor = self.net(images.to(kind))
        return out


def preparation_of(record: Record) -> Preparation:
    """Return how pictures become inputs of the network that a run folder has to give.

    Raises UserError where the folder does not say, or it is not known of pictures.
    """
    found = record.preparation
    if found is None:
        what = "the training in" if record.training else "the search in"
        raise UserError(
            f"{what} {record.folder} does not say how its images were prepared: an earlier version made it, or a task "
            "of your own without `preparation`; repeat it with this version"
        )
    found.check_pictures()
    return found


def prepared(record: Record) -> Prepared:
    """Return the network that a run folder has to give, which takes pictures (batch, h, w, channels) of 8 bits.

    They have the size of the data; a network of another resolution resizes them for itself.
    """
    preparation = preparation_of(record)
    return Prepared(at_resolution(record.deployable(), record.arch), preparation).eval()


def description(record: Record, *, inside: bool = False) -> Json | None:
    """Return what a file of the network says about itself; None where the folder does not say.

    inside: the file takes pictures, and normalises them itself.
    """
    p = record.preparation
    if p is None:
        return None
    (height, width), net = p.size, record.deployable()
    side = record.arch.get(RESOLUTION)
    kind = str(next((w.dtype for w in net.parameters()), torch.float32)).removeprefix("torch.")
    shape = [height, width, p.channels] if inside else [*record.trained_shape]
    return {
        "format": FORMAT,
        "task": (record.training or record.about).task,
        "input": {"name": "x", "type": "uint8" if inside else kind, "shape": ["batch", *shape]},
        "output": {"name": "logits", "type": kind, "shape": ["batch", len(p.class_names)]},
        "class_names": [*p.class_names],
        "pixels": p.pixels,
        "colour": p.colour,
        "size": [height, width],
        "resize": "cover",
        "crop": "centre",
        "interpolation": "bicubic",
        "resized_in_training": p.resized,
        "mean": [*p.mean],
        "std": [*p.std],
        "resolution": side,
        "steps": [*_decoded(p), *(_as_pixels() if inside else _normalised(p, side))],
    }


def _decoded(p: Preparation) -> list[str]:
    """Say how a file becomes a picture of 8 bits and of the network's size."""
    if p.colour is None or p.pixels == "other":
        return ["begin with values as they were given for the training: they are no pictures of 8 bits"]
    (height, width), pillow = p.size, "L" if p.colour == "grey" else "RGB"
    return [
        "turn the picture as its EXIF orientation says",
        f"bring it to 8 bits: 16-bit values times 255 / {DEEP}, floats from 0 to 1 times 255, rounded",
        f"lay transparent pixels on {GROUND}",
        f"make it {p.colour} (Pillow's mode {pillow})",
        f"unless it is {width} x {height} pixels: scale it to cover them and cut it at the centre "
        f"(Pillow's ImageOps.fit(image, ({width}, {height})), bicubic)",
    ]


def _as_pixels() -> list[str]:
    return ["give whole numbers from 0 to 255, uint8, channels last: (batch, height, width, channels)"]


def _normalised(p: Preparation, side: object) -> list[str]:
    """Say how a picture becomes the input of a network that normalises nothing itself."""
    found = [] if p.pixels == "other" else ["divide by 255"]
    found.append("subtract `mean` and divide by `std`, each channel by its own")
    found.append("put channels first: (batch, channels, height, width)")
    if side is not None:
        found.append(f"resize to {side} x {side}, bilinear, pixels at their centres, without antialiasing")
    return found
