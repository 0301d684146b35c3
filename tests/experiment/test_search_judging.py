"""Candidates chosen by their agreement with the model as given: the number, where it is told, and where none is."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import renascent as rn
from renascent.core.errors import UserError
from renascent.core.gates import one_hot
from renascent.costs import Latency
from renascent.experiment.judging import judge_of
from renascent.loops.share import Scorer
from renascent.reports.summary import summary
from renascent.results import calibration

SHAPE, ABOUT = (1, 8, 8), {"epochs": 1, "batch": 32, "budget": "macs<=0.6x", "score": "agreement"}
SPACE = rn.ResNetCifar(layers_count=8)


@pytest.fixture(scope="module")
def task() -> rn.ImageTask:
    return rn.load_task("digits", options=rn.ImageOptions(limit=120))


def model() -> nn.Sequential:
    torch.manual_seed(1)
    parts = nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 24, 3, padding=1), nn.ReLU()
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10))


@pytest.fixture(scope="module")
def searched(task: rn.ImageTask, tmp_path_factory: pytest.TempPathFactory) -> tuple[rn.Result, dict[str, float]]:
    """A search of a model of one's own, and every score of a candidate in it."""
    seen: dict[str, float] = {}
    called, given = Scorer.__call__, model().eval()

    def noted(self: Scorer, arch: rn.Arch) -> float:
        seen[self.setup.space.format(arch)] = score = called(self, arch)
        # written out: of softened answers to the one batch, in double precision
        x, _ = self.batch
        with torch.no_grad():
            ours = self.setup.net(x, one_hot(self.setup.space, arch)).double().numpy()
            theirs = given(x).double().numpy()
        p, q = (np.exp(y) / np.exp(y).sum(1, keepdims=True) for y in (theirs, ours))
        assert score == pytest.approx(-(p * np.log(p / q)).sum(1).mean(), abs=1e-6)
        return score

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Scorer, "__call__", noted)
        patch.setattr(calibration, "RECALIBRATION_BATCHES", 2)
        patch.setattr("renascent.experiment.result.measure", lambda net, shape: Latency(1.0, 1.0, 1.0, "not measured"))
        folder = tmp_path_factory.mktemp("searched") / "run"
        result = rn.search(rn.adapt(model(), SHAPE), rn.RSPS(candidates=3), task, out=folder, **ABOUT)
    return result, seen


def test_one_that_agrees_more_than_most_is_chosen(searched: tuple[rn.Result, dict[str, float]]) -> None:
    result, seen = searched
    assert result.facts["scored_by"] == result.config["score"] == "agreement"
    assert result.facts["search_score"] == seen[result.facts["arch"]] < 0
    assert len(seen) > 3 and result.facts["search_score"] > np.mean(list(seen.values()))


@pytest.mark.renders
def test_no_divergence_is_told_as_an_accuracy(searched: tuple[rn.Result, dict[str, float]], tmp_path: Path) -> None:
    result = searched[0]
    shutil.copytree(result.folder, tmp_path / "run")
    found = rn.Result.load(tmp_path / "run", result.space)
    told = f"{found.facts['search_score']:.4f} nats"
    assert f"agreement with the model as given  {told} (shared weights, one validation batch)" in summary(found)
    page = found.report().read_text()
    assert told in page and "agreement with the model as given (nats)" in page
    assert "accuracy in the search" not in page + summary(found)
    assert f"{100 * found.facts['search_score']:.2f} %" not in page + summary(found)


def test_a_reference_with_weights_is_agreed_with(task: rn.ImageTask) -> None:
    torch.manual_seed(0)
    net = SPACE.network(SPACE.reference, 1, 10)
    judge = judge_of("agreement", SPACE, rn.RSPS(), task, net.state_dict())
    assert judge is not None
    batch = task.batches("val", 16)[0]
    with torch.no_grad():
        assert float(judge.loss(net.eval(), batch).score) == pytest.approx(0, abs=1e-7)
        assert float(judge.loss(net, batch).loss) == float(task.loss(net, batch).loss)
    assert judge_of("accuracy", SPACE, rn.RSPS(), task, None) is None


@pytest.mark.parametrize(
    ("space", "strategy", "about", "message"),
    [
        (SPACE, rn.RSPS(), {}, "no trained model is given to agree with: give its weights"),
        (SPACE, rn.RSPS(), {"score": "kl"}, "unknown score 'kl': known: accuracy, agreement"),
        (SPACE, rn.RSPS(), {"pretrained": {"x": torch.zeros(1)}}, "are not weights of the reference network"),
        (SPACE, rn.Uniform(), {}, "which is for searches of sizes: leave it at accuracy"),
        (rn.NatsTopology(channels=4, cells=1), rn.RSPS(), {"budget": None}, "is for searches of sizes"),
    ],
)
def test_what_has_no_model_is_refused_before_a_folder_is_made(
    task: rn.ImageTask, tmp_path: Path, space: Any, strategy: Any, about: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        rn.search(space, strategy, task, out=tmp_path / "r", **{**ABOUT, **about})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "r").exists()
