"""What a command is, and the settings that several share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from renascent.cli.flags import Part
from renascent.core.errors import UserError, unknown
from renascent.core.files import Json, read_json
from renascent.experiment.recipes import RECIPES
from renascent.experiment.recipes.recipe import Recipe
from renascent.experiment.result import Result
from renascent.tasks.images import ImageTask
from renascent.tasks.load import load
from renascent.tasks.prepare import ImageOptions

DATA_FILE = "data.json"
"""In a run folder: which data the search was on, so that `fit` and `export` find the same."""


@dataclass(frozen=True)
class Outcome:
    """What a command has to say. facts: with --json.  text: without."""

    facts: Json
    text: str


@dataclass(frozen=True)
class Command:
    """One command, ready to be parsed.

    about: for its help.  parts: its flags.  run: given the word and the values of the flags.
    place, place_help: name and meaning of its one word, if it takes one.
    chosen: the words that chose these flags.
    second, second_help: name and meaning of one more word, if it takes two; it comes with the values of the flags.
    """

    about: str
    parts: Sequence[Part[Any]]
    run: Callable[[str | None, Mapping[str, Any]], Outcome]
    place: str = ""
    place_help: str = ""
    chosen: tuple[str, ...] = ()
    second: str = ""
    second_help: str = ""


@dataclass(frozen=True, kw_only=True)
class Output:
    """How the outcome is told.

    json: print one JSON object on standard output.
    """

    json: bool = False


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where the work is done.

    device: cpu, cuda or cuda:1 (the second GPU).
    threads: of the processor.
    download: fetch the data set's official files if they are not there.
    """

    device: str = "cpu"
    threads: int = 1
    download: bool = False

    def ready(self) -> torch.device:
        """Set the threads, and return the device. Raises UserError when it cannot be used."""
        torch.set_num_threads(self.threads)
        try:
            return torch.empty(1, device=self.device).device
        except (RuntimeError, AssertionError, NotImplementedError) as e:
            reason = str(e).strip().partition("\n")[0]
            usable = ", ".join(["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
            raise UserError(f"--device {self.device} cannot be used ({reason}): here there is {usable}") from None

    def task(self, data: str, options: ImageOptions) -> ImageTask:
        """Return the task of a data set or folder. Raises UserError when data or device cannot be used."""
        return load(data, options=options, device=self.ready(), download=self.download)


def recipe_of(given: str | None, kind: str) -> Recipe | None:
    """Return the recipe of a name, None for None. Raises UserError unless it is one of a `kind`: "search", "fit"."""
    if given is None:
        return None
    fitting = [name for name, recipe in RECIPES.items() if getattr(recipe, kind) is not None]
    if given in RECIPES and given not in fitting:
        other = "search" if kind == "fit" else "fit"
        raise UserError(f"recipe '{given}' is one of `renascent {other}`; those of {kind} are {', '.join(fitting)}")
    if given not in fitting:
        raise unknown("recipe", given, fitting)
    return RECIPES[given]


def remembered(folder: Path) -> tuple[str, ImageOptions]:
    """Return the data of the search in a folder, by name or folder, and their options.

    Raises UserError when the search was not started by the command line.
    """
    if not (folder / DATA_FILE).exists():
        raise UserError(f"{folder} does not say which data it searched on: give --data NAME_OR_FOLDER")
    held = read_json(folder / DATA_FILE)
    try:
        return str(held["data"]), ImageOptions(**held["options"])
    except (KeyError, TypeError) as e:
        raise UserError(f"{folder / DATA_FILE} cannot be read ({e}): repeat the search, or give --data") from None


def facts_of(result: Result, page: Path) -> Json:
    """Return what --json prints of a result. page: its report."""
    return {"folder": str(result.folder), "report": str(page), **result.facts, "fit": result.fitted}


def finished(folder: str | None, command: str) -> Path:
    """Return the folder a command was given. Raises UserError for none."""
    if folder is None:
        raise UserError(f"which search? write `renascent {command} DIR`, DIR being the --out of a finished search")
    return Path(folder)
