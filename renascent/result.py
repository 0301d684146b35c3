"""What a search returns: an architecture, what it costs, and every way on from there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from renascent.budgeting import costs_of
from renascent.core import Goal, SpaceConfig, Task
from renascent.costs import Latency, Lut, macs, measure, params
from renascent.errors import UserError, unknown
from renascent.loops._drive import Say
from renascent.loops.fit import Fit, Fitted
from renascent.loops.share import Found, Scorer
from renascent.nets import SPACES
from renascent.nets.adapt import Adapted
from renascent.nets.resizing import at_resolution
from renascent.nets.resolution import input_shape
from renascent.plane import plane
from renascent.retrain import FITTED, Retraining, calibrate
from renascent.run import Json, read_json, read_whole, write_json
from renascent.space import Arch
from renascent.tasks.distill import Distillation
from renascent.weightsfile import load_weights, save_weights

FACTS: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("space", "arch", "strategy", "task"), str),
    **dict.fromkeys(("seed", "channels", "classes", "params", "macs"), int),
    **dict.fromkeys(("search_score", "search_seconds"), (int, float)),
    **dict.fromkeys(("space_config", "latency_ms"), dict),
    "size": list,
}
"""What arch.json holds, by key."""

RECORDED: Mapping[str, Callable[..., SpaceConfig]] = {**SPACES, "adapted": Adapted}
"""Spaces by the name that a run folder has for them: those by name, and a model of the user's own."""


class Result:
    """The outcome of a search, in its run folder. Load one with `Result.load`."""

    def __init__(self, folder: Path, facts: Json, space: SpaceConfig | None = None) -> None:
        self.folder, self.facts = Path(folder), facts
        self.space = space or space_from(facts["space"], facts["space_config"])
        self.arch: Arch = self.space.space.parse(facts["arch"])

    @classmethod
    def save_new(
        cls,
        folder: Path,
        space: SpaceConfig,
        found: Found,
        task: Task,
        goals: Sequence[Goal] = (),
        seen: Latency | None = None,
        table: Lut | None = None,
    ) -> Result:
        """Measure what a finished search found, and write it to its folder.

        goals: the budget it keeps.  seen: its latency, where that was measured for the budget.  table: what predicted
        it, where a table did; it was then measured as the table was.
        """
        config = read_json(folder / "config.json")
        net = space.network(found.arch, task.channels, task.classes)
        shape = input_shape(found.arch, (task.channels, *task.size))
        latency = seen if seen is not None and table is None else measure(net.to(task.device), shape)
        facts = {
            "space": config["space"],
            "arch": space.space.format(found.arch),
            "strategy": config["strategy"],
            "seed": config["seed"],
            "task": config["task"]["name"],
            "space_config": config["space_config"],
            "channels": task.channels,
            "size": list(task.size),
            "classes": task.classes,
            "search_score": found.score,
            "search_seconds": round(found.seconds, 3),
            **({"truth": {"accuracy": found.truth, **config["truth"]}} if "truth" in config else {}),
            "params": params(net),
            "macs": macs(net, shape),
            "latency_ms": asdict(latency),
            **({"costs": costs_of(space, found.arch, task, goals, seen, table)} if goals else {}),
        }
        if points := plane(space, found.arch, goals, Scorer(found.state), (task.channels, *task.size), task.classes):
            facts["plane"] = points
        inherited = found.state.net.extract(found.arch)
        calibrate(at_resolution(inherited, found.arch), task, "train", config["seed"])
        save_weights(folder / "shared.safetensors", inherited)
        write_json(folder / "arch.json", facts)
        return cls(folder, facts, space)

    @classmethod
    def load(cls, folder: str | Path, space: SpaceConfig | None = None) -> Result:
        """Read the result of a finished search. Raises UserError when there is none, or it is damaged.

        space: needed only when it is of your own making and so in no name table.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise UserError(f"there is no folder {folder}: give the folder of a finished search")
        if not (folder / "arch.json").exists() and (folder / "config.json").exists():
            raise UserError(f"the search in {folder} has not finished: resume it (--resume on its command)")
        path = folder / "arch.json"
        facts = read_whole(path, FACTS, "search")
        try:
            return cls(folder, facts, space)
        except TypeError as e:
            raise UserError(f"{path} is damaged ({e}): repeat the search") from None

    @property
    def config(self) -> Json:
        """The configuration of the search."""
        return read_json(self.folder / "config.json")

    def searched_on(self, task: Task) -> bool:
        """Return whether `task` has the data of the search; how they are augmented or taught is no part."""
        asked, held = json.loads(json.dumps(task.describe())), self.config.get("task")
        keys = {"name", "sha256"} if "sha256" in asked else asked.keys() - {"augmentation", "distillation"}
        return isinstance(held, dict) and all(held.get(key) == asked[key] for key in keys)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (channels, h, w) of one input of the chosen network: images at its resolution, where it has one."""
        height, width = self.facts["size"]
        return input_shape(self.arch, (self.facts["channels"], height, width))

    @property
    def latency(self) -> Latency:
        """Measured latency of the chosen network on one input.

        Where a share of the reference's was the bound: the share it takes, times what the reference took before the
        search.
        """
        return Latency(**self.facts["latency_ms"])

    @property
    def fitted(self) -> Json | None:
        """What the last `fit` reached; None before any. Raises UserError when its file is damaged."""
        path = self.folder / "fit" / "result.json"
        return read_whole(path, FITTED, "fit") if path.exists() else None

    def build(self, *, prune: bool = False) -> nn.Module:
        """Return the chosen network as a plain module with fresh weights.

        prune: leave out operations that no path from input to output uses.
        """
        return self.network(self.arch, prune)

    def inherit(self) -> nn.Module:
        """Return the chosen network with the shared weights of the search.

        The running statistics of its batch normalisation were estimated on training images.
        """
        net = self.build()
        load_weights(net, self.folder / "shared.safetensors")
        return net

    def trained(self) -> nn.Module:
        """Return the network of the last `fit`, in evaluation mode. Raises UserError before any."""
        fitted = self.fitted
        if fitted is None:
            raise UserError(f"nothing was trained in {self.folder} yet: run `renascent fit {self.folder}` first")
        net = self.build(prune=fitted["prune"])
        load_weights(net, self.folder / "fit" / "weights.safetensors")
        return net.eval()

    def fit(
        self,
        task: Task,
        settings: Fit | None = None,
        *,
        teacher: nn.Module | Result | str | None = None,
        distillation: Distillation | None = None,
        init: str | nn.Module | Mapping[str, Tensor] = "fresh",
        seed: int = 0,
        prune: bool = False,
        random_cells: int = 0,
        resume: bool = False,
        say: Say = lambda event: None,
    ) -> Fitted:
        """Train the chosen network on all training images, and evaluate it on the test images.

        teacher: whose soft targets are learnt too: a module that takes the data as they are, a `Result` (its trained
        network), or "reference": the space's reference network, trained first with the same settings.
        distillation: how much the teacher counts.
        init: "fresh" weights; "shared", those of the search; or the leading slices of a larger network's, TAS's
        "w/ Init": "reference", or that network or its state dict. Inherited statistics are estimated anew.
        random_cells: so many random architectures are then trained alike, for comparison: inside the budget that the
        search kept, same teacher, same start (fresh where it is "shared", which nothing but the chosen one has).
        resume: go on with an interrupted training.

        The network of what is returned takes images of its own resolution, where that was decided.
        Raises UserError when the folder holds a training already, `task` has other shapes than the search's, the
        teacher does not fit it, or the space has no reference.
        """
        training = Retraining(
            result=self,
            task=task,
            settings=settings or Fit(),
            teacher=teacher,
            distillation=distillation,
            init=init,
            seed=seed,
            prune=prune,
            resume=resume,
            say=say,
        )
        return training.run(random_cells)

    def export(self, path: str | Path) -> Path:
        """Write the trained network, or before any `fit` the one with the shared weights, as .pt2 or .onnx.

        The file is run again and compared before it is accepted. Raises UserError for another ending or a failed
        comparison, MissingExtra when onnx is not installed.
        """
        from renascent.export import export  # only here: exporting takes seconds to import

        return export(self.trained() if self.fitted else self.inherit().eval(), self.shape, Path(path))

    def report(self) -> Path:
        """Write report.html into the run folder and return its path."""
        from renascent.report import write_report  # only here: drawing takes seconds to import

        return write_report(self)

    def __repr__(self) -> str:
        return f"Result({self.facts['arch']}, {self.folder})"

    def __str__(self) -> str:
        from renascent.terminal import summary

        return summary(self)

    def network(self, arch: Arch, prune: bool) -> nn.Module:
        """Return the network of any architecture of the space, for the data of the search, with fresh weights."""
        return self.space.network(arch, self.facts["channels"], self.facts["classes"], prune=prune)

    def check_task(self, task: Task) -> None:
        """Raise UserError unless `task` has images and classes like those of the search."""
        given = (task.channels, *task.size, task.classes)
        held = (self.facts["channels"], *self.facts["size"], self.facts["classes"])
        if given != held:
            raise UserError(
                f"the data have (channels, h, w, classes) = {given}, the search was on {held}: give the same data set"
            )


def space_from(name: str, config: Mapping[str, Any]) -> SpaceConfig:
    """Return the space of a name and its parameters as JSON holds them."""
    if name not in RECORDED:
        raise unknown("space", name, RECORDED)
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in config.items()}
    return RECORDED[name](**values)


def name_of(thing: object, table: Mapping[str, Callable[..., object]]) -> str:
    """Return the name under which a table makes objects like this one; its class's own name when none does.

    A name that stands for a class with some settings goes before one of another setting.
    """
    named = {name: (getattr(made, "func", made), getattr(made, "keywords", {})) for name, made in table.items()}
    fits = [name for name, (kind, _) in named.items() if type(thing) is kind]
    alike = [name for name in fits if all(getattr(thing, k) == v for k, v in named[name][1].items())]
    return next(iter(alike or fits), type(thing).__name__)
