"""`renascent shrink`: make your own model smaller or faster."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from renascent.cli.commands.command import Command, Machine, Outcome, Output, facts_of
from renascent.cli.commands.searching import MEASURING, check_clock, chosen, hear, lasting, resumable
from renascent.cli.flags import Part, glance, keys, switches
from renascent.cli.live import Live
from renascent.core.errors import UserError
from renascent.core.files import Json, write_text
from renascent.core.names import name_of
from renascent.core.protocols import OneShot, WeightRule
from renascent.costs.budget import Budget
from renascent.experiment.result import Result
from renascent.experiment.search import search
from renascent.nets.adapt import Adapted, NothingToSearch, Untraceable, smaller_sizes
from renascent.reports.summary import summary
from renascent.strategies import STRATEGIES
from renascent.strategies.fbnetv2 import FBNetV2
from renascent.tasks import DATASETS
from renascent.tasks.prepare import ImageOptions

EXAMPLE = 'renascent shrink my_models:resnet --input 3,32,32 --data photos --budget "macs<=0.5x"'

ABOUT = f"""Make your own model smaller or faster: search its widths, its depth and the size of its input.

The model is what a function of yours returns: any convolutional network or plain transformer, trained or not. A table
says which of its layers can change, and why others cannot; `--dry-run` shows that table and stops.

Strategies: {", ".join(STRATEGIES)}; fbnetv2 unless you name one.

Data sets: {", ".join(DATASETS)}; or a folder of images, one folder in it for each class.

As in: `{EXAMPLE}`"""

DEFAULT: OneShot = FBNetV2()
"""The highest mean of the four that aim at a budget, by validation images: benchmarks/results."""

CODE_FILE = "shrink_model.py"
"""In a run folder: code that shrinks the model without renascent."""


@dataclass(frozen=True, kw_only=True)
class ShrinkFlags:
    """What to shrink, to what, and for how long.

    input: shape of one input, channels,height,width; that of the data if not given.
    strategy: how to search.
    data: name of a data set, or a folder of images.
    budget: bounds on the result, as macs<=0.5x or latency_ms<=8; several with commas between them.
    runtime: what a network runs with when its latency is measured: eager, compiled or onnxruntime.
    weights: .safetensors file with the model's trained weights; what the function returns has them if not given.
    multiple: widths are multiples of this, or the model's own.
    least: no width is below this share of the model's own, and no row of blocks shorter.
    depth: let blocks that add to their input be left out.
    resolution: let the size of the input be decided, too.
    order: which channels a narrower layer keeps: those of the largest weights (magnitude), or the first ones (given).
    dry_run: show what of the model can be searched, and stop.
    epochs: passes over the training images.
    batch: images a step draws, of each stream.
    seed: of everything random.
    out: the run folder; runs/shrink-STRATEGY-DATA-SEED if not given.
    resume: go on with the run in that folder.
    """

    input: str | None = None
    strategy: str
    data: str | None = None
    budget: str | None = None
    runtime: str = "eager"
    weights: str = ""
    multiple: int = 8
    least: float = 0.25
    depth: bool = True
    resolution: bool = False
    order: str = "magnitude"
    dry_run: bool = False
    epochs: int = 20
    batch: int = 64
    seed: int = 0
    out: str | None = None
    resume: bool = False


@dataclass(frozen=True)
class Plan:
    """The groups of flags."""

    main: Part[ShrinkFlags]
    strategy: Part[OneShot]
    weights: Part[WeightRule]
    options: Part[ImageOptions]
    machine: Part[Machine]

    @property
    def parts(self) -> list[Part[Any]]:
        return [self.main, self.strategy, self.weights, self.options, self.machine, Part("Output", Output())]


def command(words: Sequence[str]) -> Command:
    """Return the command with the flags of the strategy that `words` name. Raises UserError for an unknown one."""
    _, given = glance(words, switches(_plan(DEFAULT).parts))
    plan = _plan(chosen("strategy", STRATEGIES, given.get("--strategy"), DEFAULT))
    place_help = "The function that makes the model: package.module:function."
    words_chosen = ("--strategy", plan.main.settings.strategy)
    return Command(ABOUT, plan.parts, functools.partial(_run, plan), "factory", place_help, words_chosen)


def _plan(strategy: OneShot) -> Plan:
    name = name_of(strategy, STRATEGIES)
    main, options, weights = ShrinkFlags(strategy=name), ImageOptions(), WeightRule()
    taken = frozenset[str]().union(*(keys(part) for part in (main, Machine(), Output(), options, weights)))
    return Plan(
        main=Part("Shrink", main),
        strategy=Part(f"Strategy {name}", strategy, name, taken),
        weights=Part("Shared weights (SGD)", weights),
        options=Part("Data", options),
        machine=Part("Machine", Machine()),
    )


def _run(plan: Plan, word: str | None, values: Mapping[str, Any]) -> Outcome:
    flags = plan.main.build(values)
    _check(flags, word)
    assert word is not None
    if flags.dry_run and flags.input is not None:
        return _shown(_space(word, flags, flags.input.split(",")), flags)
    options = plan.options.build(values)
    task = plan.machine.build(values).task(str(flags.data), options)
    shape = (task.channels, *task.size)
    space = _space(word, flags, flags.input.split(",") if flags.input else shape)
    if flags.dry_run:
        return _shown(space, flags)
    _fits(space, shape, task.classes)
    folder = Path(flags.out or f"runs/shrink-{flags.strategy}-{task.name}-{flags.seed}")
    if flags.resume and not (folder / "config.json").exists():
        raise UserError(f"there is no run in {folder} to resume: check --out, or leave --resume out")
    source = {"data": lasting(str(flags.data)), "options": asdict(options)}
    budget = Budget.parse(flags.budget) if flags.budget is not None else None
    check_clock(flags.runtime, budget)
    with resumable(folder), Live(["search"]) as live:
        live.say(str(space.coverage))
        live.say(f"shrinking {word} with {flags.strategy} on {task}; run folder {folder}")
        if budget and budget.timed and not flags.resume:
            live.say(MEASURING.format(flags.runtime))
        result = search(
            space,
            plan.strategy.build(values),
            task,
            epochs=flags.epochs,
            batch=flags.batch,
            seed=flags.seed,
            weights=plan.weights.build(values),
            out=folder,
            resume=flags.resume,
            say=functools.partial(hear, live, folder, source),
            budget=budget,
            runtime=flags.runtime,
        )
        page = result.report()
    return _told(result, space, page)


def _check(flags: ShrinkFlags, word: str | None) -> None:
    """Raise UserError for what is missing."""
    if word is None:
        raise UserError(f"which model? name the function that makes it, as in: {EXAMPLE}")
    if flags.input is None and flags.data is None:
        raise UserError("--input is missing: give channels,height,width of one input, as in 3,32,32")
    if flags.data is None and not flags.dry_run:
        raise UserError(f"--data is missing: give one of {', '.join(DATASETS)}, or a folder of images")


def _space(factory: str, flags: ShrinkFlags, shape: Sequence[str | int]) -> Adapted:
    """Return the model's search space, which is analysed here. Raises UserError when nothing of it can be searched."""
    space = Adapted(
        factory=factory,
        weights=_lasting_file(flags.weights),
        shape=tuple(shape),  # type: ignore[arg-type]
        multiple=flags.multiple,
        least=flags.least,
        depth=flags.depth,
        order=flags.order,
    )
    if flags.resolution:
        channels, height, width = space.shape
        sizes = smaller_sizes(space.source, (channels, height, width))
        if not sizes:
            raise UserError(f"--resolution: the model takes no smaller inputs than {height} x {width}: leave it out")
        space = dataclasses.replace(space, resolutions=sizes)
    try:
        _ = space.plan
    except (Untraceable, NothingToSearch):
        Live([]).say(str(space.coverage))
        raise
    return space


def _fits(space: Adapted, shape: tuple[int, ...], classes: int) -> None:
    """Raise UserError unless the data can be searched on."""
    space.check(shape[0], classes)
    if shape != space.shape and not space.resolutions:
        raise UserError(
            f"the data are {','.join(map(str, shape))} and --input is {','.join(map(str, space.shape))}: "
            "give the same, or resize the images"
        )


def _shown(space: Adapted, flags: ShrinkFlags) -> Outcome:
    """Show what can be searched, and which sizes of the input could be."""
    coverage, (channels, height, width) = space.coverage, space.shape
    rows: list[Json] = [asdict(row) for row in coverage.rows]
    smaller = () if flags.resolution else smaller_sizes(space.source, (channels, height, width))
    hint = f"\nthe input could be {', '.join(map(str, smaller))}, too: add --resolution" if smaller else ""
    return Outcome({"searchable_macs": coverage.share, "rows": rows, "smaller_inputs": smaller}, f"{coverage}{hint}")


def _told(result: Result, space: Adapted, page: Path) -> Outcome:
    """Write the code that shrinks the model, and say what was found."""
    code = result.folder / CODE_FILE
    write_text(code, space.recipe(result.arch))
    following = (
        f"next: renascent fit {result.folder} --init shared (trains it on); the report is {page}; "
        f"{code} shrinks your model without renascent"
    )
    return Outcome(facts_of(result, page), f"{summary(result)}\n\n{following}")


def _lasting_file(path: str) -> str:
    return str(Path(path).resolve()) if path else ""
