"""The numbers of TAS's trainings, written down a second time, and both losses run once."""

from pathlib import Path

import pytest
import torch
from torch import nn

from renascent.core.protocols import WeightRule
from renascent.experiment.recipes import RECIPES
from renascent.loops.fit import Fit, fit
from renascent.loops.run import Run, read_events
from renascent.tasks.distill import Distillation, Distilled
from renascent.tasks.load import load
from renascent.tasks.prepare import ImageOptions

RULE = WeightRule(lr=0.1, lr_end=0.0, momentum=0.9, nesterov=True, weight_decay=5e-4, clip=0.0)


@pytest.mark.parametrize(
    ("name", "distillation"),
    [
        ("tas-cifar", Distillation(label_weight=0.1, soft_weight=0.9, temperature=4.0, temperature_squared=True)),
        (
            "tas-cifar-as-printed",
            Distillation(label_weight=0.9, soft_weight=0.1, temperature=4.0, temperature_squared=False),
        ),
    ],
)
def test_cifar(name: str, distillation: Distillation) -> None:
    assert RECIPES[name].fit == Fit(epochs=300, batch=256, weights=RULE)
    assert RECIPES[name].distillation == distillation
    assert RECIPES[name].paper == "arXiv:1905.09717"


def test_imagenet() -> None:
    recipe = RECIPES["tas-imagenet"]
    decay = WeightRule(lr=0.1, lr_end=0.0, momentum=0.9, nesterov=True, weight_decay=1e-4, clip=0.0)
    assert recipe.fit == Fit(epochs=120, batch=256, weights=decay, label_smoothing=0.1)
    assert recipe.distillation == Distillation(label_weight=0.5, soft_weight=0.5, temperature=4.0)


@pytest.mark.parametrize("name", ["tas-cifar", "tas-cifar-as-printed", "tas-imagenet"])
def test_it_runs_and_learns_on_digits(name: str, tmp_path: Path) -> None:
    def net(width: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))

    torch.manual_seed(0)
    task, recipe = load("digits", options=ImageOptions(limit=1000)), RECIPES[name]
    settings = Fit(epochs=2, batch=32, weights=RULE)
    teacher = fit(net(64), task, settings, run=Run.start(tmp_path / "teacher", {})).net
    taught = Distilled(task, teacher, recipe.distillation)
    fitted = fit(net(16), taught, settings, run=Run.start(tmp_path / "student", {}))
    assert fitted.scores["test"] > 0.5  # chance is 0.1
    losses = [event["train_loss"] for event in read_events(tmp_path / "student") if event["event"] == "epoch"]
    assert losses[1] < losses[0]
