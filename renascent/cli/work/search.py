"""What `renascent search` does, and what `shrink` has in common: one search in a run folder, shown as it goes."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from renascent.bench.importers import open_table
from renascent.cli.commands.command import Machine, Outcome, lasting
from renascent.cli.commands.search import SearchFlags, SearchingFlags
from renascent.cli.work.running import DATA_FILE, Source, latency_from, task_on, told
from renascent.core.errors import Interrupted
from renascent.core.files import Json, write_json
from renascent.core.names import name_of, short
from renascent.core.protocols import Family, OneShot, SpaceConfig, Task, WeightRule
from renascent.core.schema import written
from renascent.experiment.judging import ACCURACY
from renascent.experiment.result import Result
from renascent.experiment.search import search
from renascent.loops.weightsfile import read_weights
from renascent.nets import SPACES
from renascent.reports.live import Counted
from renascent.reports.summary import score_text
from renascent.results.measuring import MEASURED_FILE
from renascent.tasks.prepare import ImageOptions

BEGUN = ("config.json", MEASURED_FILE)
"""Files of which one is in the folder of a search that can be gone on with."""


def run(
    word: str | None,
    *,
    flags: SearchFlags,
    strategy: OneShot | Family,
    space: SpaceConfig,
    weights: WeightRule,
    options: ImageOptions,
    machine: Machine,
) -> Outcome:
    """Search, and report the result."""
    _ = space.space  # an impossible space is refused before anything is read or written
    truth = open_table(flags.truth) if flags.truth else None
    task, name = task_on(machine, str(flags.data), options), name_of(space, SPACES)
    known = partial(
        searched,
        space,
        strategy,
        task,
        options=options,
        name=name,
        first=f"searching {name}",
        weights=weights,
        truth=truth,
        truth_problem=flags.truth_problem,
        latency=latency_from(flags.latency_table, space, (task.channels, *task.size), task.classes),
        pretrained=read_weights(Path(flags.pretrained)) if flags.pretrained else None,
        following=lambda result: next_step(result, "(trains this network alone)"),
    )
    if not flags.seeds:
        return known(flags)
    root = Path(flags.out or f"runs/{short(name)}-{short(str(flags.strategy))}-{task.name}")
    found = {seed: known(replace(flags, seed=seed, out=str(root / f"seed-{seed}"))) for seed in flags.seeds}
    scores = {seed: float(outcome.facts["search_score"]) for seed, outcome in found.items()}
    best = max(scores, key=lambda seed: scores[seed])
    kind = str(found[best].facts.get("scored_by", ACCURACY))
    told = ", ".join(f"{score_text(score, kind)} with seed {seed}" for seed, score in scores.items())
    facts = {**found[best].facts, "seeds": {str(seed): score for seed, score in scores.items()}}
    return Outcome(facts, f"{found[best].text}\n\nthe best on validation images of {len(scores)} searches: {told}")


def next_step(result: Result, training: str) -> str:
    """Return the command that goes on from a result. training: what is said of it where it is one."""
    done, folder = result.training is not None, result.folder
    return f"renascent export {folder} --to onnx" if done else f"renascent fit {folder} {training}"


def searched(
    space: SpaceConfig,
    strategy: OneShot | Family,
    task: Task,
    flags: SearchingFlags,
    options: ImageOptions,
    *,
    name: str,
    first: str,
    following: Callable[[Result], str],
    **others: Any,
) -> Outcome:
    """Search, show how it goes, and return what is said of the result. Raises UserError when nothing can be resumed.

    name: of what is searched, for the folder.  first: what is said before.  following: what to do with the result.
    others: what `search` takes besides.
    """
    folder = Path(flags.out or f"runs/{short(name)}-{short(str(flags.strategy))}-{task.name}-{flags.seed}")
    try:
        say = Counted().say
        begun = any((folder / name).exists() for name in BEGUN)
        if flags.resume and not begun:  # stopped before there was one, or misspelt
            say(f"there is no run in {folder} yet: it begins")
        say(f"{first} with {flags.strategy} on {task}; run folder {folder}")
        if flags.timed and not (others.get("latency") or flags.resume):  # the longest silence of a search
            say(f"measuring the latency of some forty networks first ({flags.runtime})")

        def hear(event: Json) -> None:
            if event["event"] == "derived":  # before the result is written: which data it is from
                write_json(folder / DATA_FILE, written(Source(lasting(str(flags.data)), options)))

        result = search(
            space,
            strategy,
            task,
            epochs=flags.epochs,
            batch=flags.batch,
            seed=flags.seed,
            out=folder,
            resume=flags.resume,
            budget=flags.budget,
            runtime=flags.runtime,
            finish=flags.finish,
            sandwich=flags.sandwich,
            score=flags.score,
            bf16=flags.bf16,
            say=hear,
            **others,
        )
        return told(result, following(result))
    except KeyboardInterrupt:
        if any((folder / name).exists() for name in BEGUN):
            raise Interrupted("interrupted; to go on") from None
        raise
