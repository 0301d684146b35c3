"""Training as an evaluator: against the trainer itself, repeated, and on a network that cannot be trained."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from renascent.core.errors import Diverged
from renascent.core.protocols import WeightRule
from renascent.loops import trained
from renascent.loops.evaluate import judge
from renascent.loops.fit import Fit, fit
from renascent.loops.run import Run
from renascent.loops.trained import Trained, splits_of, train_curves
from renascent.nets.toy import ToySpace
from renascent.strategies.trials.protocol import Proposal
from renascent.tasks.images import ImageTask
from renascent.tasks.toy import ToyTask

SPACE = ToySpace()
SETTINGS = Fit(epochs=4, batch=16, weights=WeightRule(lr=0.1, lr_end=0.0, clip=0.0))
PICKS = (0, 1, 2, 0)
ARCH = SPACE.space.arch({f"row{k}": f"channel{pick}" for k, pick in enumerate(PICKS)})


@pytest.fixture
def task() -> ToyTask:
    return ToyTask(count_each=64)


@pytest.fixture
def two_threads() -> Iterator[None]:
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def test_the_last_epoch_is_what_the_trainer_reaches(task: ToyTask, tmp_path: Path) -> None:
    curves = train_curves(SPACE, ARCH, task, SETTINGS, 3)
    torch.manual_seed(3)
    net = SPACE.network(ARCH, task.channels, task.classes)
    fitted = fit(net, task, SETTINGS, run=Run(tmp_path, {}), seed=3, split="train", evaluate=("val", "test"))
    for split in ("val", "test"):
        assert curves.values[f"{split}_accuracy"][-1] == 100 * fitted.scores[split]
        assert curves.values[f"{split}_loss"][-1] == judge(fitted.net, task, split).loss
    assert {len(values) for values in curves.values.values()} == {4}
    assert len(curves.values) == 6
    assert curves.seconds > 0


@pytest.mark.usefixtures("two_threads")
def test_it_repeats_whatever_happened_before_and_changes_nothing(task: ToyTask) -> None:
    first = train_curves(SPACE, ARCH, task, SETTINGS, 0)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    again = train_curves(SPACE, ARCH, task, SETTINGS, 0)
    assert torch.get_num_threads() == 2
    assert again.values == first.values
    assert torch.equal(torch.get_rng_state(), state)
    assert train_curves(SPACE, ARCH, task, SETTINGS, 1).values != first.values


@pytest.mark.usefixtures("two_threads")
def test_it_trains_with_one_thread_on_the_train_split(task: ToyTask, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    stream = ToyTask.stream

    def noted(self: ToyTask, split: str, seed: int, batch: int) -> object:
        seen.append((split, seed, batch, torch.get_num_threads()))
        return stream(self, split, seed, batch)

    monkeypatch.setattr(ToyTask, "stream", noted)
    train_curves(SPACE, ARCH, task, SETTINGS, 5)
    assert seen == [("train", 5, 16, 1)]


def test_the_evaluator_scores_on_val_and_tells_the_rest(task: ToyTask) -> None:
    outcome = Trained(SPACE, task, SETTINGS)(Proposal(PICKS), 2)
    values = train_curves(SPACE, ARCH, task, SETTINGS, 2).values
    assert outcome.score == values["val_accuracy"][-1]
    assert outcome.metrics == {name: curve[-1] for name, curve in values.items()}
    assert outcome.seconds > 0
    assert outcome.feasible


def test_a_proposal_may_name_its_epochs(task: ToyTask) -> None:
    outcome = Trained(SPACE, task, SETTINGS)(Proposal(PICKS, epochs=2), 0)
    short = train_curves(SPACE, ARCH, task, replace(SETTINGS, epochs=2), 0)
    assert outcome.metrics["train_loss"] == short.values["train_loss"][-1]


@pytest.mark.usefixtures("two_threads")
def test_a_training_that_diverges_scores_minus_infinity(task: ToyTask) -> None:
    settings = replace(SETTINGS, weights=WeightRule(lr=1e30, clip=0.0))
    with pytest.raises(Diverged, match="train_loss is"):
        train_curves(SPACE, ARCH, task, settings, 0)
    assert torch.get_num_threads() == 2  # it comes back after an error, too
    outcome = Trained(SPACE, task, settings)(Proposal(PICKS), 0)
    assert (outcome.score, outcome.metrics, outcome.feasible) == (-math.inf, {}, True)
    assert outcome.seconds > 0


def test_float64_draws_the_first_weights_in_double_precision(task: ToyTask, tmp_path: Path) -> None:
    settings = replace(SETTINGS, float64=True)
    curves = train_curves(SPACE, ARCH, task, settings, 3)
    assert torch.get_default_dtype() == torch.float32
    torch.manual_seed(3)
    torch.set_default_dtype(torch.float64)
    try:
        net = SPACE.network(ARCH, task.channels, task.classes)
    finally:
        torch.set_default_dtype(torch.float32)
    fitted = fit(net, task, settings, run=Run(tmp_path, {}), seed=3, split="train", evaluate=())
    assert curves.values["val_loss"][-1] == judge(fitted.net, task, "val").loss


def test_without_test_images_there_is_no_test_curve() -> None:
    images, labels = torch.rand(40, 3, 4, 4), torch.arange(40) % 4
    task = ImageTask.from_tensors(images, labels)
    assert splits_of(task) == ("val",)
    curves = train_curves(SPACE, ARCH, task, replace(SETTINGS, epochs=1), 0)
    assert set(curves.values) == {"train_accuracy", "train_loss", "val_accuracy", "val_loss"}


def test_nothing_is_left_on_the_disk(task: ToyTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trained.tempfile, "tempdir", str(tmp_path))
    train_curves(SPACE, ARCH, task, SETTINGS, 0)
    assert list(tmp_path.iterdir()) == []
