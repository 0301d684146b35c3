"""renascent: efficient neural architecture search on your own model, data and device."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from renascent.core import WeightRule as WeightRule
    from renascent.errors import RenascentError as RenascentError
    from renascent.errors import UserError as UserError
    from renascent.experiment import search as search
    from renascent.loops.fit import Fit as Fit
    from renascent.nets import SPACES as SPACES
    from renascent.nets import NatsTopology as NatsTopology
    from renascent.recipes import RECIPES as RECIPES
    from renascent.result import Result as Result
    from renascent.space import Arch as Arch
    from renascent.space import Choice as Choice
    from renascent.space import Integer as Integer
    from renascent.space import Real as Real
    from renascent.space import Space as Space
    from renascent.space import Subset as Subset
    from renascent.strategies import DARTS as DARTS
    from renascent.strategies import ENAS as ENAS
    from renascent.strategies import GDAS as GDAS
    from renascent.strategies import RSPS as RSPS
    from renascent.strategies import SETN as SETN
    from renascent.strategies import STRATEGIES as STRATEGIES
    from renascent.strategies import DARTSSecondOrder as DARTSSecondOrder
    from renascent.tasks import DATASETS as DATASETS
    from renascent.tasks import ImageOptions as ImageOptions
    from renascent.tasks import ImageTask as ImageTask
    from renascent.tasks import load as load_task  # noqa: F401 (exported under a name that says what it loads)

    __version__: str

_WHERE = {
    "search": ("experiment", "search"),
    "Result": ("result", "Result"),
    "NatsTopology": ("nets", "NatsTopology"),
    "RSPS": ("strategies", "RSPS"),
    "DARTS": ("strategies", "DARTS"),
    "DARTSSecondOrder": ("strategies", "DARTSSecondOrder"),
    "GDAS": ("strategies", "GDAS"),
    "SETN": ("strategies", "SETN"),
    "ENAS": ("strategies", "ENAS"),
    "Fit": ("loops.fit", "Fit"),
    "WeightRule": ("core", "WeightRule"),
    "ImageTask": ("tasks", "ImageTask"),
    "ImageOptions": ("tasks", "ImageOptions"),
    "load_task": ("tasks", "load"),
    "Space": ("space", "Space"),
    "Choice": ("space", "Choice"),
    "Integer": ("space", "Integer"),
    "Real": ("space", "Real"),
    "Subset": ("space", "Subset"),
    "Arch": ("space", "Arch"),
    "UserError": ("errors", "UserError"),
    "RenascentError": ("errors", "RenascentError"),
    "SPACES": ("nets", "SPACES"),
    "STRATEGIES": ("strategies", "STRATEGIES"),
    "DATASETS": ("tasks", "DATASETS"),
    "RECIPES": ("recipes", "RECIPES"),
}
"""Public name -> (module, name in it). Looked up when first used, so that `renascent.space` loads no torch."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("renascent")
    if name not in _WHERE:
        raise AttributeError(f"module 'renascent' has no attribute '{name}'")
    module, attribute = _WHERE[name]
    value = getattr(importlib.import_module(f"renascent.{module}"), attribute)
    globals()[name] = value  # the next look-up is a plain one
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE, "__version__"])
