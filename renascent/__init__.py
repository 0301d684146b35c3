"""renascent: efficient neural architecture search on your own model, data and device."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from renascent.asktell import Outcome as Outcome
    from renascent.asktell import Proposal as Proposal
    from renascent.columns import Column as Column
    from renascent.columns import Problem as Problem
    from renascent.comparison import Contest as Contest
    from renascent.comparison import compare as compare
    from renascent.core import WeightRule as WeightRule
    from renascent.errors import RenascentError as RenascentError
    from renascent.errors import UserError as UserError
    from renascent.evaluate.constraints import Constraint as Constraint
    from renascent.evaluate.tabular import Tabular as Tabular
    from renascent.evaluate.trained import Trained as Trained
    from renascent.experiment import search as search
    from renascent.importers import open_table as open_table
    from renascent.loops.fit import Fit as Fit
    from renascent.loops.replay import recorded as recorded
    from renascent.loops.trials import RealTime as RealTime
    from renascent.loops.trials import Simulated as Simulated
    from renascent.loops.trials import trials as trials
    from renascent.multitrial import BOHB as BOHB
    from renascent.multitrial import MULTITRIAL as MULTITRIAL
    from renascent.multitrial import REA as REA
    from renascent.multitrial import REINFORCE as REINFORCE
    from renascent.multitrial import RandomSearch as RandomSearch
    from renascent.nets import SPACES as SPACES
    from renascent.nets import NatsTopology as NatsTopology
    from renascent.nets import ResNetCifar as ResNetCifar
    from renascent.objectives import hypervolume as hypervolume
    from renascent.objectives import pareto as pareto
    from renascent.recipes import RECIPES as RECIPES
    from renascent.result import Result as Result
    from renascent.run import Run as Run
    from renascent.significance import standings as standings
    from renascent.space import Arch as Arch
    from renascent.space import Choice as Choice
    from renascent.space import Integer as Integer
    from renascent.space import Real as Real
    from renascent.space import Space as Space
    from renascent.space import Subset as Subset
    from renascent.strategies import DARTS as DARTS
    from renascent.strategies import ENAS as ENAS
    from renascent.strategies import GDAS as GDAS
    from renascent.strategies import NES as NES
    from renascent.strategies import RSPS as RSPS
    from renascent.strategies import SETN as SETN
    from renascent.strategies import STRATEGIES as STRATEGIES
    from renascent.strategies import TAS as TAS
    from renascent.strategies import DARTSSecondOrder as DARTSSecondOrder
    from renascent.strategies import FBNetV2 as FBNetV2
    from renascent.strategies import TuNAS as TuNAS
    from renascent.table import Table as Table
    from renascent.tasks import DATASETS as DATASETS
    from renascent.tasks import ImageOptions as ImageOptions
    from renascent.tasks import ImageTask as ImageTask
    from renascent.tasks import load as load_task  # noqa: F401 (exported under a name that says what it loads)
    from renascent.tasks.distill import Distillation as Distillation
    from renascent.tasks.distill import Distilled as Distilled

    __version__: str

_WHERE = {
    "search": ("experiment", "search"),
    "Result": ("result", "Result"),
    "NatsTopology": ("nets", "NatsTopology"),
    "ResNetCifar": ("nets", "ResNetCifar"),
    "RSPS": ("strategies", "RSPS"),
    "DARTS": ("strategies", "DARTS"),
    "DARTSSecondOrder": ("strategies", "DARTSSecondOrder"),
    "GDAS": ("strategies", "GDAS"),
    "SETN": ("strategies", "SETN"),
    "ENAS": ("strategies", "ENAS"),
    "NES": ("strategies", "NES"),
    "TAS": ("strategies", "TAS"),
    "FBNetV2": ("strategies", "FBNetV2"),
    "TuNAS": ("strategies", "TuNAS"),
    "Fit": ("loops.fit", "Fit"),
    "WeightRule": ("core", "WeightRule"),
    "ImageTask": ("tasks", "ImageTask"),
    "ImageOptions": ("tasks", "ImageOptions"),
    "load_task": ("tasks", "load"),
    "Distillation": ("tasks.distill", "Distillation"),
    "Distilled": ("tasks.distill", "Distilled"),
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
    "open_table": ("importers", "open_table"),
    "Table": ("table", "Table"),
    "Column": ("columns", "Column"),
    "Problem": ("columns", "Problem"),
    "MULTITRIAL": ("multitrial", "MULTITRIAL"),
    "RandomSearch": ("multitrial", "RandomSearch"),
    "REA": ("multitrial", "REA"),
    "REINFORCE": ("multitrial", "REINFORCE"),
    "BOHB": ("multitrial", "BOHB"),
    "Proposal": ("asktell", "Proposal"),
    "Outcome": ("asktell", "Outcome"),
    "Tabular": ("evaluate.tabular", "Tabular"),
    "Trained": ("evaluate.trained", "Trained"),
    "Constraint": ("evaluate.constraints", "Constraint"),
    "trials": ("loops.trials", "trials"),
    "Simulated": ("loops.trials", "Simulated"),
    "recorded": ("loops.replay", "recorded"),
    "Run": ("run", "Run"),
    "Contest": ("comparison", "Contest"),
    "compare": ("comparison", "compare"),
    "standings": ("significance", "standings"),
    "pareto": ("objectives", "pareto"),
    "hypervolume": ("objectives", "hypervolume"),
    "RealTime": ("loops.trials", "RealTime"),
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
