"""One whole search: network, run folder, shared-weight loop, result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from renascent.core import OneShot, Setup, SpaceConfig, Task, WeightRule
from renascent.errors import UserError
from renascent.loops._drive import Say
from renascent.loops.share import share
from renascent.nets import SPACES
from renascent.result import Result, name_of
from renascent.run import Run, check_seed
from renascent.strategies import STRATEGIES
from renascent.table import Table
from renascent.truth import Truth, truth_of


def search(
    space: SpaceConfig,
    strategy: OneShot,
    task: Task,
    *,
    epochs: int = 100,
    batch: int = 64,
    seed: int = 0,
    weights: WeightRule | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    truth: Table | None = None,
    truth_problem: str | None = None,
    say: Say = lambda event: None,
) -> Result:
    """Search `space` for the best architecture on `task` by shared weights, and return it.

    epochs: passes over the training split.  batch: images a step draws from each stream.
    weights: how the shared weights learn; the papers' setting unless given.
    out: the run folder, runs/SPACE-STRATEGY-DATA-SEED unless given.  resume: go on with the run in it.
    truth: a benchmark table in which the likeliest architecture is looked up after every epoch, and the chosen one in
    the end. For the log only: the search is the same without it. Its name is part of the configuration, so that a
    resume asks for the same table and no log mixes two.
    truth_problem: which of the table's problems; the one named as the data set unless given.
    say: hears every event as it happens.

    Raises UserError for a table of another space or without that problem and for a folder that cannot be used, Diverged
    when a loss is not finite, Interrupted after Ctrl-C.
    """
    if epochs < 1 or batch < 1:
        raise UserError(f"epochs is {epochs} and batch is {batch}: give at least 1 of each")
    check_seed(seed)
    rule = weights or WeightRule()
    known = truth_of(truth, space.space, truth_problem or task.name) if truth is not None else None
    config = _config(space, strategy, task, rule, known, epochs=epochs, batch=batch, seed=seed)
    names = (config["space"], config["strategy"], config["task"]["name"], seed)
    folder = Path(out) if out is not None else Path("runs") / "-".join(map(str, names))
    task.streams(seed, batch)  # as the network below: what cannot be had is refused before a folder is made
    devices = [task.device] if task.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        net = space.supernet(task.channels, task.classes)
        net = net.to(task.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        run = Run.start(folder, config, resume=resume, seed=seed, device=task.device)
        setup = Setup(net, task, net.space, rule, seed)
        found = share(strategy, setup, epochs=epochs, batch=batch, run=run, say=say, truth=known)
        return Result.save_new(folder, space, found, task)


def _config(
    space: SpaceConfig, strategy: OneShot, task: Task, rule: WeightRule, truth: Truth | None, **numbers: int
) -> Mapping[str, Any]:
    return {
        "space": name_of(space, SPACES),
        "space_config": asdict(space),  # type: ignore[call-overload]
        "strategy": name_of(strategy, STRATEGIES),
        "strategy_config": asdict(strategy),  # type: ignore[call-overload]
        "task": task.describe(),
        "weights": asdict(rule),
        **numbers,
        **({"truth": truth.facts} if truth else {}),
    }
