"""The public names."""

import subprocess
import sys
from pathlib import Path

import pytest

import renascent

NAMES = {
    *("search", "Result", "NatsTopology", "GDAS", "DARTS", "DARTSSecondOrder", "SETN", "ENAS", "RSPS", "Fit"),
    *("WeightRule", "ImageTask", "ImageOptions", "load_task", "Space", "Choice", "Integer", "Real", "Subset"),
    *("Arch", "UserError", "RenascentError", "STRATEGIES", "FAMILIES", "SPACES", "DATASETS", "RECIPES"),
    *("open_table", "Table", "Column", "Problem", "MULTITRIAL", "RandomSearch", "REA", "REINFORCE", "BOHB", "Proposal"),
    *("Outcome", "Tabular", "Trained", "Constraint", "trials", "Simulated", "RealTime", "recorded", "Run", "Contest"),
    *("compare", "Comparison", "standings", "pareto", "hypervolume", "ResNetCifar", "NES", "TAS", "FBNetV2", "TuNAS"),
    *("Distillation", "Distilled", "adapt", "measure", "measure_all", "Lut", "LatencyCost", "cost_of"),
    *("topology_space", "DartsCells", "Proxyless", "ProxylessReinforce", "MBConv", "PyramidTree"),
    *("FBNet", "BlockLatency", "DSO", "DSONAS", "BayesNAS", "curvature", "Uniform", "Magnitude", "FINE_TUNING"),
}


def test_what_type_checkers_see_are_the_public_names() -> None:
    assert set(renascent._places()) == NAMES
    assert set(dir(renascent)) >= NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_name_is_there(name: str) -> None:
    assert getattr(renascent, name) is not None


def test_no_public_name_is_a_modules() -> None:
    """Importing that module would put itself in the name's place."""
    modules = {path.stem for path in Path(renascent.__file__).parent.iterdir()}
    assert not NAMES & modules


def test_the_factor_of_curvature_is_public() -> None:
    from renascent.core.curvature import signed_factor

    assert renascent.curvature.signed_factor is signed_factor


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'serch'"):
        _ = renascent.serch  # type: ignore[attr-defined]


def test_version_is_the_installed_one() -> None:
    assert renascent.__version__.count(".") == 2


def test_space_loads_no_torch() -> None:
    code = "import sys, renascent.core.codecs.nats_topology; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
