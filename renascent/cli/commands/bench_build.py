"""`renascent bench build`: a benchmark table of your own, every training done for real."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from renascent.bench.building import Built, Plan, build, chosen
from renascent.cli.commands.command import Command, Machine, Outcome, Output
from renascent.cli.flags import Part, glance, switches
from renascent.cli.progress import Counted
from renascent.core.errors import UserError, unknown
from renascent.core.files import Json
from renascent.core.names import name_of
from renascent.core.protocols import SpaceConfig
from renascent.loops.fit import Fit
from renascent.nets import SPACES
from renascent.tasks import DATASETS
from renascent.tasks.prepare import ImageOptions

EXAMPLE = (
    "renascent bench build nats-topology --data digits --nodes 3 --channels 4 --cells 1 --batch 32 --lr 0.05 --float64"
)

ABOUT = f"""Train every architecture of a space on your data, and write a benchmark table of what came out.

As an example, the table that ships with renascent is built like this: `{EXAMPLE} --out mine.safetensors`

Trainings are independent: a build that is stopped or killed goes on with `--resume`, and gives the same table."""


@dataclass(frozen=True, kw_only=True)
class BuildFlags:
    """What to build.

    data: name of a data set, or a folder of images.
    seeds: trainings of each architecture.
    out: the file to write.
    resume: go on with the build of that file.
    archs: only these architectures: a file with one a line, or exchange strings with commas between them.
    sample: only so many, drawn at random; 0 means all of the space.
    sample_seed: of that draw.
    """

    data: str | None = None
    seeds: int = 3
    out: str | None = None
    resume: bool = False
    archs: str | None = None
    sample: int = 0
    sample_seed: int = 0


@dataclass(frozen=True, kw_only=True)
class WhereFlags:
    """Where the work is done.

    workers: trainings at a time, each with one thread; 0 means one for each processor.
    ray: train on the Ray cluster at this address, such as 10.0.0.1:6379 (needs the extra renascent[ray]).
    device: cpu, cuda or cuda:1 (the second GPU).
    download: fetch the data set's official files if they are not there.
    """

    workers: int = 0
    ray: str | None = None
    device: str = "cpu"
    download: bool = False


@dataclass(frozen=True)
class Groups:
    """The groups of flags of a build. space: None before it is named."""

    main: Part[BuildFlags]
    space: Part[SpaceConfig] | None
    settings: Part[Fit]
    options: Part[ImageOptions]
    where: Part[WhereFlags]

    @property
    def parts(self) -> list[Part[Any]]:
        found = (self.main, self.space, self.settings, self.options, self.where)
        return [*(part for part in found if part is not None), Part("Output", Output())]


def command(words: Sequence[str]) -> Command:
    """Return the command with the flags of the space that `words` name. Raises UserError for an unknown one."""
    spaces = [Part("", kind()) for kind in SPACES.values()]
    alone, _ = glance(words, switches([*_groups(None).parts, *spaces]))
    if alone and alone[0] not in SPACES:
        raise unknown("space", alone[0], SPACES)
    groups = _groups(SPACES[alone[0]]() if alone else None)
    place_help = f"The space whose architectures are trained: {', '.join(SPACES)}."
    run = functools.partial(_run, groups, tuple(words))
    return Command(ABOUT, groups.parts, run, "space", place_help, tuple(alone[:1]))


def _groups(space: SpaceConfig | None) -> Groups:
    return Groups(
        main=Part("Build", BuildFlags()),
        space=Part(f"Space {name_of(space, SPACES)}", space) if space else None,
        settings=Part("Training", Fit(epochs=12)),
        options=Part("Data", ImageOptions()),
        where=Part("Machine", WhereFlags()),
    )


def _run(groups: Groups, words: Sequence[str], word: str | None, values: Mapping[str, Any]) -> Outcome:
    flags, where = groups.main.build(values), groups.where.build(values)
    if groups.space is None:
        raise UserError(f"which space? name one of {', '.join(SPACES)}, as in: {EXAMPLE}")
    if flags.data is None:
        raise UserError(f"--data is missing: give one of {', '.join(DATASETS)}, or a folder of images")
    if flags.out is None:
        raise UserError("--out is missing: give the file to write, such as --out mine.safetensors")
    space, options = groups.space.build(values), groups.options.build(values)
    plan = Plan(
        space=space,
        data=flags.data if flags.data in DATASETS else str(Path(flags.data).resolve()),
        archs=chosen(space.space, flags.archs, flags.sample, flags.sample_seed),
        options=options,
        settings=groups.settings.build(values),
        seeds=flags.seeds,
        device=where.device,
    )
    Machine(device=where.device, download=where.download).task(flags.data, options)  # fetches, and refuses a device
    with Counted() as bar:
        bar.say(f"{len(plan.jobs)} trainings of {len(plan.archs)} architectures on {flags.data}; table {flags.out}")
        built = build(
            plan,
            flags.out,
            workers=where.workers,
            ray=where.ray,
            resume=flags.resume,
            command=recorded(words),
            say=Told(bar),
        )
    return Outcome(_facts(built), _summary(built))


def recorded(words: Sequence[str]) -> str:
    """Return the command to be noted in a table: what decides how the numbers are told apart from how it was run.

    >>> recorded(["nats-topology", "--data", "digits", "--resume", "--json"])
    'renascent bench build nats-topology --data digits'
    """
    return shlex.join(["renascent", "bench", "build", *(w for w in words if w not in ("--resume", "--json"))])


def _facts(built: Built) -> Json:
    return {
        "table": built.table.name,
        "rows": len(built.table),
        "trainings": built.trainings,
        "failed": built.failed,
        "seconds": round(built.seconds, 3),
        "path": str(built.path),
    }


def _summary(built: Built) -> str:
    table, (problem,) = built.table, built.table.problems.values()
    scores = table.values(problem.signal)
    best = int(scores.argmax()) if not built.failed else -1
    lines = [f"{built.path}: {len(table)} architectures, {built.trainings} trainings, {built.failed} failed"]
    if best >= 0:
        lines.append(f"best by {problem.signal}: {scores[best]:.2f} %, {table.space.format(table.arch(best))}")
    lines.append(f"next: renascent bench query --table {built.path} 0")
    return "\n".join(lines)


class Told:
    """Shows a build's progress, and what failed at once."""

    def __init__(self, bar: Counted) -> None:
        self.bar, self.failed = bar, 0

    def __call__(self, event: Json) -> None:
        """Show that a training or a price is done."""
        if "error" in event:
            self.failed += 1
            self.bar.say(f"failed: {event['arch']} seed {event['seed']}: {event['error']}")
        what = "trained" if event["event"] == "trained" else "measured"
        self.bar.show(what, event["done"], event["of"], f", {self.failed} failed" if self.failed else "")
