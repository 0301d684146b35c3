"""`renascent fit`: train the network that a search found."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from renascent.cli.commands.command import (
    DISTILLATION,
    FIT,
    MACHINE,
    OPTIONS,
    OUTPUT,
    Command,
    check_data,
    folder_of,
    recipe_of,
    training_of,
)
from renascent.cli.flags import Part, chosen, glance, keys
from renascent.core.bounds import read_budget
from renascent.core.errors import UserError
from renascent.core.fields import Whole, settings
from renascent.core.files import read_json
from renascent.core.names import short
from renascent.core.outside import made
from renascent.nets import OTHERS, SPACES
from renascent.results.trainings import NAME, SEVERAL, training_folder

ABOUT = """Train the network that a search found on all training images, and test it.

The data are those of the search, with the same options, unless flags say otherwise. So is the network: the flags of its
space, shown once the folder is named, make it a wider or deeper one with the same decisions."""

REFERENCE = "reference"


@settings
class FitFlags:
    """What to train.

    Args:
        data: name of a data set, or a folder of images; that of the search if not given.
        name: of this training, which then lies in fits/NAME beside others of the same network; `report` compares them.
        teacher: folder of a trained search whose network teaches too (DIR/fits/NAME: of that training), or `reference`:
            the space's reference network, trained first with the same settings.
        init: where weights start: `fresh`, `shared` (those of the search, trained on at a lower rate), or `reference`
            (leading slices of its weights).
        random_cells: so many random architectures are trained identically, for comparison; inside the search's budget.
        uniform: the reference scaled to the search's budget is trained identically, too, unless it is the result.
        magnitude: your own model pruned by magnitude to the search's budget is, too, unless it is the result.
        widen: a budget, as in `params<=3M`: the network trained is the widest of the same decisions that keeps it.
        prune: leave out operations that no path from input to output uses.
        seed: of everything random.
        resume: go on with an interrupted training.
        factory: of a search of your own model, package.module:function that makes it; needed only if it was searched
            elsewhere, or its file has changed since.
        space: of a search of a space of your own, package.module:Class; not needed where an installed package adds it.
        recipe: take a paper's settings (`renascent list`); flags given beside it come first.
    """

    data: str | None = None
    name: Annotated[str, NAME] | None = None
    teacher: str | None = None
    init: str = "fresh"
    random_cells: Whole = 0
    uniform: bool = False
    magnitude: bool = False
    widen: str | None = None
    prune: bool = False
    seed: Whole = 0
    resume: bool = False
    factory: str | None = None
    space: str | None = None
    recipe: str | None = None


def command(words: Sequence[str]) -> Command:
    """Return the command, its defaults those of the recipe that `words` name. Raises UserError for an unknown one.

    A recipe of distillation has the reference as teacher.
    """
    options = Part("Data (as in the search, unless given)", OPTIONS(), blank=True)
    common = [Part("", FitFlags()), Part("", FIT()), Part("", DISTILLATION()), options, MACHINE]
    alone, given = glance(words, common)
    recipe = recipe_of(given.get("--recipe"), "fit")
    distillation = recipe and recipe.distillation
    parts = {
        "flags": Part("Fit", FitFlags(teacher=REFERENCE if distillation else None)),
        **_network(alone, given.get("--space"), [*common, OUTPUT]),
        "training": Part("Training", training_of(given, recipe.fit if recipe else FIT())),
        "distillation": Part("Distillation (with a teacher)", distillation or DISTILLATION()),
        "options": options,
        "machine": MACHINE,
    }
    return Command(run="renascent.cli.work.fit:run", parts=parts, check=_check, **folder_of("fit"))


def _network(words: Sequence[str], space: str | None, others: Sequence[Part]) -> dict[str, Part]:
    """Return the flags of the space that was searched; nothing where there is none by name.

    space: the class of a space of the user's own, which the folder does not choose.
    """
    name = ""
    with contextlib.suppress(UserError, AttributeError):
        name = str(read_json(Path(words[0]) / "arch.json").get("space")) if words else ""
    if name in SPACES:
        settings = chosen("space", SPACES, name)
    elif kind := OTHERS.find(space) if space else OTHERS.installed_at(name):
        settings = made(kind)
    else:
        return {}
    title = f"Network of {name} (as in the search, unless given)"
    taken = keys(*(part.settings for part in others))
    return {"network": Part(title, settings, short(name).lower(), taken, blank=True)}


def _check(flags: FitFlags, words: Sequence[str | None], values: Mapping[str, Any]) -> None:
    """Raise UserError for a search that is trained already, for data, and flags without a teacher."""
    folder = training_folder(Path(str(words[0])), flags.name)
    if (folder / "config.json").exists() and not flags.resume:
        other = "another --name" if flags.name else f"this one a --name, which puts it into {SEVERAL}/NAME"
        raise UserError(f"{folder} holds a training already: add --resume to go on with it, or give {other}")
    given = ", ".join(flag.name for flag in Part("", DISTILLATION()).flags() if values.get(flag.key) is not None)
    if given and flags.teacher is None:
        raise UserError(f"{given} without a teacher: add --teacher DIR or --teacher {REFERENCE}")
    if flags.widen is not None:
        read_budget(flags.widen)
        if values.get("channels") is not None:
            raise UserError("--widen chooses the channels, and --channels gives them: leave one of them out")
    if flags.data is not None:
        check_data(flags.data)
