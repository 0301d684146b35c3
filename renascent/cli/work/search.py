"""What `renascent search` does."""

from __future__ import annotations

from pathlib import Path

from renascent.bench.importers import open_table
from renascent.cli.commands.command import Machine, Outcome
from renascent.cli.commands.search import SearchFlags
from renascent.cli.work.running import latency_from, task_on
from renascent.cli.work.searching import searched
from renascent.core.names import name_of
from renascent.core.protocols import OneShot, SpaceConfig, WeightRule
from renascent.loops.weightsfile import read_weights
from renascent.nets import SPACES
from renascent.tasks.prepare import ImageOptions


def run(
    word: str | None,
    *,
    flags: SearchFlags,
    strategy: OneShot,
    space: SpaceConfig,
    weights: WeightRule,
    options: ImageOptions,
    machine: Machine,
) -> Outcome:
    """Search, and report the result."""
    _ = space.space  # an impossible space is refused before anything is read or written
    truth = open_table(flags.truth) if flags.truth else None
    task, name = task_on(machine, str(flags.data), options), name_of(space, SPACES)
    return searched(
        space,
        strategy,
        task,
        flags,
        options,
        name=name,
        first=[f"searching {name}"],
        weights=weights,
        truth=truth,
        truth_problem=flags.truth_problem,
        latency=latency_from(flags.latency_table, space, (task.channels, *task.size), task.classes),
        pretrained=read_weights(Path(flags.pretrained)) if flags.pretrained else None,
        following=lambda result: f"renascent fit {result.folder} (trains this network alone)",
    )
