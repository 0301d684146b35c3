"""Recipe: the settings of a whole search, or of a training, as a paper gives them."""

from dataclasses import dataclass, field
from typing import Any

from renascent.core.protocols import OneShot, SpaceConfig, WeightRule
from renascent.experiment.result import Result
from renascent.loops.fit import Fit
from renascent.tasks.distill import Distillation
from renascent.tasks.load import load
from renascent.tasks.prepare import ImageOptions


@dataclass(frozen=True, kw_only=True)
class SearchPart:
    """A search: the arguments of `renascent.search`, with `data` a name of `tasks.DATASETS`."""

    space: SpaceConfig
    strategy: OneShot
    data: str
    options: ImageOptions
    epochs: int
    batch: int
    weights: WeightRule = field(default_factory=WeightRule)


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

    def run(self, **others: Any) -> Result:
        """Search as the recipe says. others: what `renascent.search` takes besides: seed, out, resume, say.

        Raises AssertionError for a recipe of a training (give its `fit` to `Result.fit`), otherwise as `search` and
        `load_task`.
        """
        from renascent.experiment.search import search

        part = self.search
        assert part is not None, f"{self.name} is a recipe of a training"
        task = load(part.data, options=part.options)
        return search(
            part.space, part.strategy, task, epochs=part.epochs, batch=part.batch, weights=part.weights, **others
        )
