"""Uniform scaling beside a result: which network it is, how it is trained, resumed and told, and what has none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import renascent as rn
from renascent.core.errors import UserError
from renascent.costs.budget import Budget
from renascent.costs.scaling import scaled
from renascent.loops.fit import Fit
from renascent.nets.cells.nats import NatsTopology
from renascent.reports.sizes import plane
from renascent.reports.summary import summary
from renascent.reports.uniform import uncompared, uniform_facts, uniform_notes
from renascent.results import calibration, trainer
from renascent.results.baselines import uniform_of

SMALL, DEEP = rn.ResNetCifar(layers_count=8), rn.ResNetCifar(layers_count=20)
SHAPE, CLASSES = (1, 8, 8), 10
SETTINGS = Fit(epochs=2, batch=32)
BUDGET = "macs<=0.3x,params<=0.5x"

pytestmark = pytest.mark.usefixtures("without_measuring")


def digits() -> rn.ImageTask:
    return rn.load_task("digits", options=rn.ImageOptions(limit=120))


@pytest.fixture(autouse=True)
def few_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Estimate statistics on few images."""
    monkeypatch.setattr(calibration, "RECALIBRATION_BATCHES", 2)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("searched") / "run"
    rn.search(SMALL, rn.RSPS(candidates=2), digits(), epochs=1, batch=32, budget=BUDGET, out=folder)
    return folder


@pytest.fixture
def found(searched: Path, tmp_path: Path) -> rn.Result:
    return rn.Result.load(shutil.copytree(searched, tmp_path / "run"))


def weights_of(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "checkpoint.safetensors")


def test_it_is_told_before_any_training_and_trained_as_the_result_is(
    found: rn.Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    goals = Budget.parse(BUDGET).goals(SMALL, SHAPE, CLASSES)
    even = scaled(SMALL, goals, SHAPE, CLASSES)
    assert even is not None and found.facts["uniform"]["arch"] == SMALL.space.format(even.arch)
    assert found.facts["uniform"]["way"] == even.way == {"depth": True}
    assert (
        uncompared(found)
        == f"not compared with uniform scaling: `renascent fit {found.folder} --uniform` trains it beside"
    )
    text = summary(found)
    assert "beside uniform scaling" in text and uncompared(found) in text
    facts = uniform_facts(found)
    assert facts["macs"] == {"result": found.facts["macs"], "uniform": found.facts["uniform"]["costs"]["macs"]}
    assert facts["note"] == uncompared(found)
    # killed in its training, and resumed: the same bits as an undisturbed one
    fitted, calls = trainer.fit, []

    def killed(*args: Any, **about: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            about["say"] = lambda event: (_ for _ in ()).throw(KeyboardInterrupt)
        return fitted(*args, **about)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "fit", killed)
        with pytest.raises(KeyboardInterrupt):
            found.fit(digits(), SETTINGS, teacher="reference", uniform=True)
    assert found.training is None
    found.fit(digits(), SETTINGS, teacher="reference", uniform=True, resume=True)
    other = found.folder / "fit" / "uniform"
    config, own = (json.loads((folder / "config.json").read_text()) for folder in (other, other.parent))
    assert {k: v for k, v in config.items() if k != "arch"} == {k: v for k, v in own.items() if k != "arch"}
    training = found.training
    assert training is not None and training.uniform is not None
    assert (training.uniform.init, training.uniform.arch) == ("fresh", SMALL.space.format(even.arch))
    again = rn.Result.load(shutil.copytree(found.folder, found.folder.parent / "again"))
    shutil.rmtree(again.folder / "fit")
    again.fit(digits(), SETTINGS, teacher="reference", uniform=True)
    assert again.training is not None and again.training.uniform == training.uniform
    for name, value in weights_of(again.folder / "fit" / "uniform").items():
        if name.startswith("net"):
            assert torch.equal(value, weights_of(other)[name])


def test_it_may_be_trained_when_the_result_is_already_and_both_are_told(found: rn.Result) -> None:
    found.fit(digits(), SETTINGS, init="shared")
    assert uncompared(found).endswith("the training's command with --uniform --resume trains it beside")
    found.fit(digits(), SETTINGS, init="shared", uniform=True, resume=True)
    training = found.training
    assert training is not None and training.uniform is not None
    own, other = training.scores["test"], training.uniform.scores["test"]
    points = f"the result is {100 * (own - other):+.2f} points from it)"
    told = f"{100 * other:.2f} % (widths scaled, trained identically, but from fresh weights; {points}"
    assert f"uniform scaling         {told}" in summary(found)
    assert f"test accuracy of uniform scaling: {told}" in list(uniform_notes(found))
    assert uncompared(found) == ""
    assert uniform_facts(found)["test"] == {"result": own, "uniform": other, "difference": own - other}
    assert len(plane(found)) == 2  # in the search, and trained
    page = found.report().read_text()
    assert "Beside uniform scaling" in page and told in page


def test_of_a_folder_of_before_it_is_found_again_and_the_report_is_silent(found: rn.Result, unsealed: Any) -> None:
    path = unsealed(found.folder) / "arch.json"
    held = json.loads(path.read_text())
    expected = held.pop("uniform")
    path.write_text(json.dumps(held))
    old = rn.Result.load(found.folder)
    assert vars(uniform_of(old)) == expected  # type: ignore[arg-type]
    assert (uncompared(old), uniform_facts(old)) == ("", {})
    assert "uniform" not in summary(old)


def test_a_search_that_ends_at_the_scaled_network_says_so_and_trains_no_other(found: rn.Result, unsealed: Any) -> None:
    path = unsealed(found.folder) / "arch.json"
    held = json.loads(path.read_text())
    held["uniform"]["arch"] = held["arch"]
    path.write_text(json.dumps(held))
    same = rn.Result.load(found.folder)
    assert (uniform_of(same), uncompared(same), uniform_facts(same)) == (None, "", {})
    assert "the result is what uniform scaling gives: " in summary(same)
    same.fit(digits(), SETTINGS, uniform=True)
    assert same.training is not None and same.training.uniform is None
    assert not (same.folder / "fit" / "uniform").exists()


def test_of_a_model_of_ones_own_it_starts_as_without_a_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    parts = nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 24, 3, padding=1), nn.ReLU()
    model = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10))
    space = rn.adapt(model, SHAPE)
    about: Any = {"budget": "macs<=0.6x"}
    result = rn.search(space, rn.RSPS(candidates=2), digits(), epochs=1, batch=32, out=tmp_path / "s", **about)
    alone = rn.search(space, rn.Uniform(), digits(), out=tmp_path / "u", **about)
    assert result.facts["uniform"]["arch"] == alone.facts["arch"]
    assert "uniform" not in alone.facts
    begun: list[dict[str, Tensor]] = []
    fitted = trainer.fit

    def noted(net: nn.Module, *args: Any, **rest: Any) -> Any:
        begun.append({name: p.detach().clone() for name, p in net.named_parameters()})
        return fitted(net, *args, **rest)

    monkeypatch.setattr(trainer, "fit", noted)
    result.fit(digits(), Fit(epochs=1, batch=32), init="shared", uniform=True, random_cells=1)
    for name, value in alone.shared.items():
        if name in begun[1]:
            assert torch.equal(begun[1][name], value)
    assert not torch.equal(begun[0]["7.bias"], begun[1]["7.bias"])
    cell, own = begun[2], dict(model.named_parameters())
    assert torch.equal(cell["7.bias"], own["7.bias"]) and len(cell["0.weight"]) > 0
    for row in cell["0.weight"]:
        assert any(torch.equal(row, other) for other in own["0.weight"])
    assert "1 architecture inside the budget, trained identically, but from the model's own weights" in summary(result)
    assert "scaled, trained identically, but from the model's own weights" in summary(result)
    alone.fit(digits(), Fit(epochs=1), uniform=True)  # there is nothing to train beside it
    assert alone.training is not None and alone.training.uniform is None


def test_what_has_none_is_refused_before_a_folder_is_made(found: rn.Result) -> None:
    config = found.folder / "config.json"
    held = json.loads(config.read_text())
    config.write_text(json.dumps({key: value for key, value in held.items() if key != "budget"}))
    with pytest.raises(UserError, match="has no budget, so no uniformly scaled network: leave uniform out"):
        found.fit(digits(), SETTINGS, uniform=True)
    found.space = NatsTopology()
    config.write_text(json.dumps(held))
    with pytest.raises(UserError, match="has no sizes to scale"):
        uniform_of(found)
    assert not (found.folder / "fit").exists()
