"""What a search returns: an architecture, what it costs, and every way on from there."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from renascent.core import SpaceConfig, Task
from renascent.costs import Latency, macs, measure, params
from renascent.errors import UserError, unknown
from renascent.loops._drive import Say
from renascent.loops.fit import Fit, Fitted, _check_drop_path, fit, recalibrate
from renascent.loops.share import Found
from renascent.nets import SPACES
from renascent.run import Json, Run, check_seed, read_json, read_whole, write_json, writing
from renascent.space import Arch

RECALIBRATION_BATCHES = 50

FACTS: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("space", "arch", "strategy", "task"), str),
    **dict.fromkeys(("seed", "channels", "classes", "params", "macs"), int),
    **dict.fromkeys(("search_score", "search_seconds"), (int, float)),
    **dict.fromkeys(("space_config", "latency_ms"), dict),
    "size": list,
}
FITTED: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("scores", "settings"), dict),
    **dict.fromkeys(("seed", "params", "macs"), int),
    "seconds": (int, float),
    "prune": bool,
    "random_cells": list,
}
"""What arch.json and fit/result.json hold, by key."""


class Result:
    """The outcome of a search, in its run folder. Load one with `Result.load`."""

    def __init__(self, folder: Path, facts: Json, space: SpaceConfig | None = None) -> None:
        self.folder, self.facts = Path(folder), facts
        self.space = space or space_from(facts["space"], facts["space_config"])
        self.arch: Arch = self.space.space.parse(facts["arch"])

    @classmethod
    def save_new(cls, folder: Path, space: SpaceConfig, found: Found, task: Task) -> Result:
        """Measure what a finished search found, and write it to its folder."""
        config = read_json(folder / "config.json")
        net = space.network(found.arch, task.channels, task.classes)
        shape = (task.channels, *task.size)
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
            "latency_ms": asdict(measure(net.to(task.device), shape)),
        }
        inherited = found.state.net.extract(found.arch)
        # shuffled: images that lie in order of their classes would give the statistics of the first class
        stream = task.stream("train", config["seed"], 64)
        recalibrate(inherited, (stream.next() for _ in range(RECALIBRATION_BATCHES)))
        _save_weights(folder / "shared.safetensors", inherited)
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
        """Return whether `task` has the data of the search; how they are augmented is no part of them."""
        asked, held = json.loads(json.dumps(task.describe())), self.config.get("task")
        keys = {"name", "sha256"} if "sha256" in asked else asked.keys() - {"augmentation"}
        return isinstance(held, dict) and all(held.get(key) == asked[key] for key in keys)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (channels, h, w) of one input."""
        height, width = self.facts["size"]
        return self.facts["channels"], height, width

    @property
    def latency(self) -> Latency:
        """Measured latency of the chosen network on one input."""
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
        return self._network(self.arch, prune)

    def inherit(self) -> nn.Module:
        """Return the chosen network with the shared weights of the search.

        The running statistics of its batch normalisation were estimated on training images.
        """
        net = self.build()
        _load_weights(net, self.folder / "shared.safetensors")
        return net

    def trained(self) -> nn.Module:
        """Return the network of the last `fit`, in evaluation mode. Raises UserError before any."""
        fitted = self.fitted
        if fitted is None:
            raise UserError(f"nothing was trained in {self.folder} yet: run `renascent fit {self.folder}` first")
        net = self.build(prune=fitted["prune"])
        _load_weights(net, self.folder / "fit" / "weights.safetensors")
        return net.eval()

    def fit(
        self,
        task: Task,
        settings: Fit | None = None,
        *,
        seed: int = 0,
        prune: bool = False,
        random_cells: int = 0,
        resume: bool = False,
        say: Say = lambda event: None,
    ) -> Fitted:
        """Train the chosen network from scratch on all training images, and evaluate it on the test images.

        random_cells: so many random architectures are then trained alike, for comparison.
        resume: go on with an interrupted training.
        Raises UserError when the folder holds a training already or `task` has other shapes than the search's.
        """
        check_seed(seed)
        self._check_task(task)
        same = self.searched_on(task)
        settings = settings or Fit()
        one = functools.partial(self._fit_one, task, settings, seed=seed, prune=prune, resume=resume, say=say)
        chosen = one(self.folder / "fit", self.arch)
        rng = np.random.default_rng([seed, 1])
        scores = []
        for number in range(random_cells):
            arch = self.space.space.sample(rng)
            folder = self.folder / "fit" / f"random-{number + 1}"
            scores.append({"arch": self.space.space.format(arch), **one(folder, arch).scores})
        _save_weights(self.folder / "fit" / "weights.safetensors", chosen.net)
        facts = {
            "task": task.name,
            "same_data": same,
            "scores": chosen.scores,
            "seconds": round(chosen.seconds, 3),
            "settings": asdict(settings),
            "seed": seed,
            "prune": prune,
            "params": params(chosen.net),
            "macs": macs(chosen.net, self.shape),
            "random_cells": scores,
        }
        write_json(self.folder / "fit" / "result.json", facts)
        return chosen

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

    def _network(self, arch: Arch, prune: bool) -> nn.Module:
        return self.space.network(arch, self.facts["channels"], self.facts["classes"], prune=prune)

    def _fit_one(
        self,
        task: Task,
        settings: Fit,
        folder: Path,
        arch: Arch,
        *,
        seed: int,
        prune: bool,
        resume: bool,
        say: Say,
    ) -> Fitted:
        config = {
            "arch": self.space.space.format(arch),
            "task": task.describe(),
            "settings": asdict(settings),
            "seed": seed,
            "prune": prune,
        }
        # without test images, those held out in the search take their place
        split, judge = ("train+val", "test") if task.count("test") else ("train", "val")
        task.stream(split, seed, settings.batch)  # as below: what cannot be had is refused before a folder is made
        with torch.random.fork_rng([task.device] if task.device.type == "cuda" else []):
            torch.manual_seed(seed)
            net = self._network(arch, prune).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            _check_drop_path(net, settings)
            # a random cell that was not begun when the run was interrupted has no folder yet, and just begins
            instead = f"remove {self.folder / 'fit'}"
            run = Run.start(folder, config, resume=resume, seed=seed, device=task.device, instead=instead)
            return fit(net, task, settings, run=run, seed=seed, split=split, evaluate=(judge,), say=say)

    def _check_task(self, task: Task) -> None:
        given = (task.channels, *task.size, task.classes)
        if given != (*self.shape, self.facts["classes"]):
            raise UserError(
                f"the data have (channels, h, w, classes) = {given}, the search was on "
                f"{(*self.shape, self.facts['classes'])}: give the same data set"
            )


def space_from(name: str, config: Mapping[str, Any]) -> SpaceConfig:
    """Return the space of a name and its parameters as JSON holds them."""
    if name not in SPACES:
        raise unknown("space", name, SPACES)
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in config.items()}
    return SPACES[name](**values)


def name_of(thing: object, table: Mapping[str, type]) -> str:
    """Return the name of an object's class in a name table; the class's own name when it is not in it."""
    return next((name for name, kind in table.items() if type(thing) is kind), type(thing).__name__)


def _save_weights(path: Path, net: nn.Module) -> None:
    tensors = {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
    scratch = path.with_name(path.name + ".part")
    with writing(path):
        save_file(tensors, scratch)
        scratch.replace(path)


def _load_weights(net: nn.Module, path: Path) -> None:
    try:
        net.load_state_dict(load_file(path))
    except Exception as e:
        raise UserError(
            f"the weights {path} cannot be read ({type(e).__name__}): repeat the run that wrote them"
        ) from e
