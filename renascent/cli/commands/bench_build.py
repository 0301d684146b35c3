"""`renascent bench build`: a benchmark table of your own, every training done for real."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from renascent.cli.commands.command import (
    FIT,
    OPTIONS,
    Command,
    Device,
    check_data,
    of_space,
    training_of,
)
from renascent.cli.flags import Part, glance, keys
from renascent.core.errors import UserError
from renascent.core.fields import Count, Whole, settings
from renascent.nets import SPACES

EXAMPLE = (
    "renascent bench build nats-topology --data digits --nodes 3 --channels 4 --cells 1 --batch 32 --lr 0.05 --float64"
)

ABOUT = f"""Train every architecture of a space on your data, and write a benchmark table of what came out.

As an example, the table that ships with renascent is built like this: `{EXAMPLE} --out mine.safetensors`

Trainings are independent: a build that is stopped or killed goes on with `--resume`, and gives the same table."""


@settings
class BuildFlags:
    """What to build.

    Args:
        data: name of a data set, or a folder of images.
        seeds: trainings of each architecture.
        out: the file to write.
        resume: go on with the build of that file.
        archs: only these architectures: a file with one a line, or exchange strings with commas between them.
        sample: only so many, drawn at random; 0 means all of the space.
        sample_seed: of that draw.
    """

    data: str | None = None
    seeds: Count = 3
    out: str | None = None
    resume: bool = False
    archs: str | None = None
    sample: Whole = 0
    sample_seed: Whole = 0


@settings
class WhereFlags:
    """Where the work is done.

    Args:
        workers: trainings at a time, each with one thread; 0 means one for each processor.
        ray: train on the Ray cluster at this address, such as 10.0.0.1:6379 (needs the extra renascent[ray]).
        device: cpu, cuda, cuda:1 (the second GPU), mps; auto is the first there is of cuda, mps and cpu.
        download: fetch the data set's official files if they are not there.
    """

    workers: Whole = 0
    ray: str | None = None
    device: Device = "auto"
    download: bool = False


def command(words: Sequence[str]) -> Command:
    """Return the command with the flags of the space that `words` name. Raises UserError for an unknown one."""
    _, given = glance(words, [])
    parts = {
        "flags": Part("Build", BuildFlags()),
        "training": Part("Training", training_of(given, FIT(epochs=12))),
        "options": Part("Data", OPTIONS(), "data", keys(WhereFlags())),
        "where": Part("Machine", WhereFlags()),
    }
    return of_space(
        words,
        parts,
        EXAMPLE,
        run="renascent.cli.work.bench_build:run",
        words={"space": f"The space whose architectures are trained: {', '.join(SPACES)}."},
        check=_check,
        others={"command": recorded(words)},
    )


def _check(flags: BuildFlags, words: Sequence[str | None], values: Mapping[str, Any]) -> None:
    check_data(flags.data)
    if flags.out is None:
        raise UserError("--out is missing: give the file to write, such as --out mine.safetensors")


def recorded(words: Sequence[str]) -> str:
    """Return the command to be noted in a table: what decides how the numbers are told apart from how it was run.

    >>> recorded(["nats-topology", "--archs", "|none~0|", "--resume", "--json"])
    "renascent bench build nats-topology --archs '|none~0|'"
    """
    return shlex.join(["renascent", "bench", "build", *(w for w in words if w not in ("--resume", "--json"))])
