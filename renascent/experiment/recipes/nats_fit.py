"""How NATS-Bench trains each network: settings H0, H1 and H2 of arXiv:2009.00437, Table 3.

The mirroring and padded crop of the papers are those of the data set: `tasks.DATASETS`.
"""

from __future__ import annotations

from renascent.core.protocols import WeightRule
from renascent.experiment.recipes.recipe import Recipe
from renascent.loops.fit import Fit


def h0() -> Recipe:
    """Return the benchmark's 12-epoch training."""
    return _recipe("nats-h0", 12)


def h1() -> Recipe:
    """Return the benchmark's 200-epoch training."""
    return _recipe("nats-h1", 200)


def h2() -> Recipe:
    """Return the benchmark's 90-epoch training."""
    return _recipe("nats-h2", 90)


def _recipe(name: str, epochs: int) -> Recipe:
    weights = WeightRule(lr=0.1, lr_end=0.0, momentum=0.9, nesterov=True, weight_decay=5e-4, clip=0.0)
    return Recipe(
        name=name,
        fit=Fit(epochs=epochs, batch=256, weights=weights),
    )
