"""Searches in bfloat16: what is computed in it and what is not, when it is on by itself, and what a resume takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

import renascent as rn
from renascent.core.devices import computes_bfloat16
from renascent.core.errors import UserError
from renascent.core.gates import soft, two_paths
from renascent.core.protocols import Setup
from renascent.experiment import precision
from renascent.experiment.precision import suits
from renascent.loops._drive import drive
from renascent.nets.cells.dso import DSO
from renascent.nets.cells.nats import NatsTopology
from renascent.nets.sizes.mobile_v2 import MobileNetV2
from renascent.results import calibration
from renascent.strategies.rsps import RSPS
from renascent.tasks.bf16 import InBfloat16

pytestmark = pytest.mark.usefixtures("without_measuring")

SPACE = rn.ResNetCifar(layers_count=8)
CPU = torch.device("cpu")


def own() -> rn.SpaceConfig:
    """A small model of one's own, which teaches where it is trained on."""
    torch.manual_seed(5)
    first = nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()
    second = nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()
    return rn.adapt(nn.Sequential(*first, *second, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)), (1, 8, 8))


OWN = own()


@pytest.fixture(autouse=True)
def few_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "RECALIBRATION_BATCHES", 1)


@pytest.fixture(scope="module")
def task() -> rn.ImageTask:
    return rn.load_task("digits", options=rn.ImageOptions(limit=64))


def searched(task: Any, folder: Path, strategy: Any = None, **about: Any) -> rn.Result:
    settings: dict[str, Any] = {"epochs": 2, "batch": 32, "out": folder, "progress": False}
    return rn.search(OWN, strategy or RSPS(), task, **settings | about)


def config_of(folder: Path) -> Any:
    return json.loads((folder / "config.json").read_text())


def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a device that computes bfloat16."""
    monkeypatch.setattr(precision, "computes_bfloat16", lambda device: True)


@pytest.mark.parametrize(("strategy", "sandwich"), [(rn.DARTS(), 0), (RSPS(), 2)], ids=["darts", "sandwich"])
def test_convolutions_see_bfloat16_and_what_is_kept_is_float32(
    task: rn.ImageTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: Any, sandwich: int
) -> None:
    kinds, real = set(), functional.conv2d

    def conv2d(x: Any, *given: Any, **named: Any) -> Any:
        out = real(x, *given, **named)
        if torch.is_grad_enabled() and len(out) == 32:  # a step's: what else is run has other batches
            kinds.add(out.dtype)
        return out

    monkeypatch.setattr(functional, "conv2d", conv2d)
    found = searched(task, tmp_path / "r", strategy, epochs=1, bf16=True, sandwich=sandwich)
    assert kinds == {torch.bfloat16}
    held = [t for t in load_file(tmp_path / "r" / "checkpoint.safetensors").values() if t.is_floating_point()]
    assert {t.dtype for t in held} <= {torch.float32, torch.float64}
    assert len(held) >= 2 * len(list(OWN.supernet(1, 10).parameters()))  # the momentum of each, too
    assert {t.dtype for t in found.shared.values() if t.is_floating_point()} == {torch.float32}
    assert config_of(tmp_path / "r")["bf16"] is True


@pytest.mark.parametrize("make", [soft, lambda space, logits: two_paths(space, logits, torch.Generator())])
@pytest.mark.parametrize("space", [NatsTopology(channels=4, cells=1), SPACE], ids=["cells", "sizes"])
def test_gradients_are_float32_and_close_to_those_of_single_precision(space: Any, make: Any, task: Any) -> None:
    torch.manual_seed(0)
    net = space.supernet(1, 10).to(memory_format=space.memory_format)
    batch, found = task.streams(0, 32).train.next(), []
    for each in (task, InBfloat16(task)):
        logits = torch.zeros(len(space.space.decisions), max(space.space.counts), requires_grad=True)
        loss = each.loss(net, batch, make(space.space, logits)).loss
        found.append((loss, *torch.autograd.grad(loss, [logits, *net.parameters()], materialize_grads=True)))
    assert {t.dtype for t in found[1]} == {torch.float32}
    whole, low = (torch.cat([g.flatten() for g in some[1:]]) for some in found)
    assert not torch.equal(whole, low)
    assert functional.cosine_similarity(whole, low, dim=0) > 0.95


def test_curvature_is_measured_and_kept_in_double_precision(task: rn.ImageTask) -> None:
    space = DSO(channels=3, blocks=(1,), levels=2)
    torch.manual_seed(0)
    net, batch = space.supernet(1, 10), task.streams(0, 32).val.next()
    sums = []
    for each in (task, InBfloat16(task)):
        state = rn.BayesNAS().init(Setup(net, each, net.space))
        rn.BayesNAS()._scale_step(state, batch, measures=True)
        sums.append(state.extra["curvature_sum"])
    assert sums[1].dtype == torch.float64
    assert not torch.equal(*sums)
    assert functional.cosine_similarity(*sums, dim=0) > 0.95


def test_it_is_on_by_itself_where_device_network_and_strategy_allow_it(monkeypatch: pytest.MonkeyPatch) -> None:
    net, deep = SPACE.supernet(1, 10), MobileNetV2(small=True, width=0.25).supernet(1, 10)
    known: dict[str, bool] = {}
    monkeypatch.setattr(precision, "computes_bfloat16", computes_bfloat16)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    assert not suits(RSPS(), net, CPU, 0)
    known["avx512_bf16"] = True
    assert suits(RSPS(), net, CPU, 0)
    assert not suits(RSPS(), deep, CPU, 0)
    assert not suits(rn.BayesNAS(), net, CPU, 0)
    assert not suits(rn.Uniform(), net, CPU, 0)  # nothing is computed
    assert suits(rn.Uniform(), net, CPU, 1)
    assert not suits(rn.BayesNAS(), net, CPU, 1)
    assert not suits(RSPS(), net, torch.device("mps"), 0)
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not suits(RSPS(), net, CPU, 0)


def test_a_resume_takes_what_the_run_has_and_equals_one_left_alone(
    task: rn.ImageTask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    about = {"finish": 1, "progress": True}
    with pytest.MonkeyPatch.context() as patch:
        fast(patch)
        whole = searched(task, tmp_path / "whole", **about)
        assert "search steps are in bfloat16" in capsys.readouterr().err

        def cut(run: Any, *given: Any, step: Any, **named: Any) -> Any:
            def dying(t: Any) -> Any:
                if t.step == 1:
                    raise KeyboardInterrupt
                return step(t)

            return drive(run, *given, step=dying, **named)

        patch.setattr("renascent.loops.share.drive", cut)
        with pytest.raises(KeyboardInterrupt):
            searched(task, tmp_path / "cut", **about)
    with pytest.raises(UserError, match="bf16 was True, now False"):
        searched(task, tmp_path / "cut", resume=True, bf16=False, **about)
    found = searched(task, tmp_path / "cut", resume=True, **about)  # on a machine that would not turn it on
    for name in ("shared", "fit/weights"):
        one, other = (load_file(r.folder / f"{name}.safetensors") for r in (whole, found))
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert found.training is not None
    assert found.training.settings.bf16


def test_off_is_what_it_was_and_a_run_without_stays_without(
    task: rn.ImageTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = searched(task, tmp_path / "plain", epochs=1)
    assert "bf16" not in config_of(tmp_path / "plain")
    fast(monkeypatch)
    off = searched(task, tmp_path / "off", epochs=1, bf16=False)
    low = searched(task, tmp_path / "low", epochs=1)
    assert config_of(tmp_path / "off") == config_of(tmp_path / "plain")
    assert all(torch.equal(value, off.shared[key]) for key, value in plain.shared.items())
    assert not all(torch.equal(value, low.shared[key]) for key, value in plain.shared.items())
    assert searched(task, tmp_path / "plain", epochs=1, resume=True).arch == plain.arch
    with pytest.raises(UserError, match="bf16 was None, now True"):
        searched(task, tmp_path / "plain", epochs=1, resume=True, bf16=True)


def test_the_command_line_has_three_states(say: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Any] = []

    def stop(*given: Any, bf16: bool | None, **others: Any) -> None:
        heard.append(bf16)
        raise UserError("enough")

    monkeypatch.setattr("renascent.cli.work.search.search", stop)
    for flag in ("--bf16", "--no-bf16", ""):
        say(f"search resnet20 --strategy rsps --data digits --out r {flag}")
    assert heard == [True, False, None]
