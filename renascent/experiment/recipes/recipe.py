"""Recipe: the settings of a whole search, or of a training, as a paper gives them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from renascent.core.errors import UserError
from renascent.core.protocols import OneShot, SpaceConfig, Task, WeightRule
from renascent.experiment.result import Result
from renascent.loops.fit import Fit
from renascent.results.widening import widest
from renascent.tasks.distill import Distillation
from renascent.tasks.load import load
from renascent.tasks.prepare import ImageOptions

WIDEST = 256
"""Channels of the widest network that `most_macs` looks at."""


@dataclass(frozen=True, kw_only=True)
class SearchPart:
    """A search: the arguments of `renascent.search`, with `data` a name of `tasks.DATASETS`.

    seeds: of several searches, of which the best by validation counts; none: one search.
    """

    space: SpaceConfig
    strategy: OneShot
    data: str
    options: ImageOptions
    epochs: int
    batch: int
    weights: WeightRule = field(default_factory=WeightRule)
    seeds: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings by name. One of `search` and `fit` is given.

    Args:
        name: as in `RECIPES`.
        summary: what it is, in one line.
        paper: where the settings come from.
        search: a whole search.
        fit: a training of one network.
        distillation: of a training that has a teacher: the trained reference network of the space, unless another is
            given.
        cutout: of a training: side in pixels of the square cut out of its images.
        network: of a training: settings of the space that its network has in the place of the search's.
        most_macs: of a training: its network is the widest, of an even number of channels, with fewer
            multiply-accumulates; 0 says nothing.
    """

    name: str
    summary: str
    paper: str
    search: SearchPart | None = None
    fit: Fit | None = None
    distillation: Distillation | None = None
    cutout: int = 0
    network: Mapping[str, Any] = field(default_factory=dict)
    most_macs: int = 0

    def network_for(self, result: Result, task: Task, **others: Any) -> SpaceConfig | None:
        """Return what a training has in the place of the network that was searched; None for that one.

        others: settings of the space that come before those of the recipe.

        Raises UserError for a space without such settings, and data on which even the narrowest network takes more.
        """
        if not (self.network or others):
            return None
        try:
            network = replace(result.space, **{**self.network, **others})  # type: ignore[type-var]
        except TypeError:
            named = ", ".join(self.network)
            raise UserError(
                f"recipe '{self.name}' sets {named} of a network, which {result.about.space} lacks"
            ) from None
        if not self.most_macs or "channels" in others:
            return network
        shape = (task.channels, *task.size)
        network.check_size(shape)

        found = widest(network, result.arch, shape, task.classes, {"macs": self.most_macs - 1}, step=2, most=WIDEST)
        if found is None:
            raise UserError(f"images of {shape[1]} x {shape[2]} take more than {self.most_macs:,} multiply-accumulates")
        return found

    def run(self, *, out: str | Path | None = None, **others: Any) -> Result:
        """Search as the recipe says. others: what `renascent.search` takes besides: seed, resume, say.

        Where the recipe has several seeds and none is given, it searches with each, in folders seed-0 and so on of
        `out`, and returns the result with the best score on validation images.

        Raises AssertionError for a recipe of a training (give its `fit` to `Result.fit`), otherwise as `search` and
        `load_task`.
        """
        from renascent.experiment.search import search

        part = self.search
        assert part is not None, f"{self.name} is a recipe of a training"
        task = load(part.data, options=part.options)
        about: Any = {"epochs": part.epochs, "batch": part.batch, "weights": part.weights, **others}
        if not part.seeds or "seed" in others:
            return search(part.space, part.strategy, task, out=out, **about)
        folders = {seed: Path(out) / f"seed-{seed}" if out is not None else None for seed in part.seeds}
        found = [search(part.space, part.strategy, task, out=to, seed=seed, **about) for seed, to in folders.items()]
        return max(found, key=lambda result: result.about.search_score)
