"""A search as the first part of a training: one schedule, the momentum of what stays, one teacher, resumed exactly."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

import renascent as rn
from renascent.core.errors import UserError
from renascent.core.gates import one_hot
from renascent.core.protocols import Data, Metrics, Progress, Setup, State
from renascent.experiment import result as results
from renascent.loops.fit import fit
from renascent.loops.run import CLOCK_FIELDS, Run, read_events
from renascent.results import calibration, retrain, trainer
from renascent.results import finish as finishing
from renascent.results.finish import momentum_of
from renascent.strategies._bilevel import weight_step

pytestmark = pytest.mark.usefixtures("without_measuring")

RULE = rn.WeightRule(lr=0.05, lr_end=0.002, clip=1.0)
SEARCHED, FINISH, BATCH = 2, 3, 16


@dataclass(frozen=True)
class Given:
    """A strategy that searches nothing: the architecture is given from the start, and trained."""

    arch: str

    def init(self, setup: Setup) -> State[None]:
        return State(setup, setup.weights.optimiser(setup.net), setup.generator(), None)

    def step(self, s: State[None], data: Data, t: Progress) -> Metrics:
        return weight_step(s, data.train.next(), one_hot(s.space, s.space.parse(self.arch)), t)

    def derive(self, s: State[None], score: Any) -> rn.Arch:
        return s.space.parse(self.arch)

    def probabilities(self, s: State[None]) -> Mapping[str, Tensor]:
        return {name: gate.weight for name, gate in one_hot(s.space, s.space.parse(self.arch)).items()}


@pytest.fixture(autouse=True)
def few_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Estimate statistics on few images: most of the time would go into that."""
    monkeypatch.setattr(calibration, "RECALIBRATION_BATCHES", 2)


@pytest.fixture(scope="module")
def tested() -> rn.ImageTask:
    """Digits that have test images, so that a training takes those of validation, too."""
    return rn.load_task("digits", options=rn.ImageOptions(limit=100))


@pytest.fixture(scope="module")
def untested(tested: rn.ImageTask) -> rn.ImageTask:
    """The same without test images: a search and a training have the same images."""
    x, y = (torch.cat(parts) for parts in zip(*tested.batches("train+val", 50), strict=True))
    return rn.ImageTask.from_tensors(x, y, name="some digits", device="cpu")


def model() -> nn.Sequential:
    torch.manual_seed(5)
    first = nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.1)
    second = nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()
    return nn.Sequential(*first, *second, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


def searched(space: Any, strategy: Any, task: Any, folder: Path, **about: Any) -> rn.Result:
    settings = {"epochs": SEARCHED, "finish": FINISH, "batch": BATCH, "weights": RULE, "out": folder}
    return rn.search(space, strategy, task, **settings | about)


def weights_of(result: rn.Result) -> dict[str, Tensor]:
    return load_file(result.folder / "fit" / "weights.safetensors")


def assert_same_weights(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], buffers: bool = False) -> None:
    """Batch statistics are estimated anew when the architecture is fixed, and are then others."""
    assert found.keys() == expected.keys()
    names = [name for name in expected if buffers or not name.endswith(("running_mean", "running_var", "tracked"))]
    assert names and not [name for name in names if not torch.equal(found[name], expected[name])]


def plainly(net: nn.Module, task: Any, folder: Path) -> Mapping[str, Tensor]:
    """Train a network for as long as search and rest together, by the trainer of fixed networks."""
    settings = rn.Fit(epochs=SEARCHED + FINISH, batch=BATCH, weights=RULE)
    net, run = laid_out(net), Run.start(folder, {})
    fit(net, task, settings, run=run, split="train", evaluate=())
    return net.state_dict()


def laid_out(net: nn.Module) -> nn.Module:
    """Return a copy with maps in the layout that searches and trainings run, in which other bits are rounded away."""
    return copy.deepcopy(net).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("pretrained", [False, True])
def test_with_the_architecture_given_it_is_plain_training_bit_for_bit(
    untested: Any, tmp_path: Path, pretrained: bool
) -> None:
    """Of fresh weights by the labels alone; trained ones teach, too."""
    space = rn.ResNetCifar(layers_count=8)
    torch.manual_seed(0)  # as a search of seed 0
    net = space.supernet(1, 10).extract(space.reference)
    about = {"pretrained": copy.deepcopy(net.state_dict())} if pretrained else {}
    task = rn.Distilled(untested, laid_out(net)) if pretrained else untested
    expected = plainly(net, task, tmp_path / "plain")
    found = searched(space, Given(space.space.format(space.reference)), untested, tmp_path / "r", **about)
    assert_same_weights(weights_of(found), expected)
    assert found.fitted is not None
    told = [found.fitted[name] for name in ("teacher", "reference")]
    assert told[0]["name"] == "reference" and told[1]["given"] if pretrained else told == [None, None]


def test_so_is_that_of_a_model_of_ones_own_taught_by_itself(untested: Any, tmp_path: Path) -> None:
    net = model()
    space = rn.adapt(net, (1, 8, 8), order="given")
    expected = plainly(net, rn.Distilled(untested, laid_out(net)), tmp_path / "plain")
    found = searched(space, Given(space.space.format(space.reference)), untested, tmp_path / "r")
    assert_same_weights(weights_of(found), expected)
    told = found.fitted
    assert told and told["teacher"]["name"] == "reference" and told["reference"]["given"]
    assert told["searched_epochs"] == SEARCHED


def test_from_search_to_training_images_it_is_one_schedule_by_torch_alone(tested: Any, tmp_path: Path) -> None:
    net = model()
    space = rn.adapt(net, (1, 8, 8), order="given")
    found = searched(space, Given(space.space.format(space.reference)), tested, tmp_path / "r")
    teacher = laid_out(net).eval()
    streams = [tested.stream("train", 0, BATCH), tested.stream("train+val", 0, BATCH)]
    streams[1].load_state_dict({"given": SEARCHED * streams[1].steps_per_epoch})
    counts = [SEARCHED * streams[0].steps_per_epoch, FINISH * streams[1].steps_per_epoch]
    assert counts[0] != counts[1] * SEARCHED / FINISH
    optimiser = torch.optim.SGD(net.parameters(), lr=1.0, momentum=0.9, nesterov=True, weight_decay=5e-4)
    net.train().to(memory_format=torch.channels_last)
    for number in range(sum(counts)):
        x, y = streams[number >= counts[0]].next()
        torch.manual_seed(number)
        out = net(x)
        with torch.no_grad():
            wanted = (teacher(x) / 4).log_softmax(1)
        soft = functional.kl_div((out / 4).log_softmax(1), wanted, reduction="batchmean", log_target=True)
        optimiser.zero_grad()
        (0.1 * functional.cross_entropy(out, y) + 0.9 * 16 * soft).backward()
        nn.utils.clip_grad_norm_(net.parameters(), RULE.clip)
        share = (1 + math.cos(math.pi * number / (sum(counts) - 1))) / 2
        optimiser.param_groups[0]["lr"] = RULE.lr_end + (RULE.lr - RULE.lr_end) * share
        optimiser.step()
    assert_same_weights(weights_of(found), net.state_dict())


SPACES: dict[str, Any] = {
    "adapted": lambda: rn.adapt(model(), (1, 8, 8), order="given"),
    "sizes": lambda: rn.ResNetCifar(layers_count=8),
    "cells": lambda: rn.NatsTopology(channels=4, cells=1),
    "subsets": lambda: rn.DSO(),
}


@pytest.mark.parametrize("name", SPACES)
def test_a_weight_that_stays_keeps_its_momentum_and_a_fresh_one_has_none(name: str) -> None:
    """Shared weights are numbered, so that those of an architecture say where they come from."""
    config = SPACES[name]()
    net = config.supernet(1, 10)
    state = State(Setup(net, None, net.space), rn.WeightRule().optimiser(net), torch.Generator(), None)
    arch = net.space.sample(np.random.default_rng(0))
    momentum, count = [torch.zeros(2)], 2
    for p in net.parameters():
        p.data = -torch.arange(count, count + p.numel()).float().view_as(p)
        momentum.append(torch.randn(p.shape))
        state.optimiser.state[p]["momentum_buffer"], count = momentum[-1], count + p.numel()
    assert count < 2**24
    everywhere = torch.cat([m.flatten() for m in momentum])
    before = {key: value.clone() for key, value in net.state_dict().items()}
    found, fresh = momentum_of(state, arch), 0
    chosen = dict(net.extract(arch).named_parameters())
    assert found.keys() == chosen.keys()
    for key, p in chosen.items():
        source = (-p.detach()).long()
        fresh += int((source < 2).sum())
        expected = torch.where(source < 2, 0.0, everywhere[source.clamp(min=0)])
        torch.testing.assert_close(found[key], expected, rtol=0, atol=0)
    assert fresh < 0.1 * sum(p.numel() for p in chosen.values())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


class Killed(Exception):
    """Stands for a kill: nothing after it is written."""


def killed(*args: Any, **kwargs: Any) -> Any:
    raise Killed


def outcome(folder: Path) -> Any:
    """Return all that must be the same, but for the clock."""
    told = json.loads((folder / "fit" / "result.json").read_text())
    events = [*read_events(folder), *read_events(folder / "fit")]
    events = [{k: v for k, v in event.items() if k not in CLOCK_FIELDS} for event in events]
    return events, {key: value for key, value in told.items() if key not in ("seconds", "sha256")}


def test_killed_around_the_change_and_resumed_it_is_the_same(tested: Any, tmp_path: Path) -> None:
    torch.manual_seed(7)
    space = rn.adapt(model(), (1, 8, 8), resolutions=(4,))
    about: dict[str, Any] = {"budget": "macs<=0.4x", "epochs": 1, "finish": 2, "sandwich": 2}
    whole = searched(space, rn.RSPS(candidates=3), tested, tmp_path / "whole", **about)
    torn = tmp_path / "torn"

    def go(**more: Any) -> rn.Result:
        return searched(space, rn.RSPS(candidates=3), tested, torn, resume=True, **about | more)

    def at_the_change(event: Any) -> None:
        if event["event"] == "finish":
            raise Killed

    def kill(target: Any, name: str, doing: Any = killed) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(target, name, doing)
            with pytest.raises(Killed):
                go()

    save = Run.save

    def saved(run: Run, tree: Any) -> None:
        save(run, tree)
        raise Killed

    kill(results, "write_sealed")
    assert (torn / "momentum.safetensors").exists() and not (torn / "arch.json").exists()
    with pytest.raises(Killed):
        go(say=at_the_change)
    assert (torn / "arch.json").exists() and not (torn / "fit").exists()
    kill(trainer, "calibrate")
    assert (torn / "fit" / "config.json").exists()
    with pytest.raises(UserError, match="finish was 2, now 3"):
        go(finish=3)
    damaged = torn / "momentum.safetensors"
    kept = damaged.rename(torn.parent / "kept")
    with pytest.raises(UserError, match="momentum"):
        go()
    kept.rename(damaged)
    kill(Run, "save", saved)
    kill(retrain, "write_sealed")
    assert (torn / "fit" / "checkpoint.safetensors").exists()
    again = go()
    assert outcome(torn) == outcome(whole.folder)
    assert_same_weights(weights_of(again), weights_of(whole), buffers=True)
    with pytest.MonkeyPatch.context() as patch:  # it is done, and done once
        patch.setattr(finishing, "Retraining", killed)
        assert go().fitted == again.fitted


def test_without_a_search_it_is_training_from_the_weights_given(tested: Any, tmp_path: Path) -> None:
    torch.manual_seed(2)
    space = rn.ResNetCifar(layers_count=8)
    net = space.network(space.reference, 1, 10)
    weights = net.state_dict()
    about: dict[str, Any] = {"budget": "macs<=0.3x", "pretrained": weights}
    found = searched(space, rn.Magnitude(), tested, tmp_path / "r", finish=1, **about)
    alone = searched(space, rn.Magnitude(), tested, tmp_path / "s", finish=None, **about)
    alone.fit(tested, rn.Fit(epochs=1, batch=BATCH, weights=RULE), init="shared", teacher=laid_out(net))
    assert_same_weights(weights_of(found), weights_of(alone), buffers=True)
    assert "searched_epochs" not in (found.fitted or {})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"finish": 1.5}, "finish is 1.5: give a whole number"),
        ({"finish": True}, "finish is True: give a whole number"),
        ({"sandwich": "2"}, "sandwich is '2': give a whole number"),
        ({"batch": 2.5}, "batch is 2.5: give a whole number"),
        ({"seed": 0.5}, "seed is 0.5: give a whole number"),
        ({"bf16": "yes"}, "bf16 is 'yes': give True or False"),
    ],
)
def test_what_is_of_another_kind_is_refused_before_a_folder_is_made(
    tested: Any, tmp_path: Path, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        rn.search(rn.ResNetCifar(layers_count=8), rn.RSPS(), tested, out=tmp_path / "r", **given)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("epochs", [0, -1])
def test_no_epochs_are_refused_before_a_folder_is_made(tested: Any, tmp_path: Path, epochs: int) -> None:
    with pytest.raises(UserError, match=f"finish is {epochs}: give at least 1 epoch, or leave it out"):
        searched(rn.ResNetCifar(layers_count=8), rn.RSPS(), tested, tmp_path / "r", finish=epochs)
    assert not (tmp_path / "r").exists()
