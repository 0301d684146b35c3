"""renascent: efficient neural architecture search on your own model, data and device."""

import ast
import functools
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from renascent.bench.compare import Contest as Contest
    from renascent.bench.compare import standings as standings
    from renascent.bench.importers import open_table as open_table
    from renascent.bench.tables.columns import Column as Column
    from renascent.bench.tables.columns import Problem as Problem
    from renascent.bench.tables.objectives import hypervolume as hypervolume
    from renascent.bench.tables.objectives import pareto as pareto
    from renascent.bench.tables.table import Table as Table
    from renascent.bench.tabular import Constraint as Constraint
    from renascent.bench.tabular import Tabular as Tabular
    from renascent.core import curvature as curvature
    from renascent.core.codecs.nats_topology import topology_space as topology_space
    from renascent.core.errors import RenascentError as RenascentError
    from renascent.core.errors import UserError as UserError
    from renascent.core.protocols import WeightRule as WeightRule
    from renascent.core.space import Arch as Arch
    from renascent.core.space import Choice as Choice
    from renascent.core.space import Integer as Integer
    from renascent.core.space import Real as Real
    from renascent.core.space import Space as Space
    from renascent.core.space import Subset as Subset
    from renascent.costs.counts import cost_of as cost_of
    from renascent.costs.latency.blocks import BlockLatency as BlockLatency
    from renascent.costs.latency.cost import LatencyCost as LatencyCost
    from renascent.costs.latency.measure import measure as measure
    from renascent.costs.latency.measure import measure_all as measure_all
    from renascent.costs.latency.table import Lut as Lut
    from renascent.experiment.comparison import Comparison as Comparison
    from renascent.experiment.comparison import compare as compare
    from renascent.experiment.recipes import RECIPES as RECIPES
    from renascent.experiment.result import Result as Result
    from renascent.experiment.search import search as search
    from renascent.loops.fit import Fit as Fit
    from renascent.loops.replay import recorded as recorded
    from renascent.loops.run import Run as Run
    from renascent.loops.trained import Trained as Trained
    from renascent.loops.training import FINE_TUNING as FINE_TUNING
    from renascent.loops.trials import RealTime as RealTime
    from renascent.loops.trials import Simulated as Simulated
    from renascent.loops.trials import trials as trials
    from renascent.nets import SPACES as SPACES
    from renascent.nets.adapt.given import adapt as adapt
    from renascent.nets.cells.darts import DartsCells as DartsCells
    from renascent.nets.cells.dso import DSO as DSO
    from renascent.nets.cells.fbnet import FBNet as FBNet
    from renascent.nets.cells.mbconv import MBConv as MBConv
    from renascent.nets.cells.nats import NatsTopology as NatsTopology
    from renascent.nets.cells.pyramid import PyramidTree as PyramidTree
    from renascent.nets.sizes.resnet_cifar import ResNetCifar as ResNetCifar
    from renascent.strategies import FAMILIES as FAMILIES
    from renascent.strategies import STRATEGIES as STRATEGIES
    from renascent.strategies.bayesnas import BayesNAS as BayesNAS
    from renascent.strategies.darts import DARTS as DARTS
    from renascent.strategies.darts import DARTSSecondOrder as DARTSSecondOrder
    from renascent.strategies.dsonas import DSONAS as DSONAS
    from renascent.strategies.enas import ENAS as ENAS
    from renascent.strategies.fbnetv2 import FBNetV2 as FBNetV2
    from renascent.strategies.gdas import GDAS as GDAS
    from renascent.strategies.magnitude import Magnitude as Magnitude
    from renascent.strategies.nes import NES as NES
    from renascent.strategies.proxyless import Proxyless as Proxyless
    from renascent.strategies.proxyless_reinforce import ProxylessReinforce as ProxylessReinforce
    from renascent.strategies.rsps import RSPS as RSPS
    from renascent.strategies.setn import SETN as SETN
    from renascent.strategies.tas import TAS as TAS
    from renascent.strategies.trials import MULTITRIAL as MULTITRIAL
    from renascent.strategies.trials.bohb import BOHB as BOHB
    from renascent.strategies.trials.protocol import Outcome as Outcome
    from renascent.strategies.trials.protocol import Proposal as Proposal
    from renascent.strategies.trials.random import RandomSearch as RandomSearch
    from renascent.strategies.trials.rea import REA as REA
    from renascent.strategies.trials.reinforce import REINFORCE as REINFORCE
    from renascent.strategies.tunas import TuNAS as TuNAS
    from renascent.strategies.uniform import Uniform as Uniform
    from renascent.tasks import DATASETS as DATASETS
    from renascent.tasks.distill import Distillation as Distillation
    from renascent.tasks.distill import Distilled as Distilled
    from renascent.tasks.images import ImageTask as ImageTask
    from renascent.tasks.load import load as load_task  # noqa: F401 (exported under a name that says what it loads)
    from renascent.tasks.prepare import ImageOptions as ImageOptions

    __version__: str


@functools.cache
def _places() -> dict[str, tuple[str, str]]:
    """Return public name -> (module, name in it), read off the imports above, so that each is made when first used."""
    nodes = ast.walk(ast.parse(Path(__file__).read_text(encoding="utf-8")))
    found = [(str(node.module), alias) for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names]
    return {alias.asname: (module, alias.name) for module, alias in found if alias.asname}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("renascent")
    if name not in _places():
        raise AttributeError(f"module 'renascent' has no attribute '{name}'")
    module, attribute = _places()[name]
    # a public module is a submodule of its place
    value = getattr(importlib.import_module(module), attribute, None) or importlib.import_module(
        f"{module}.{attribute}"
    )
    globals()[name] = value  # the next look-up is a plain one
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_places(), "__version__"])
