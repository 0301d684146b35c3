"""Recipe: the settings of a whole search, or of a training, as a paper gives them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from renascent.core.protocols import OneShot, SpaceConfig, WeightRule
from renascent.experiment.result import Result
from renascent.loops.fit import Fit
from renascent.tasks.distill import Distillation
from renascent.tasks.load import load
from renascent.tasks.prepare import ImageOptions


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
    """

    name: str
    summary: str
    paper: str
    search: SearchPart | None = None
    fit: Fit | None = None
    distillation: Distillation | None = None
    cutout: int = 0

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
