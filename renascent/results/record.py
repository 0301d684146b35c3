"""What the run folder of a finished search says, read and checked, and the networks that it describes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from torch import nn

from renascent.core.errors import UserError
from renascent.core.files import Json, read_json, read_whole
from renascent.core.protocols import SpaceConfig, Task
from renascent.core.space import Arch
from renascent.costs import Latency
from renascent.loops.weightsfile import load_weights
from renascent.nets import space_from
from renascent.nets.sizes.resolution import input_shape

FACTS: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("space", "arch", "strategy", "task"), str),
    **dict.fromkeys(("seed", "channels", "classes", "params", "macs"), int),
    **dict.fromkeys(("search_score", "search_seconds"), (int, float)),
    **dict.fromkeys(("space_config", "latency_ms"), dict),
    "size": list,
}
"""What arch.json holds, by key."""

FITTED: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("scores", "settings"), dict),
    **dict.fromkeys(("seed", "params", "macs"), int),
    "seconds": (int, float),
    "prune": bool,
    "random_cells": list,
}
"""What fit/result.json always holds, by key."""


class Record:
    """The outcome of a search, in its run folder."""

    def __init__(self, folder: Path, facts: Json, space: SpaceConfig | None = None) -> None:
        self.folder, self.facts = Path(folder), facts
        self.space: SpaceConfig = space or space_from(facts["space"], facts["space_config"])
        self.arch: Arch = self.space.space.parse(facts["arch"])

    @classmethod
    def load(cls, folder: str | Path, space: SpaceConfig | None = None) -> Self:
        """Read the result of a finished search. Raises UserError when there is none, or it is damaged.

        space: needed only when it is of your own making and so in no name table.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise UserError(f"there is no folder {folder}: give the folder of a finished search")
        if not (folder / "arch.json").exists() and (folder / "config.json").exists():
            raise UserError(f"the search in {folder} has not finished: resume it (`resume=True`)")
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

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.facts['arch']}, {self.folder})"

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
