"""What a command is, and what several of them share. To know their flags, no command loads torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from renascent.cli.flags import Part, chosen, glance, warn_of_hidden
from renascent.core.errors import UserError, unknown
from renascent.core.fields import Like, OneOf, Range, settings
from renascent.core.files import Json
from renascent.core.names import Names
from renascent.core.source import static
from renascent.experiment.recipes import RECIPES, SUMMARIES
from renascent.nets import SPACES
from renascent.tasks import DATASETS, is_folder

OPTIONS, FIT = static("renascent.tasks.prepare:ImageOptions"), static("renascent.loops.training:Fit")
WEIGHTS, DISTILLATION = static("renascent.core.optimiser:WeightRule"), static("renascent.tasks.distill:Distillation")
"""Classes of settings, as their sources have them."""

Runtime = Annotated[str, OneOf("runtime", static("renascent.costs.latency.runtimes:RUNTIMES"))]
ScoredBy = Annotated[str, OneOf("score", static("renascent.experiment.judging:SCORES"))]
Device = Annotated[str, Like(r"auto|(cpu|cuda|mps|xpu)(:\d{1,3})?", "auto, cpu, cuda or cuda:1")]
Input = Annotated[str, Like(r"0*[1-9]\d{0,4}(,0*[1-9]\d{0,4}){2}", "channels, height and width, such as 3,32,32")]


@dataclass(frozen=True)
class Outcome:
    """What a command has to say. facts: with --json.  text: without."""

    facts: Json
    text: str


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command, ready to be parsed.

    Args:
        run: "module:function" that is called with the words and the settings, and returns an Outcome.
        words: name and meaning of each word that it takes.
        several: whether the last word may stand any number of times.
        parts: its flags; each group is an argument of `run`, by this name.
        needs: words and settings of the group `flags` that cannot be left out, and what is said where they are.
        check: raises UserError for what can be told from `flags`, the words, and the values that were given.
        chosen: the words that chose these flags.
        others: further arguments of `run`.
    """

    run: str
    words: Mapping[str, str] = field(default_factory=dict)
    several: bool = False
    parts: Mapping[str, Part] = field(default_factory=dict)
    needs: Mapping[str, str] = field(default_factory=dict)
    check: Callable[[Any, Sequence[str | None], Mapping[str, Any]], None] = lambda flags, words, values: None
    chosen: Sequence[str] = ()
    others: Mapping[str, Any] = field(default_factory=dict)

    def refuse(self, words: Sequence[str | None], values: Mapping[str, Any]) -> None:
        """Raise UserError for what is missing, or cannot be."""
        flags = self.parts["flags"].build(values) if "flags" in self.parts else None
        given = {**dict(zip(self.words, words, strict=not self.several)), **(vars(flags) if flags else {})}
        for name, message in self.needs.items():
            if given[name] is None:
                raise UserError(message)
        self.check(flags, words, values)


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
        device: cpu, cuda, cuda:1 (the second GPU), mps; auto is the first there is of cuda, mps and cpu.
        threads: of the processor.
        download: fetch the data set's official files if they are not there.
    """

    device: Device = "auto"
    threads: Annotated[int, Range(1, 1024)] = 1
    download: bool = False


OUTPUT = Part("Output", Output())
MACHINE = Part("Machine", Machine())


def of_space(
    given: Sequence[str],
    parts: Mapping[str, Part],
    example: str,
    names: Names[Any] = SPACES,
    needs: Mapping[str, str] | None = None,
    **about: Any,
) -> Command:
    """Return a command with the flags of the space that the first of the `given` words names, after its first group.

    Raises UserError for a space that is not in `names`, and that no other package brings.
    """
    alone, _ = glance(given, parts.values(), names)
    if alone and alone[0] in SPACES and alone[0] not in names:
        raise UserError(f"{alone[0]} is not among the spaces of this command: give one of {', '.join(names)}")
    space = {"space": Part(f"Space {alone[0]}", chosen("space", names, alone[0]))} if alone else {}
    warn_of_hidden(names, alone[0] if alone else None)
    (main, part), *rest = parts.items()
    missing = {"space": f"which space? name one of {', '.join(names)}, as in: {example}", **(needs or {})}
    return Command(parts={main: part, **space, **dict(rest)}, needs=missing, chosen=alone[:1], **about)


def shape_of(given: str) -> tuple[int, int, int]:
    """Return (channels, h, w) of an `Input`."""
    channels, height, width = map(int, given.split(","))
    return channels, height, width


def check_data(data: str | None) -> None:
    """Raise UserError unless data are named, and known or in a folder."""
    if data is None:
        raise UserError(f"--data is missing: give one of {', '.join(DATASETS)}, or a folder of images")
    if data not in DATASETS and not is_folder(data):
        raise unknown("data set", f"{data:.80}", [*DATASETS, "or the path of a folder of images"])


def lasting(data: str) -> str:
    """Return a name that still means the same data when another command runs in another folder."""
    return data if data in DATASETS else str(Path(data).resolve())


def recipe_of(given: str | None, kind: str) -> Any:
    """Return the recipe of a name, None for None. Raises UserError unless it is one of a `kind`: "search", "fit"."""
    if given is None:
        return None
    fitting = [name for name, summary in SUMMARIES.items() if summary.kind == kind]
    if given in fitting:
        return RECIPES[given]  # loads torch
    if given in SUMMARIES:
        other = SUMMARIES[given].kind
        raise UserError(f"recipe '{given}' is one of `renascent {other}`; those of {kind} are {', '.join(fitting)}")
    raise unknown("recipe", given, fitting)


def training_of(words: Mapping[str, str], training: Any) -> Any:
    """Return settings of a training; where the flags of a command choose AdamW, with its rule in the place of SGD's.

    Where they choose the weights of the search, those of `FINE_TUNING`.
    """
    if words.get("--init") == "shared" and "--recipe" not in words:
        tuned = static("renascent.loops.training:FINE_TUNING")
        training = replace(tuned, warmup=0) if words.get("--epochs") == "1" else tuned
    if words.get("--optimiser") != "adamw":
        return training
    return replace(training, optimiser="adamw", weights=static("renascent.loops.training:ADAMW"))


def folder_of(command: str, **needs: str) -> dict[str, Any]:
    """Return the word of a command that takes the folder of a search, and what it needs: that, and `needs`."""
    missing = f"which search? write `renascent {command} DIR`, DIR being the --out of a finished search"
    return {"words": {"dir": "The folder of a finished search."}, "needs": {"dir": missing, **needs}}


def table_of(command: str) -> dict[str, Any]:
    """Return the word of a command that takes the file of a latency table, and what is said without it."""
    made = "TABLE being the --out of `latency measure`"
    missing = f"which table? write `renascent latency {command} TABLE`, {made}"
    return {"words": {"table": "File of a latency table."}, "needs": {"table": missing}}
