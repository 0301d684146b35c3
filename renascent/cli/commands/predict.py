"""`renascent predict`: what a network says of pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from renascent.cli.commands.command import Command, Device, folder_of
from renascent.cli.flags import Part
from renascent.core.errors import UserError
from renascent.core.fields import Count, Range, settings
from renascent.results.trainings import NAME

ABOUT = """Say which class pictures show, by the network that a search found.

After `renascent fit` it is the trained one; before, the one with the weights of the search. Pictures are prepared as
those of the training were, which the run folder says: the data set itself is not needed. Of a folder a CSV is printed,
a line for each file in it, with the probability of every class.

As in: `renascent predict runs/mine photo.jpg`, `renascent predict runs/mine photos > classes.csv`"""


@settings
class PredictFlags:
    """What to show.

    Args:
        top: so many classes are named for each picture, the most likely first.
        skip_bad: leave out what cannot be used.
        name: of the training, as `renascent fit --name` had it; the one without a name, or the only one, if not given.
        factory: of a search of your own model, package.module:function that makes it; needed only if it was searched
            elsewhere, or its file has changed since.
        space: of a search of a space of your own, package.module:Class; not needed where an installed package adds it.
        device: cpu, cuda, cuda:1 (the second GPU), mps; auto is the first there is of cuda, mps and cpu.
        threads: of the processor.
    """

    top: Count = 3
    skip_bad: bool = False
    name: Annotated[str, NAME] | None = None
    factory: str | None = None
    space: str | None = None
    device: Device = "cpu"
    threads: Annotated[int, Range(1, 1024)] = 1


def _check(flags: PredictFlags, words: Sequence[str | None], values: Mapping[str, Any]) -> None:
    for word in words[1:]:
        if not Path(str(word)).exists():
            raise UserError(f"there is no picture {word}: name files, or folders of them")


_WHAT = folder_of("predict")
_MISSING = "which pictures? write `renascent predict DIR PICTURE...`, each a file, or a folder of them"

COMMAND = Command(
    run="renascent.cli.work.predict:run",
    words={**_WHAT["words"], "images": "Pictures, or folders of them."},
    several=True,
    parts={"flags": Part("Predict", PredictFlags())},
    needs={**_WHAT["needs"], "images": _MISSING},
    check=_check,
)
