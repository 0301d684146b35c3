"""One whole search: network, run folder, shared-weight loop, result."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from renascent.bench.tables.table import Table
from renascent.bench.truth import Truth, truth_of
from renascent.core.devices import usable_device
from renascent.core.errors import UserError
from renascent.core.fields import Range, check_kind
from renascent.core.files import is_there
from renascent.core.fingerprint import fingerprint
from renascent.core.names import name_of, short
from renascent.core.optimiser import check_learns
from renascent.core.protocols import Family, OneShot, Priced, Say, Setup, SpaceConfig, Supernet, Task, WeightRule
from renascent.core.schema import written
from renascent.core.source import place_of, references
from renascent.core.space import Space
from renascent.core.spaces import Ranked
from renascent.costs.budget import Budget
from renascent.costs.latency.blocks import BlockLatency
from renascent.costs.latency.clock import EAGER
from renascent.costs.latency.table import Lut
from renascent.experiment.defaults import default_strategy
from renascent.experiment.forecast import forecast
from renascent.experiment.judging import ACCURACY, judge_of
from renascent.experiment.precision import Precision
from renascent.experiment.result import Result
from renascent.loops.run import Run, check_seed
from renascent.loops.share import begin, share
from renascent.nets import RECORDED
from renascent.nets.sizes.inherit import first_k
from renascent.reports.live import shown
from renascent.results.budgeted import Budgeted, prepare, settle, table_of
from renascent.results.finish import Finish
from renascent.strategies import NAMED


def search(
    space: SpaceConfig,
    strategy: OneShot | Family | None,
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
    budget: Budget | str | None = None,
    latency: Priced | None = None,
    runtime: str = "eager",
    pretrained: Mapping[str, Tensor] | None = None,
    finish: int | None = None,
    sandwich: int = 0,
    score: str = "accuracy",
    bf16: bool | None = None,
    progress: bool = True,
    say: Say = lambda event: None,
) -> Result:
    """Search `space` for the best architecture on `task` by shared weights, and return it.

    strategy: how to search, None for what is measured to be a good default for the kind of space (experiment/defaults);
    or a `Family`, which takes the largest network of a row inside the budget: nothing is then
    trained, whatever `epochs` says, and the channels of trained weights are put in order, the strongest first.
    epochs: passes over the training split.  batch: images a step draws from each stream.
    weights: how the shared weights learn; the papers' setting unless given.
    out: the run folder, runs/SPACE-STRATEGY-DATA-SEED unless given.  resume: go on with the run in it; where that has
    ended, its result is returned as it is.
    truth: a benchmark table in which the policy's mode is looked up after every epoch, and the chosen architecture in
    the end. For the log only: the search is the same without it. Its name is part of the configuration, so that a
    resume asks for the same table and no log mixes two.
    truth_problem: which of the table's problems; the one named as the data set unless given.
    budget: what the result has to keep, such as "macs<=0.5x,latency_ms<=8"; x: times the reference network's. Bounds
    are refused before the search when no architecture keeps them, aimed at during it by the strategies that can, and
    kept by what it returns: a latency is measured, and derived again under another bound if it is missed, or used far
    less than predicted.
    latency: predicts latency_ms, from a table (`LatencyCost`, or `BlockLatency` for spaces of options); networks of the
    space are measured on the device unless given, or the run that is resumed had a table. A prediction of another kind,
    or of another device, is not checked by a measurement.
    runtime: what they run with, "eager", "compiled" or "onnxruntime"; a table has its own.
    pretrained: state dict of a trained network of the space, such as the reference: shared weights start from it.
    finish: epochs in which the network found then trains on, alone and on all training images, the search being the
    first part of its training: one learning-rate schedule spans both, momentum is kept for every weight that stays,
    and a model of your own that came with weights, or the reference with `pretrained` ones, teaches throughout. Its
    folder is that of `Result.fit`.
    sandwich: in a space of sizes, how many between the largest and the smallest a weight step learns from beside these
    two (arXiv:1903.05134): what the strategy drew, and others drawn uniformly. All but the largest learn what that
    answers, or with a teacher what that does. 0: a weight step learns from what the strategy drew alone.
    score: what candidates are chosen by, on validation images: their "accuracy", or in a search of sizes "agreement",
    minus the divergence of their answers from those of the model as given: yours, or the reference with `pretrained`.
    bf16: run the forward passes of the search, and of `finish`, in bfloat16 where that is safe; weights and all that a
    strategy learns stay in single precision. None: as the run that is resumed; else where the device computes bfloat16
    in hardware, the network has no depthwise convolution and the strategy takes no second derivatives.
    progress: show on standard error how it goes: bars on a terminal, a line an epoch elsewhere.
    say: hears every event as it happens.

    Raises BudgetError for a budget that cannot be kept, UserError for a table of another space or without that problem
    and for a folder that cannot be used, Diverged when a loss is not finite, Interrupted after Ctrl-C.
    """
    strategy = _given(space, strategy, task, budget)
    epochs = _checked(strategy, finish, bf16, epochs=epochs, batch=batch, seed=seed, sandwich=sandwich)
    rule, about = weights or WeightRule(), {"batch": batch, "seed": seed}
    asked: Any = {"task": task, "searched": epochs, "epochs": finish or 0, "pretrained": pretrained, **about}
    then = Finish(space=space, weights=rule, **asked)
    known = truth_of(truth, space.space, truth_problem or task.name) if truth is not None else None
    task = then.lessons()
    config = _config(space, strategy, task, rule) | {"epochs": epochs, **about}
    folder = Path(out) if out is not None else _folder(config)
    bounds = Budget.parse(budget) if isinstance(budget, str) else budget
    order = _ranked(space, strategy, task, pretrained, bounds)
    where: Any = {"latency": latency, "runtime": runtime, "folder": folder, "resume": resume}
    labels = ["search", *(["training"] if finish else [])] if progress else []
    forked = torch.random.fork_rng([task.device] if task.device.type == "cuda" else [])
    with shown(labels, say) as hear, forked:
        ready = prepare(space, task, bounds, **where, say=hear) if bounds else None
        table, judge = ready.table if ready else table_of(latency), judge_of(score, space, strategy, task, pretrained)
        config |= _beside(space, known, pretrained, bounds, table, runtime, finish, sandwich, score)
        goals, start, clock = (ready.goals, ready.start, ready.clock) if ready else ((), None, EAGER)
        steps = epochs * task.streams(seed, batch).train.steps_per_epoch  # what cannot be had: before a folder is made
        torch.manual_seed(seed)
        net = _supernet(space, task, order.state)
        precision = Precision.of(bf16, folder if resume else None, strategy, net, task.device, finish or 0)
        config, then = config | precision.config, replace(then, bf16=precision.bf16)
        more = space.reference, order.strengths, then.rest(), sandwich, steps, judge and precision.task(judge)
        setup = Setup(net, precision.task(task), net.space, rule, seed, goals, start, epochs, *more)
        state = begin(strategy, setup)
        run = Run.start(folder, config, resume=resume, seed=seed, device=task.device, kinds=_kinds(space, strategy))
        with run.alone():
            if is_there(folder / "arch.json") and is_there(folder / "shared.safetensors"):
                return then.train(Result.load(folder, space), resume=resume, say=hear)
            said = forecast(space, strategy, task, steps, batch, goals, sandwich), precision.said, then.said
            _announced(ready, folder, said, hear)
            how: Any = {"epochs": epochs, "batch": batch, "run": run, "say": hear, "truth": known}
            first = share(strategy, state.setup, state=state, **how)
            found, seen = settle(space, task, strategy, first, goals, clock=clock, truth=known)
            if found is not first:
                hear(run.event("settled", arch=space.space.format(found.arch), score=found.score))
            chosen = Result.save_new(folder, space, found, task, goals, seen, table, clock, _sources(strategy))
            return then.train(chosen, resume=resume, say=hear)


def _folder(config: Mapping[str, Any]) -> Path:
    """Return the run folder of a search that names none."""
    names = (short(config["space"]), short(config["strategy"]), config["task"]["name"], config["seed"])
    return Path("runs") / "-".join(map(str, names))


def _sources(strategy: OneShot | Family) -> list[str]:
    """Return what a strategy of another package cites; ours are looked up when a report is written."""
    return [] if name_of(strategy, NAMED) in NAMED else references(place_of(type(strategy)))


def _announced(ready: Budgeted | None, folder: Path, expected: Sequence[str], say: Say) -> None:
    """Keep what the budget is measured by, and say what is possible inside it and what else is expected."""
    if ready:
        ready.keep(folder)
        say({"event": "feasible", "table": str(ready)})
    for text in filter(None, expected):
        say({"event": "forecast", "text": text})


def _given(
    space: SpaceConfig, strategy: OneShot | Family | None, task: Task, budget: Budget | str | None
) -> OneShot | Family:
    """Return the strategy, or the default one. Raises UserError for a class or a name in the place of an object."""
    examples: dict[str, tuple[Any, str]] = {
        "space": (space, "rn.NatsTopology()"),
        "task": (task, 'rn.load_task("digits")'),
    }
    examples |= {"strategy": (strategy, "rn.GDAS()")} if strategy is not None else {}
    for name, (value, example) in examples.items():
        if value is None or isinstance(value, type | str | Space) or hasattr(value, "ask"):
            trials = ", which proposes trials (rn.compare)" if hasattr(value, "ask") else ""
            raise UserError(f"{name} is {value!r:.60}{trials}: give an object such as {example}")
    if not isinstance(budget, Budget | str | None):
        raise UserError(f"budget is {budget!r:.60}: write its bounds, as in macs<=0.5x,params<=2M")
    return strategy or default_strategy(space)


def _checked(strategy: OneShot | Family, finish: int | None, bf16: bool | None, **whole: int) -> int:
    """Return how many epochs are to be trained: none of a family. Raises UserError for numbers that cannot be."""
    check_kind(int | None, "finish", finish)
    check_kind(bool | None, "bf16", bf16)
    for name, number in whole.items():
        check_kind(int, name, number)
    if whole["epochs"] < 1 or whole["batch"] < 1:
        raise UserError(f"epochs is {whole['epochs']} and batch is {whole['batch']}: give at least 1 of each")
    if finish is not None and finish < 1:
        raise UserError(f"finish is {finish}: give at least 1 epoch, or leave it out")
    Range(0, 64).check("sandwich", whole["sandwich"])
    check_seed(whole["seed"])
    return 0 if isinstance(strategy, Family) else whole["epochs"]


def _ranked(
    space: SpaceConfig,
    strategy: OneShot | Family,
    task: Task,
    pretrained: Mapping[str, Tensor] | None,
    budget: Budget | None,
) -> Ranked:
    """Return the weights to start from, for a family with their channels in order.

    Raises UserError for a family without a budget, or of a space that is not one of sizes.
    """
    if not isinstance(strategy, Family):
        return Ranked(pretrained or {}, {})
    if budget is None:
        raise UserError("without a search the largest network inside a budget is taken: give one, such as macs<=0.5x")
    return space.ranked(pretrained, task.channels, task.classes)


def _supernet(space: SpaceConfig, task: Task, pretrained: Mapping[str, Tensor]) -> Supernet:
    """Return the network that is searched, on the task's device.

    Raises UserError where it does not fit, is not in single precision, or the device cannot be used.
    """
    device = usable_device(task.device)
    space.check_size((task.channels, *task.size))
    net = space.supernet(task.channels, task.classes)
    if pretrained and space.model_fingerprint:
        raise UserError("a model of your own starts from its weights: load `pretrained` into it, or give weights=FILE")
    if pretrained:
        first_k(net.plain, pretrained)
    check_learns(net)
    if other := {p.dtype for p in net.parameters() if p.is_floating_point() or p.is_complex()} - {torch.float32}:
        raise UserError(f"the network has weights of {', '.join(map(str, other))}: give a model in float32 (.float())")
    return net.to(device, memory_format=space.memory_format)  # type: ignore[call-overload, no-any-return]


def _beside(
    space: SpaceConfig,
    known: Truth | None,
    pretrained: Mapping[str, Tensor] | None,
    bounds: Budget | None,
    table: Lut | BlockLatency | None,
    runtime: str,
    finish: int | None,
    sandwich: int,
    score: str,
) -> dict[str, Any]:
    """Return what a configuration says beside, of what was asked for only."""
    found = {
        "truth": known and known.facts,
        "pretrained": pretrained and fingerprint(pretrained),
        "model": space.model_fingerprint,
        "budget": bounds and str(bounds),
        "finish": finish,
        "sandwich": sandwich,
        "score": score if score != ACCURACY else None,
        "latency_table": table.sha256 if table else None,
        "runtime": runtime if bounds and runtime != "eager" else None,
    }
    return {key: value for key, value in found.items() if value}


def _kinds(space: SpaceConfig, strategy: OneShot | Family) -> dict[str, type]:
    """Return the dataclasses of what a configuration says, by key."""
    found = {"space_config": type(space), "strategy_config": type(strategy), "weights": WeightRule}
    return {key: kind for key, kind in found.items() if is_dataclass(kind)}


def _config(space: SpaceConfig, strategy: OneShot | Family, task: Task, rule: WeightRule) -> dict[str, Any]:
    return {
        "space": name_of(space, RECORDED),
        "space_config": written(space),
        "strategy": name_of(strategy, NAMED),
        "strategy_config": asdict(strategy),  # type: ignore[call-overload]
        "task": task.describe(),
        "weights": written(rule),
    }
