"""Before and after: the original is judged on the same images as the result, by the weights that it came with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from renascent.experiment.result import Result
from renascent.experiment.search import search
from renascent.loops.fit import Fit
from renascent.nets.adapt import adapt
from renascent.nets.sizes.resnet_cifar import ResNetCifar
from renascent.reports.gain import gain_facts, gain_table, gains
from renascent.strategies.uniform import Uniform
from renascent.tasks.images import ImageTask
from renascent.tasks.load import load
from renascent.tasks.prepare import ImageOptions

pytestmark = pytest.mark.usefixtures("without_measuring")


@pytest.fixture(scope="module")
def digits() -> ImageTask:
    return load("digits", options=ImageOptions(limit=300), device="cpu")


def whole(task: ImageTask, split: str) -> tuple[Tensor, Tensor]:
    x, y = zip(*task.batches(split, 64), strict=True)
    return torch.cat(x), torch.cat(y)


def right(net: nn.Module, task: ImageTask, split: str) -> float:
    """Return the share of images of which a network knows the class."""
    x, y = whole(task, split)
    with torch.no_grad():
        return float((net.eval()(x).argmax(1) == y).float().mean())


def learnt(task: ImageTask, steps: int = 80) -> nn.Module:
    """Return a user's model that was trained elsewhere."""
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
    net = nn.Sequential(*layers, nn.Linear(128, 10))
    optimiser, (x, y) = torch.optim.Adam(net.parameters(), 0.01), whole(task, "train")
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimiser.step()
    return net.eval()


def test_a_users_model_has_its_own_weights(tmp_path: Path, digits: ImageTask) -> None:
    model = learnt(digits)
    found = search(adapt(model, (1, 8, 8)), Uniform(), digits, budget="macs<=0.5x", out=tmp_path / "run")
    held = gain_facts(found)
    counted = sum(p.numel() for p in model.parameters())
    assert held["params"]["original"] == counted == 320 + 64 + 1290
    assert held["params"]["result"] == sum(p.numel() for p in found.build().parameters())
    assert held["macs"]["original"] == 9 * 32 * 64 + 1280
    assert held["macs"]["ratio"] == held["macs"]["result"] / held["macs"]["original"] <= 0.5
    before, after = right(model, digits, "val"), right(found.inherit(), digits, "val")
    assert before > 0.8
    assert held["search_accuracy"] == {
        "original": pytest.approx(before),
        "result": pytest.approx(after),
        "ratio": pytest.approx(after / before),
    }
    assert held["latency_ms"] == {"original": 1.0, "result": 1.0, "ratio": 1.0}
    assert gain_table(found)[-1] == "original: your model as given, with the weights it came with"
    fitted = found.fit(digits, Fit(epochs=1, batch=32), init="shared")
    held = gain_facts(found)
    assert "search_accuracy" not in held
    assert held["test_accuracy"]["original"] == pytest.approx(right(model, digits, "test"))
    assert held["test_accuracy"]["result"] == fitted.scores["test"]
    text, page = str(found), found.report().read_text()
    for cells in (gain.cells for gain in gains(found)):
        (line,) = [line for line in text.splitlines() if line.startswith(cells[0]) and line.endswith(cells[3])]
        assert line.split("  ")[0] == cells[0]
        assert all(f'<td class="number">{cell}</td>' in page for cell in cells[1:])
    assert "Original: your model as given, with the weights it came with." in page


@pytest.mark.parametrize("trained", [True, False])
def test_of_a_function_the_better_weights_count(tmp_path: Path, digits: ImageTask, trained: bool) -> None:
    """It may return a model that was trained, or not: nobody says."""
    space = adapt(lambda: learnt(digits, 80 if trained else 0), (1, 8, 8))
    found = search(space, Uniform(), digits, budget="macs<=0.5x", out=tmp_path / "run")
    old = found.about.original
    assert old is not None
    assert not space.is_trained
    own = right(learnt(digits, 80 if trained else 0), digits, "val")
    assert old.score >= own - 1e-6
    if trained:
        assert old.given
        assert old.score == pytest.approx(own)


def test_command_tells_of_a_reference_too(say: Any, tmp_path: Path) -> None:
    line = "search resnet20 --layers-count 8 --strategy uniform --data digits --limit 120 --budget macs<=0.4x --out r"
    facts = say(f"{line} --json").facts
    space = ResNetCifar(layers_count=8)
    net = space.network(space.reference, 1, 10)
    held = facts["gain"]
    assert held["params"]["original"] == sum(p.numel() for p in net.parameters())
    assert held["macs"]["ratio"] <= 0.4
    original = facts["original"]
    assert not original["given"]
    assert held["search_accuracy"]["original"] == original["score"]
    assert "original: the reference network, with the weights that it starts from" in say("report r").out
    assert say("fit r --epochs 1 --batch 64 --teacher reference --json").code == 0
    text = say("report r").out
    assert "original: the reference network, trained as the result was, from fresh weights" in text
    scores = json.loads((tmp_path / "r" / "fit" / "result.json").read_text())
    gained = gain_facts(Result.load("r"))["test_accuracy"]
    assert (gained["original"], gained["result"]) == (scores["reference"]["scores"]["test"], scores["scores"]["test"])


def test_spaces_of_operations_and_runs_of_before_have_none(say: Any) -> None:
    line = "search nats-topology --strategy rsps --candidates 2 --data digits --limit 120 --nodes 2"
    facts = say(f"{line} --channels 4 --cells 1 --epochs 1 --out r --json").facts
    assert "gain" not in facts and "original" not in facts
    assert gain_table(Result.load("r")) == []
