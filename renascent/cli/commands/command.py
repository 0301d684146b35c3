"""What a command is, and what several of them share. To know their flags, no command loads torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from renascent.cli.flags import Part, chosen, glance
from renascent.core.errors import UserError, unknown
from renascent.core.fields import Count, Like, OneOf, settings
from renascent.core.files import Json
from renascent.core.names import Names
from renascent.core.source import static
from renascent.experiment.recipes.summaries import SUMMARIES
from renascent.nets import SPACES
from renascent.tasks import DATASETS

OPTIONS, FIT = static("renascent.tasks.prepare:ImageOptions"), static("renascent.loops.fit:Fit")
WEIGHTS, DISTILLATION = static("renascent.core.optimiser:WeightRule"), static("renascent.tasks.distill:Distillation")
"""Classes of settings, as their sources have them."""

Runtime = Annotated[str, OneOf("runtime", static("renascent.costs.latency.runtimes:RUNTIMES"))]
Device = Annotated[str, Like(r"(cpu|cuda|mps|xpu)(:\d+)?", "cpu, cuda or cuda:1")]


@dataclass(frozen=True)
class Outcome:
    """What a command has to say. facts: with --json.  text: without."""

    facts: Json
    text: str


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command, ready to be parsed.

    Args:
        parts: its flags; each group is an argument of `run`, by this name.
        run: "module:function" that is called with the words and the settings, and returns an Outcome.
        words: name and meaning of each word that it takes.
        chosen: the words that chose these flags.
        others: further arguments of `run`.
        check: raises UserError for what can be told from the words and the flags that were given.
    """

    parts: Mapping[str, Part[Any]] = field(default_factory=dict)
    run: str
    words: Mapping[str, str] = field(default_factory=dict)
    chosen: Sequence[str] = ()
    others: Mapping[str, Any] = field(default_factory=dict)
    check: Callable[[Sequence[str | None], Mapping[str, Any]], None] = lambda words, values: None


@settings
class Output:
    """How the outcome is shown.

    Args:
        json: print one JSON object on standard output.
    """

    json: bool = False


@settings
class Machine:
    """Where the work is done.

    Args:
        device: cpu, cuda or cuda:1 (the second GPU).
        threads: of the processor.
        download: fetch the data set's official files if they are not there.
    """

    device: Device = "cpu"
    threads: Count = 1
    download: bool = False


OUTPUT = Part[Output]("Output", Output())
MACHINE = Part[Machine]("Machine", Machine())


def space_of(words: Sequence[str], parts: Sequence[Part[Any]], names: Names[Any] = SPACES) -> list[str]:
    """Return the name of the space that the first of `words` gives, in a list; an empty one without.

    Raises UserError for one that is not in `names`.
    """
    alone, _ = glance(words, parts, names)
    if alone and alone[0] not in names:
        raise unknown("space" if names is SPACES else "size space", alone[0], names)
    return alone[:1]


def space_part(name: Sequence[str]) -> dict[str, Part[Any]]:
    """Return the flags of the space that `space_of` found, by the argument that they are."""
    return {"space": Part(f"Space {name[0]}", chosen("space", SPACES, name[0]))} if name else {}


def check_space(words: Sequence[str | None], names: Iterable[str], example: str) -> None:
    """Raise UserError unless a space is named."""
    if words[0] is None:
        raise UserError(f"which space? name one of {', '.join(names)}, as in: {example}")


def check_data(data: str | None) -> None:
    """Raise UserError unless data are named, and known or in a folder."""
    if data is None:
        raise UserError(f"--data is missing: give one of {', '.join(DATASETS)}, or a folder of images")
    if data not in DATASETS and not Path(data).is_dir():
        raise unknown("data set", data, [*DATASETS, "or the path of a folder of images"])


def lasting(data: str) -> str:
    """Return a name that still means the same data when another command runs in another folder."""
    return data if data in DATASETS else str(Path(data).resolve())


def recipe_of(given: str | None, kind: str) -> Any:
    """Return the recipe of a name, None for None. Raises UserError unless it is one of a `kind`: "search", "fit"."""
    if given is None:
        return None
    fitting = [name for name, summary in SUMMARIES.items() if summary.kind == kind]
    if given in SUMMARIES and given not in fitting:
        other = SUMMARIES[given].kind
        raise UserError(f"recipe '{given}' is one of `renascent {other}`; those of {kind} are {', '.join(fitting)}")
    if given not in fitting:
        raise unknown("recipe", given, fitting)
    from renascent.experiment.recipes import RECIPES  # loads torch

    return RECIPES[given]


def check_folder(words: Sequence[str | None], command: str) -> None:
    """Raise UserError unless a command was given the folder of a search."""
    if words[0] is None:
        raise UserError(f"which search? write `renascent {command} DIR`, DIR being the --out of a finished search")


def check_table(words: Sequence[str | None], command: str) -> None:
    """Raise UserError unless a command was given the file of a latency table."""
    if words[0] is None:
        made = "TABLE being the --out of `latency measure`"
        raise UserError(f"which table? write `renascent latency {command} TABLE`, {made}")
