"""What runs on a device that is not the CPU: nothing is mixed with what lies there, and steps hardly wait.

`test_devices.py` runs this in a process of its own: torch counts devices once, when it first differentiates.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from renascent.core.gates import Gate, certain, moved
from renascent.core.protocols import Progress, Setup
from renascent.costs.budget import Budget
from renascent.experiment.search import search
from renascent.loops.fit import Fit
from renascent.loops.share import begin
from renascent.nets.adapt import adapt
from renascent.strategies import STRATEGIES
from renascent.tasks.images import ImageTask
from renascent.tasks.load import load
from renascent.tasks.prepare import ImageOptions


@pytest.fixture(scope="module")
def elsewhere() -> Any:
    spec = importlib.util.spec_from_file_location("elsewhere", Path(__file__).with_name("elsewhere.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["elsewhere"] = module
    spec.loader.exec_module(module)
    module.install()
    return module


@pytest.fixture(scope="module")
def task(elsewhere: Any) -> ImageTask:
    return load("digits", options=ImageOptions(limit=64), device=elsewhere.NAME)


@pytest.fixture(scope="module")
def spaces(script: Any) -> Any:
    return script("on_gpu").SPACES


WHERE_SOME_DO = {
    1: ("gdas", "nes", "tas"),
    3: ("gdas", "nes", "tas", "fbnetv2"),
    4: ("gdas", "proxyless", "proxyless-reinforce"),
}
"""Kind of space -> strategies that run on it, too, where others have the same gates: one of each kind of gate."""


def strategy_of(name: str) -> Any:
    strategy = STRATEGIES[name]()
    few = {"candidates": 3, "controller_steps": 2, "controller_samples": 2}
    return dataclasses.replace(strategy, **{key: value for key, value in few.items() if hasattr(strategy, key)})


def test_the_device_refuses_to_be_mixed(elsewhere: Any) -> None:
    there = torch.ones(2, 3).to(elsewhere.NAME)
    assert there.device == elsewhere.THERE
    assert (there * 2).sum().cpu() == 12
    with pytest.raises(RuntimeError, match="same device"):
        _ = there + torch.ones(3)
    layer = torch.nn.Conv2d(3, 4, 3)
    x = torch.randn(2, 3, 8, 8)
    layer(x).square().sum().backward()
    wanted = layer.weight.grad
    other = torch.nn.Conv2d(3, 4, 3)
    other.load_state_dict(layer.state_dict())
    other.to(elsewhere.NAME)(x.to(elsewhere.NAME)).square().sum().backward()
    assert other.weight.grad is not None
    torch.testing.assert_close(other.weight.grad.cpu(), wanted)


@pytest.mark.parametrize("kind", range(5))
@pytest.mark.parametrize("name", STRATEGIES)
def test_a_step_waits_for_the_device_twice_at_most(
    name: str, kind: int, elsewhere: Any, task: ImageTask, spaces: Any
) -> None:
    """Once for the architecture's gradient, or a reward; once more for a resolution's, or a second order."""
    space = list(spaces.values())[kind]()
    if name == "darts-second-order" and kind == 0:
        pytest.skip("this device cannot change a shape in place, as a vector times a matrix does")
    if kind in WHERE_SOME_DO and name not in WHERE_SOME_DO[kind]:
        pytest.skip("this takes long, and the others make no gates or costs of another kind here")
    net = space.supernet(1, 10).to(task.device, memory_format=space.memory_format)
    goals = Budget.parse("macs<=0.6x").goals(space, (1, 8, 8), 10) if kind else ()
    strategy, data = strategy_of(name), task.streams(0, 16)
    s = begin(strategy, Setup(net, task, space.space, goals=goals))
    strategy.step(s, data, Progress(5, 20, 10))
    elsewhere.waits.clear()
    strategy.step(s, data, Progress(6, 20, 10))
    assert len(elsewhere.waits) <= 2
    assert all(p.device == elsewhere.THERE for p in net.parameters())


@pytest.mark.parametrize(("kind", "name"), [(0, "gdas"), (2, "tas"), (3, "fbnetv2")])
@pytest.mark.usefixtures("without_measuring")
def test_a_search_its_training_and_its_export_run_there(
    kind: int, name: str, task: ImageTask, spaces: Any, tmp_path: Path
) -> None:
    """And find what they find on the CPU, where draws are the same and so are the kernels."""
    budget = "macs<=0.6x" if kind else None
    found = [
        search(
            list(spaces.values())[kind](),
            strategy_of(name),
            each,
            epochs=1,
            batch=16,
            budget=budget,
            out=tmp_path / f"r{k}",
        )
        for k, each in enumerate((task, load("digits", options=ImageOptions(limit=64), device="cpu")))
    ]
    assert found[0].arch == found[1].arch
    fitted = found[0].fit(task, Fit(epochs=1, batch=16), teacher="reference" if kind else None, init="shared")
    assert 0 <= fitted.scores["test"] <= 1
    assert found[0].export(tmp_path / "net.pt2").exists()


@pytest.mark.usefixtures("without_measuring")
def test_a_search_that_is_the_first_part_of_a_training_runs_there(
    task: ImageTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a model that teaches itself, and steps of several sizes."""
    monkeypatch.setattr("renascent.results.trainer.RECALIBRATION_BATCHES", 2)
    net = torch.nn.Sequential(*(torch.nn.Conv2d(1, 16, 3), torch.nn.ReLU(), torch.nn.Conv2d(16, 10, 6)))
    space, found = adapt(torch.nn.Sequential(*net, torch.nn.Flatten()), (1, 8, 8)), []
    for k, each in enumerate((task, load("digits", options=ImageOptions(limit=64), device="cpu"))):
        about: Any = {"epochs": 2, "finish": 1, "sandwich": 2, "batch": 16, "out": tmp_path / f"r{k}"}
        found.append(search(space, strategy_of("nes"), each, **about))
    assert found[0].arch == found[1].arch
    for one, two in zip(*(each.momentum.values() for each in found), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-5)
    for one, two in zip(*(each.trained().state_dict().values() for each in found), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-5)


def test_uncertain_gates_move_together_and_keep_their_gradient(elsewhere: Any) -> None:
    weight = torch.tensor([0.25, 0.75], requires_grad=True)
    gates = {"a": Gate(weight, (0, 1)), "b": Gate(torch.tensor([0.0, 1.0]), (1,)), "c": Gate(torch.eye(2), (0, 1))}
    there = moved(gates, elsewhere.THERE)
    assert [gate.weight.device.type for gate in there.values()] == [elsewhere.NAME, "cpu", elsewhere.NAME]
    assert there["c"].weight.shape == (2, 2)
    assert (certain(gates["b"]), certain(there["a"])) == (True, False)
    (there["a"].weight[1] * 3).backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [0, 3]
    assert moved(gates, torch.device("cpu")) is gates
