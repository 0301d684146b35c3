"""Training what was found: teachers, starts, resolutions, what is recorded, and kills on the way."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from renascent.core.errors import UserError
from renascent.core.fingerprint import fingerprint
from renascent.core.gates import Gates
from renascent.core.protocols import SpaceConfig, Supernet, Task, WeightRule
from renascent.core.space import Arch, Integer, Space
from renascent.experiment.result import Result
from renascent.experiment.search import search
from renascent.loops import _drive
from renascent.loops.evaluate import accuracy
from renascent.loops.fit import Fit, fit
from renascent.loops.run import Run
from renascent.loops.weightsfile import load_tree, save_weights
from renascent.nets.adapt import adapt
from renascent.nets.sizes.inherit import first_k
from renascent.nets.sizes.resolution import Resizing, resize
from renascent.reports.summary import summary
from renascent.results import trainer
from renascent.results.calibration import calibrate
from renascent.strategies.rsps import RSPS
from renascent.tasks.distill import Distillation, Distilled
from renascent.tasks.images import ImageTask
from renascent.tasks.load import load
from renascent.tasks.prepare import ImageOptions

CLASSES = 10
SETTINGS = Fit(epochs=2, batch=32, weights=WeightRule(lr=0.2, lr_end=0.0, clip=0.0))


class TinyNet(nn.Module):
    """One convolution and a classifier. seen: sizes of the images of every forward pass."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width)
        self.last = nn.Linear(width, CLASSES)
        self.seen: set[int] = set()

    def forward(self, x: Tensor) -> Tensor:
        self.seen.add(x.shape[-1])
        return self.last(self.norm(self.conv(x)).relu().mean((2, 3)))


class TinySupernet(Supernet):
    def __init__(self, config: Tiny) -> None:
        super().__init__()
        self.space, self.whole = config.space, TinyNet(16)

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        width, size = (
            self.space.decisions[name].options[gates[name].active[0]]  # type: ignore[union-attr]
            for name in ("width", "resolution")
        )
        net, w = self.whole, int(width)
        y = functional.conv2d(resize(x, int(size)), net.conv.weight[:w], net.conv.bias[:w], padding=1)
        y = functional.batch_norm(y, None, None, net.norm.weight[:w], net.norm.bias[:w], training=True)
        return functional.linear(y.relu().mean((2, 3)), net.last.weight[:, :w], net.last.bias)

    def extract(self, arch: Arch) -> nn.Module:
        net = TinyNet(int(arch["width"]))
        first_k(net, self.whole.state_dict())
        return net


@dataclass(frozen=True)
class Tiny(SpaceConfig):
    """A space of widths and resolutions, with a reference that is the widest."""

    widths: tuple[int, ...] = (4, 8)
    resolutions: tuple[int, ...] = (4, 6)

    @property
    def space(self) -> Space:
        return Space({"width": Integer((*self.widths, 16)), "resolution": Integer((*self.resolutions, 8))}, name="tiny")

    @property
    def reference(self) -> Arch:
        return Arch({"width": 16, "resolution": 6})

    def supernet(self, channels_in: int, classes: int) -> TinySupernet:
        return TinySupernet(self)

    def network(self, arch: Arch, channels_in: int, classes: int, *, prune: bool = False) -> TinyNet:
        return TinyNet(int(arch["width"]))

    def draw(self, arch: Arch) -> str:
        return str(dict(arch))


def digits() -> ImageTask:
    return load("digits", options=ImageOptions(limit=300))


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory, unsealed: Any) -> Path:
    folder = tmp_path_factory.mktemp("searched") / "run"
    search(Tiny(), RSPS(candidates=2), digits(), epochs=1, batch=32, out=folder)
    facts = json.loads((unsealed(folder) / "arch.json").read_text())
    # a small one whatever was found, so that something is cut away and resized
    (folder / "arch.json").write_text(json.dumps(facts | {"arch": "width=4,resolution=6"}))
    net = TinySupernet(Tiny()).extract(Arch({"width": 4, "resolution": 6}))
    save_weights(folder / "shared.safetensors", net)
    return folder


@pytest.fixture
def found(searched: Path, tmp_path: Path) -> Result:
    """A search that has finished, in a folder of its own."""
    shutil.copytree(searched, tmp_path / "run")
    return Result.load(tmp_path / "run", Tiny())


def teacher_net() -> TinyNet:
    torch.manual_seed(5)
    return TinyNet(12)


def told(found: Result) -> dict[str, Any]:
    held: dict[str, Any] = json.loads((found.folder / "fit" / "result.json").read_text())
    return held


def equal(a: nn.Module, b: nn.Module) -> bool:
    one, two = a.state_dict(), b.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


# --- resolution


def test_a_network_of_a_resolution_is_trained_and_judged_on_resized_images(found: Result) -> None:
    task = digits()
    assert found.shape == (1, 6, 6)
    fitted = found.fit(task, SETTINGS)
    assert isinstance(fitted.net, TinyNet)
    assert fitted.net.seen == {6}
    assert fitted.scores["test"] == accuracy(Resizing(fitted.net, 6), task, "test")
    assert equal(found.trained(), fitted.net)
    macs = {size: size * size * 9 * 4 + 4 * CLASSES for size in (6, 8)}
    assert told(found)["macs"] == macs[6] != macs[8]


def test_the_search_measures_at_the_resolution_it_chose(tmp_path: Path) -> None:
    result = search(Tiny((4,), (4,)), RSPS(candidates=1), digits(), epochs=1, batch=32, out=tmp_path / "r")
    width, size = int(result.arch["width"]), int(result.arch["resolution"])
    assert result.facts["macs"] == size * size * 9 * width + width * CLASSES
    assert result.facts["size"] == [8, 8]


def test_in_double_precision_too(found: Result) -> None:
    fitted = found.fit(digits(), replace(SETTINGS, float64=True), teacher="reference", init="reference")
    assert {p.dtype for p in fitted.net.parameters()} == {torch.float64}
    assert told(found)["params"] == 4 * 9 + 4 + 8 + 4 * CLASSES + CLASSES


# --- teachers


def test_the_teacher_sees_the_images_as_they_are(found: Result) -> None:
    task, teacher = digits(), teacher_net()
    fitted = found.fit(task, SETTINGS, teacher=teacher, distillation=Distillation(temperature=2.0))
    assert teacher.seen == {8}
    assert isinstance(fitted.net, TinyNet)
    assert fitted.net.seen == {6}
    facts = told(found)
    assert facts["teacher"] == {"name": "TinyNet", "sha256": fingerprint(teacher.state_dict())}
    assert facts["distillation"]["temperature"] == 2.0
    assert (facts["init"], facts["reference"]) == ("fresh", None)
    assert "taught by TinyNet (0.1 label + 0.9 T^2 soft, T = 2)" in summary(found)


def test_the_steps_are_those_of_the_distilled_task(found: Result, tmp_path: Path) -> None:
    task, teacher = digits(), teacher_net()
    fitted = found.fit(task, SETTINGS, teacher=teacher, seed=3)
    torch.manual_seed(3)
    net = TinyNet(4).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    fit(Resizing(net, 6), Distilled(task, teacher), SETTINGS, run=Run.start(tmp_path / "r", {}), seed=3)
    assert equal(fitted.net, net)


def test_a_result_teaches_by_its_trained_network_at_its_resolution(found: Result, searched: Path) -> None:
    with pytest.raises(UserError, match=r"nothing was trained in .*run yet: run `renascent fit"):
        found.fit(digits(), SETTINGS, teacher=Result.load(searched, Tiny()))
    assert not (found.folder / "fit").exists()
    found.fit(digits(), SETTINGS)
    shutil.copytree(found.folder, found.folder.parent / "other")
    shutil.rmtree(found.folder / "fit")
    other = Result.load(found.folder.parent / "other", Tiny())
    fitted = found.fit(digits(), SETTINGS, teacher=other)
    held = load_file(other.folder / "fit" / "weights.safetensors")
    # fingerprints are of the network that teaches, which resizes first
    assert told(found)["teacher"]["sha256"] == fingerprint({f"net.{key}": value for key, value in held.items()})
    assert told(found)["teacher"]["name"] == str(other.folder)
    assert not equal(fitted.net, other.trained())


def test_the_reference_is_trained_first_and_teaches(found: Result, started: Started) -> None:
    fitted = found.fit(digits(), SETTINGS, teacher="reference", random_cells=1)
    facts, config = told(found), json.loads((found.folder / "fit" / "config.json").read_text())
    assert facts["reference"]["arch"] == "width=16,resolution=6"
    assert set(facts["reference"]["scores"]) == set(fitted.scores) == {"test"}
    assert facts["teacher"]["name"] == config["teacher"]["name"] == "reference"
    configs = {name: json.loads((found.folder / "fit" / name / "config.json").read_text()) for name in FOLDERS}
    assert "teacher" not in configs["reference"]
    assert configs["random-1"]["teacher"] == {"name": "reference"}
    assert "reference network" in summary(found)
    alone, *taught = started.tasks
    assert not isinstance(alone, Distilled)
    assert len(taught) == 2
    for task in taught:
        assert isinstance(task, Distilled)
        assert isinstance(task.teacher, Resizing)
        assert (task.teacher.size, fingerprint(task.teacher.state_dict())) == (6, facts["teacher"]["sha256"])


FOLDERS = ("reference", "random-1")


# --- starts


class Started:
    """Notes the weights and the task that each training begins with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.states: list[dict[str, Tensor]] = []
        self.tasks: list[Task] = []
        trained = trainer.fit

        def noted(net: nn.Module, task: Task, *args: Any, **about: Any) -> Any:
            self.tasks.append(task)
            self.states.append({k.removeprefix("net."): v.clone() for k, v in net.state_dict().items()})
            return trained(net, task, *args, **about)

        monkeypatch.setattr(trainer, "fit", noted)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    return Started(monkeypatch)


def test_shared_weights_go_to_the_chosen_network_and_not_to_random_cells(found: Result, started: Started) -> None:
    task = digits()
    found.fit(task, SETTINGS, init="shared", random_cells=1)
    chosen, cell = started.states
    mine = found.inherit()
    for name in ("conv.weight", "norm.weight", "last.bias"):
        assert torch.equal(chosen[name], mine.state_dict()[name])
    assert not torch.equal(cell["last.bias"], chosen["last.bias"])
    calibrate(Resizing(mine, 6), task, "train+val", 0)
    torch.testing.assert_close(chosen["norm.running_mean"], mine.state_dict()["norm.running_mean"])
    assert chosen["norm.running_var"].ne(1).all()
    assert cell["norm.running_var"].eq(1).all()
    assert (told(found)["init"], told(found)["random_init"]) == ("shared", "fresh")
    text = summary(found)
    assert "from the search's weights" in text
    assert "1 cell trained identically, but from fresh weights" in text


def test_the_leading_slices_of_the_reference_go_to_all(found: Result, started: Started) -> None:
    found.fit(digits(), SETTINGS, init="reference", random_cells=2)
    reference = load_state(found.folder / "fit" / "reference")
    _, *others = started.states
    assert len(others) == 3
    for state in others:
        width = len(state["conv.bias"])
        assert torch.equal(state["conv.weight"], reference["conv.weight"][:width])
        assert torch.equal(state["last.weight"], reference["last.weight"][:, :width])
    text = summary(found)
    assert "from the reference's leading weights" in text
    assert "2 cells trained identically;" in text


def load_state(folder: Path) -> dict[str, Tensor]:
    tree: dict[str, Tensor] = load_tree(folder / "checkpoint.safetensors")["net"]
    return {name.removeprefix("net."): value for name, value in tree.items()}


@pytest.mark.parametrize("as_state", [False, True])
def test_a_network_or_its_weights_can_be_given(found: Result, started: Started, as_state: bool) -> None:
    larger = teacher_net()
    found.fit(digits(), SETTINGS, init=larger.state_dict() if as_state else larger)
    assert torch.equal(started.states[0]["conv.weight"], larger.conv.weight[:4])
    assert told(found)["init"] == "given"
    with torch.no_grad():
        larger.conv.bias += 1
    with pytest.raises(UserError, match=r"another configuration \(init.sha256 was"):
        found.fit(digits(), SETTINGS, init=larger, resume=True)


# --- going on


class Killed(Exception):
    """As a kill: nothing is saved."""


@pytest.mark.parametrize(
    ("about", "kills"),
    [
        ({"teacher": "reference", "init": "reference", "random_cells": 1}, (3, 25, 47)),
        ({"init": "shared", "teacher": teacher_net()}, (7,)),
    ],
)
def test_killed_on_the_way_and_resumed_it_is_the_same(
    found: Result, monkeypatch: pytest.MonkeyPatch, about: dict[str, Any], kills: tuple[int, ...]
) -> None:
    """Twenty steps each for the reference, the chosen network and a random one; checkpoints after every step."""
    monkeypatch.setattr(_drive, "CHECKPOINT_SECONDS", -1.0)
    whole = Result.load(shutil.copytree(found.folder, found.folder.parent / "whole"), Tiny())
    whole.fit(digits(), SETTINGS, **about)
    count, loss = [0], ImageTask.loss

    def counted(self: ImageTask, *args: Any, **kwargs: Any) -> Any:
        if torch.is_grad_enabled():
            count[0] += 1
            if count[0] in kills:
                raise Killed
        return loss(self, *args, **kwargs)

    monkeypatch.setattr(ImageTask, "loss", counted)
    for _ in kills:
        with pytest.raises(Killed):
            found.fit(digits(), SETTINGS, **about, resume=True)
    found.fit(digits(), SETTINGS, **about, resume=True)
    assert equal(found.trained(), whole.trained())
    # events, and with them their digest, hold the time
    clocks = {"seconds", "sha256"}
    assert told(found)["sha256"].keys() == told(whole)["sha256"].keys()
    assert {k: v for k, v in told(found).items() if k not in clocks} == {
        k: v for k, v in told(whole).items() if k not in clocks
    }


def test_another_teacher_is_another_training(found: Result) -> None:
    found.fit(digits(), SETTINGS, teacher=teacher_net())
    torch.manual_seed(6)
    with pytest.raises(UserError, match=r"another configuration \(teacher.sha256 was"):
        found.fit(digits(), SETTINGS, teacher=TinyNet(12), resume=True)
    with pytest.raises(UserError, match=r"another configuration \(distillation.temperature was 4.0, now 2.0\)"):
        found.fit(digits(), SETTINGS, teacher=teacher_net(), distillation=Distillation(temperature=2.0), resume=True)


def test_a_plain_training_is_configured_as_ever(found: Result) -> None:
    found.fit(digits(), SETTINGS)
    config = json.loads((found.folder / "fit" / "config.json").read_text())
    assert set(config) == {"arch", "task", "settings", "seed", "prune"}


# --- what is refused


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"teacher": "someone"}, "teacher is 'someone': give a module, the Result of a search, or 'reference'"),
        ({"distillation": Distillation()}, "a distillation is given and nobody to distil"),
        ({"teacher": nn.Sequential(nn.Flatten(), nn.Linear(64, 3))}, r"returns the shape \(2, 3\) .* have 10 classes"),
        ({"teacher": nn.Conv2d(3, 10, 1)}, "the teacher cannot answer for images"),
    ],
)
def test_fit_bad_argument_leaves_no_folder(found: Result, about: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        found.fit(digits(), SETTINGS, **about)
    assert not (found.folder / "fit").exists()


def test_a_search_can_be_taught_and_fit_knows_its_data(tmp_path: Path) -> None:
    task = digits()
    taught = Distilled(task, teacher_net())
    result = search(Tiny(), RSPS(candidates=1), taught, epochs=1, batch=32, out=tmp_path / "r")
    config = json.loads((result.folder / "config.json").read_text())
    assert config["task"]["distillation"]["soft_weight"] == 0.9
    assert result.searched_on(task)
    assert result.searched_on(taught)


class Blocks(torch.nn.Module):
    """A user's model: two convolutions whose outputs are concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = torch.nn.Sequential(torch.nn.Conv2d(1, 16, 3, padding=1), torch.nn.BatchNorm2d(16), torch.nn.ReLU())
        self.a, self.b = torch.nn.Conv2d(16, 16, 3, padding=1), torch.nn.Conv2d(16, 16, 1)
        self.head = torch.nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = torch.cat([self.a(x), self.b(x)], 1).relu()
        return self.head(x.mean((2, 3)))


def test_a_model_of_the_users_own_teaches_as_it_is_and_keeps_its_important_channels(tmp_path):
    task = load("digits", options=ImageOptions(limit=200))
    torch.manual_seed(0)
    model = Blocks()
    space = adapt(model, (1, 8, 8))
    found = search(space, RSPS(candidates=2), task, epochs=1, out=tmp_path / "r", budget="macs<=0.6x")
    still = Fit(epochs=1, weights=WeightRule(lr=0.0, lr_end=0.0))
    fitted = found.fit(task, still, teacher="reference", init="reference")
    assert found.fitted["reference"]["scores"]["test"] == accuracy(model, task, "test")
    # at a learning rate of zero what was inherited is what was kept: of each group the largest norms, both parts
    kept = space.inherit(found.arch, model.state_dict())
    for name, value in fitted.net.named_parameters():
        assert torch.equal(value, kept[name])
    norms = model.a.weight.flatten(1).norm(dim=1) ** 2 + model.head.weight[:, :16].norm(dim=0) ** 2
    best = set(norms.topk(len(kept["a.weight"])).indices.tolist())
    inputs = space.space.decisions
    assert len(inputs) >= 2
    rows = {tuple(round(v, 5) for v in bias) for bias in model.a.bias[list(best)].reshape(-1, 1).tolist()}
    assert {tuple(round(v, 5) for v in bias) for bias in kept["a.bias"].reshape(-1, 1).tolist()} == rows
