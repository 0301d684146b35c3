"""`renascent search`: find the best architecture of a space."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from renascent.cli.commands.command import (
    MACHINE,
    OPTIONS,
    OUTPUT,
    WEIGHTS,
    Command,
    Runtime,
    ScoredBy,
    check_data,
    recipe_of,
)
from renascent.cli.flags import Part, chosen, glance, keys, warn_of_hidden
from renascent.core.bounds import LATENCY, read_budget
from renascent.core.errors import UserError
from renascent.core.fields import Count, Range, Whole, settings
from renascent.core.names import name_of, short
from renascent.experiment.defaults import DEFAULTS, named_default
from renascent.nets import SPACES
from renascent.strategies import FAMILIES, NAMED, STRATEGIES
from renascent.tasks import DATASETS

EXAMPLE = "renascent search nats-topology --strategy gdas --data digits"

ABOUT = f"""Search a space for the best architecture on your data, by weights that all architectures share.

Strategies: {", ".join(STRATEGIES)}. Unless you name one: {DEFAULTS["sizes"].strategy} for sizes, \
{DEFAULTS["nats-topology"].strategy} for nats-topology, {DEFAULTS["cells"].strategy} for DARTS cells and trees, \
{DEFAULTS["chains"].strategy} for chains, {DEFAULTS["subsets"].strategy} where any of several are kept.

Without a search, the largest network that a budget allows, in seconds: {", ".join(FAMILIES)}.

Data sets: {", ".join(DATASETS)}; or a folder of images, one folder in it for each class.

First try, nothing to download: `{EXAMPLE} --epochs 10`

Spaces and strategies have flags of their own, shown once they are named: `{EXAMPLE} --help`

Those of your own are named as package.module:Class, or as an installed package calls them (`renascent list`)."""


@settings
class SearchingFlags:
    """What every search by shared weights is asked.

    Args:
        strategy: how to search; a default for the kind of space if not given.
        data: name of a data set, or a folder of images.
        epochs: passes over the training images.
        finish: epochs in which the network found then trains on, alone; the search is then the first part of its
            training: one learning-rate schedule spans both, momentum is kept, and a model of your own that came with
            weights teaches throughout.
        sandwich: in a space of sizes, how many between the largest and the smallest a weight step learns from beside
            these two; what the strategy draws is one of them.
        score: what candidates are chosen by: accuracy, or in a search of sizes agreement, how close their answers to
            validation images are to those of the model as given (`--pretrained`, or your own with `--weights`).
        bf16: run forward passes of the search, and of `--finish`, in bfloat16 where it is safe; by itself where the
            device computes it in hardware, the network has no depthwise convolution and the strategy no curvature.
        batch: images a step draws, of each stream.
        seed: of everything random.
        out: the run folder; runs/SPACE-STRATEGY-DATA-SEED if not given.
        resume: go on with the run in that folder.
        budget: what the network has to keep, such as "macs<=0.5x,latency_ms<=8"; x: times the reference network's.
        runtime: what networks run with when they are measured: eager, compiled or onnxruntime; take what you deploy.
    """

    strategy: str | None = None
    data: str | None = None
    epochs: Count = 100
    finish: Count | None = None
    sandwich: Annotated[int, Range(0, 64)] = 0
    score: ScoredBy = "accuracy"
    bf16: bool | None = None
    batch: Count = 64
    seed: Whole = 0
    out: str | None = None
    resume: bool = False
    budget: str | None = None
    runtime: Runtime = "eager"

    @property
    def timed(self) -> bool:
        """Whether latency is bounded."""
        return LATENCY in (self.budget or "")

    def check(self, given: Mapping[str, Any]) -> None:
        """Raise UserError for missing or unknown data, an unreadable or missing budget, what says nothing.

        given: flag -> value, of those that were given.
        """
        check_data(self.data)
        if self.budget is None and self.strategy in FAMILIES:
            raise UserError(
                f"--strategy {self.strategy} takes the largest network that a budget allows: give one, such as "
                '--budget "macs<=0.5x"'
            )
        if given.get("epochs") is not None and self.strategy in FAMILIES:
            raise UserError(
                f"--epochs is of a search, and --strategy {self.strategy} makes none: leave it out; --finish EPOCHS "
                "trains what is scaled or pruned"
            )
        if self.budget is not None:
            read_budget(self.budget)
        if self.runtime != "eager" and not self.timed:
            raise UserError("--runtime says nothing without a bound on latency: give --budget latency_ms<=NUMBER too")


@settings
class SearchFlags(SearchingFlags):
    """What to search, and for how long.

    Args:
        recipe: take a paper's settings (`renascent list`); flags given beside it come first.
        seeds: of several searches, in folders seed-0 and so on of OUT, of which the best by validation counts.
        truth: benchmark table that scores the policy's mode after every epoch; the search ignores it.
        truth_problem: which of that table's problems; the one named as the data set if not given.
        latency_table: predicts latency_ms: a FILE (`renascent latency measure`), pixel1 (of mbconv) or fbnet:DEVICE
            (published, in RENASCENT_DATA); else networks of the space are measured.
        pretrained: safetensors file of a trained network of the space; shared weights start from it.
    """

    recipe: str | None = None
    seeds: Annotated[tuple[int, ...], Range(0, 2**32 - 1)] = ()
    truth: str | None = None
    truth_problem: str | None = None
    latency_table: str | None = None
    pretrained: str | None = None


def command(words: Sequence[str]) -> Command:
    """Return the command with the flags of the space and strategy that `words` name.

    Raises UserError for names that are in no table.
    """
    alone, given = glance(words, _common(), SPACES, NAMED)
    recipe = recipe_of(given.get("--recipe"), "search")
    base = recipe.search if recipe else None
    space = chosen("space", SPACES, alone[0] if alone else None, base and base.space)
    warn_of_hidden(SPACES, alone[0] if alone else None)
    warn_of_hidden(NAMED, given.get("--strategy"))
    place = alone[0] if alone else space and name_of(space, SPACES)
    named = given.get("--strategy") or (None if base or not space else named_default(place, given))
    strategy = chosen("strategy", NAMED, named, base and base.strategy)
    name = named or (strategy and name_of(strategy, NAMED))
    main, options, weights = SearchFlags(strategy=name), OPTIONS(), WEIGHTS()
    if base:
        seeds = () if "--seed" in given else base.seeds
        main = replace(main, data=base.data, epochs=base.epochs, batch=base.batch, seeds=seeds)
        options, weights = base.options, base.weights
    return Command(
        run="renascent.cli.work.search:run",
        words={"space": f"The space to search: {', '.join(SPACES)}. A recipe names one."},
        parts={
            "flags": Part("Search", main),
            **({"strategy": strategy_part(name, strategy, main, options, weights, space)} if strategy else {}),
            **({"space": Part(f"Space {place}", space)} if space else {}),
            "weights": Part("Shared weights (SGD)", weights),
            "options": Part("Data", options),
            "machine": MACHINE,
        },
        needs={
            **({} if space else {"space": f"which space? name one of {', '.join(SPACES)}, as in: {EXAMPLE}"}),
        },
        check=_check,
        chosen=[place] * bool(space) + ["--strategy", name] * bool(strategy),
    )


def _common() -> list[Part]:
    """Return the flags that every search has."""
    return [Part("Search", SearchFlags()), Part("", OPTIONS()), Part("", WEIGHTS()), MACHINE, OUTPUT]


def owned() -> dict[str, list[Part]]:
    """Return every group of flags that some search has, by the choice that brings it; "" brings what all have."""
    common = [part.settings for part in _common()]
    found, spaces = {"": _common()}, {name: chosen("space", SPACES, name) for name in SPACES}
    for name in NAMED:
        strategy = chosen("strategy", NAMED, name)
        found[f"--strategy {name}"] = [strategy_part(name, strategy, *common, *more) for more in ((), spaces.values())]
    return found | {name: [Part(f"Space {name}", space)] for name, space in spaces.items()}


def strategy_part(name: str, strategy: Any, *others: Any) -> Part:
    """Return the flags of a strategy; those that another group has, too, begin with its name."""
    rest = [settings for settings in (*others, MACHINE.settings, OUTPUT.settings) if settings is not None]
    return Part(f"Strategy {name}", strategy, short(name).lower(), keys(*rest))


def _check(flags: SearchFlags, words: Sequence[str | None], values: Mapping[str, Any]) -> None:
    """Refuse what says nothing on its own."""
    flags.check(values)
    if values.get("seeds") is not None and values.get("seed") is not None:
        raise UserError("--seed and --seeds exclude each other: one is for a single search")
    if len(set(flags.seeds)) < len(flags.seeds):
        raise UserError(f"--seeds has the same one twice: {', '.join(map(str, flags.seeds))}")
    if flags.truth_problem and flags.truth is None:
        raise UserError("--truth-problem says nothing without a table: give --truth TABLE too, or leave it out")
    if flags.latency_table and flags.runtime != "eager":
        raise UserError(
            "--runtime and --latency-table exclude each other: a table has the runtime it was measured with"
        )
    if flags.latency_table and not flags.timed:
        raise UserError("--latency-table says nothing without a bound on it: give --budget latency_ms<=NUMBER too")
