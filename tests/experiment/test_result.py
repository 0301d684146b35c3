"""From Python: what a search and a training refuse before they write, and how a result is measured."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from renascent.core.errors import UserError
from renascent.core.protocols import Task
from renascent.costs import Latency
from renascent.experiment import result as result_module
from renascent.experiment.result import Result
from renascent.experiment.search import search
from renascent.loops.evaluate import accuracy, recalibrate
from renascent.loops.fit import Fit
from renascent.nets.cells.nats import NatsTopology
from renascent.nets.sizes.nats_size import NatsSize
from renascent.results import calibration
from renascent.strategies.rsps import RSPS
from renascent.tasks.augment import Augmentation
from renascent.tasks.images import ImageTask

SPACE = NatsTopology(channels=2, cells=1, nodes=3)
CLASSES = 4


def sorted_task(count: int = 400) -> ImageTask:
    """Return images in order of their classes, each class of a brightness and a pattern of its own."""
    rng = torch.Generator().manual_seed(0)
    y = torch.arange(count) * CLASSES // count
    marks = torch.randn(CLASSES, 1, 8, 8, generator=rng) + 2 * torch.arange(CLASSES).view(-1, 1, 1, 1)
    x = marks[y] + 0.3 * torch.randn(count, 1, 8, 8, generator=rng)
    plain = Augmentation(pad=0, flip=False)
    return ImageTask.from_tensors(x, y, val=0.5, name="sorted", augmentation=plain)


def run(folder: Path, task: Task | None = None, **about: Any) -> Result:
    return search(SPACE, RSPS(candidates=2), task or sorted_task(40), epochs=1, batch=8, out=folder, **about)


# --- batch normalisation of the network that inherits its weights


def test_images_in_order_of_their_classes_are_shuffled_for_the_statistics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels: list[list[int]] = []

    def noted(net: nn.Module, batches: Any) -> None:
        held = list(batches)
        labels.extend(y.tolist() for _, y in held)
        recalibrate(net, held)

    monkeypatch.setattr(calibration, "recalibrate", noted)
    run(tmp_path / "r", sorted_task())
    assert len(labels) == calibration.RECALIBRATION_BATCHES
    assert all(set(batch) == set(range(CLASSES)) for batch in labels)


def test_a_network_that_inherits_knows_all_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "RECALIBRATION_BATCHES", 1)  # so that in order there would be one class only
    task = sorted_task(1200)
    found = search(SPACE, RSPS(candidates=2), task, epochs=4, batch=32, out=tmp_path / "r")
    net = found.inherit()
    mine = accuracy(net, task, "val")
    recalibrate(net, task.batches("train", 64)[:1])
    assert mine > accuracy(net, task, "val") + 0.2


# --- the device


def test_latency_is_measured_where_the_task_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the device of tensors without memory, which every machine has."""
    folder, task, seen = tmp_path / "r", sorted_task(40), set[str]()
    arch = run(folder, task).arch

    def measure(net: nn.Module, shape: tuple[int, ...]) -> Latency:
        seen.update(p.device.type for p in net.parameters())
        return Latency(1.0, 1.0, 1.0, "none")

    monkeypatch.setattr(result_module, "measure", measure)
    task.device = torch.device("meta")
    monkeypatch.setattr(result_module, "calibrate", lambda *given: None)  # no images are there
    state = SimpleNamespace(setup=None, net=SimpleNamespace(extract=lambda arch: SPACE.network(arch, 1, CLASSES)))
    found: Any = SimpleNamespace(arch=arch, score=0.5, seconds=1.0, state=state, instead="")
    Result.save_new(folder, SPACE, found, task)
    assert seen == {"meta"}


def test_a_search_and_a_training_note_the_tasks_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[torch.device | None] = []
    monkeypatch.setattr("renascent.loops.run.environment", lambda seed, device=None: {"device": given.append(device)})
    run(tmp_path / "r").fit(sorted_task(40), Fit(epochs=1, batch=8))
    assert given == [torch.device("cpu")] * 2


# --- nothing half-written


class NoStreams(ImageTask):
    def streams(self, seed: int, batch: int) -> Any:
        raise UserError("no streams")

    def stream(self, split: str, seed: int, batch: int) -> Any:
        raise UserError("no stream")


def test_a_search_that_cannot_begin_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="the seed is -1: give a whole number of at least 0"):
        run(tmp_path / "r", seed=-1)
    x, y = torch.zeros(8, 1, 8, 8), torch.arange(8) % 2
    with pytest.raises(UserError, match="no streams"):
        run(tmp_path / "r", NoStreams.from_tensors(x, y))

    def supernet(self: NatsTopology, channels: int, classes: int) -> Any:
        raise UserError("no net")

    monkeypatch.setattr(NatsTopology, "supernet", supernet)
    with pytest.raises(UserError, match="no net"):
        run(tmp_path / "r")
    assert list(tmp_path.iterdir()) == []


def test_a_training_that_cannot_begin_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(tmp_path / "r")
    task, settings = sorted_task(40), Fit(epochs=1, batch=8)
    for seed in (-1, 2**63):
        with pytest.raises(UserError, match=f"the seed is {seed}"):
            found.fit(task, settings, seed=seed)
    x, y = torch.zeros(8, 1, 8, 8), torch.arange(8) % CLASSES
    with pytest.raises(UserError, match="no stream"):
        found.fit(NoStreams.from_tensors(x, y), settings)
    monkeypatch.setattr(NatsTopology, "network", lambda self, *args, **kwargs: nn.Linear(2, 2))
    with pytest.raises(UserError, match="has no drop_path"):
        found.fit(task, Fit(epochs=1, drop_path=0.1))
    assert not (found.folder / "fit").exists()


def test_a_second_training_says_what_to_remove(tmp_path: Path) -> None:
    found = run(tmp_path / "r")
    found.fit(sorted_task(40), Fit(epochs=1, batch=8))
    with pytest.raises(UserError, match=r"resume it \(`resume=True`\), or remove .*fit or give another `name`$"):
        found.fit(sorted_task(40), Fit(epochs=1, batch=8))


# --- another network than was searched


def test_a_wider_network_of_the_same_decisions_is_trained_on_other_data(tmp_path: Path) -> None:
    found, wider = run(tmp_path / "run"), NatsTopology(channels=4, cells=2, nodes=3)
    images = torch.randint(0, 256, (40, 3, 16, 16), dtype=torch.uint8)
    task = ImageTask.from_tensors(images, torch.arange(40) % 5, val=0.5, name="other")
    fitted = found.fit(task, Fit(epochs=1, batch=8), network=wider, random_cells=1)

    again = Result.load(tmp_path / "run")
    assert (again.shape, again.trained_shape) == ((1, 8, 8), (3, 16, 16))
    held = again.trained().state_dict()
    assert all(torch.equal(value, held[name]) for name, value in fitted.net.state_dict().items())
    assert again.training is not None
    assert again.training.params == sum(p.numel() for p in wider.network(found.arch, 3, 5).parameters())
    assert "in a network of channels 4, cells 2: " in str(again)
    assert again.export(tmp_path / "model.pt2").exists()


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"network": NatsTopology(channels=2, cells=1, nodes=4)}, "other decisions than the search"),
        ({"network": NatsSize()}, "other decisions than the search"),
        ({"network": NatsTopology(channels=4, cells=1, nodes=3), "init": "shared"}, "init is 'shared'"),
    ],
)
def test_a_network_of_other_decisions_and_one_without_weights_are_refused(
    about: dict[str, Any], message: str, tmp_path: Path
) -> None:
    found = run(tmp_path / "run")
    with pytest.raises(UserError, match=message):
        found.fit(sorted_task(40), Fit(epochs=1, batch=8), **about)
    assert not (tmp_path / "run/fit").exists()
