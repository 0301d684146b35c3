"""Sandwich steps: their gradient against that of plain networks, and who may take them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import renascent as rn
from renascent.core.errors import UserError
from renascent.core.gates import Gates, one_hot
from renascent.core.protocols import Progress, Setup
from renascent.core.space import Arch
from renascent.loops.share import begin
from renascent.strategies._bilevel import weight_step

STILL = rn.WeightRule(lr=0.0, lr_end=0.0, clip=0.0)


def model() -> nn.Module:
    first = nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()
    return nn.Sequential(
        *first, nn.Conv2d(16, 24, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 3)
    )


SPACES: dict[str, Any] = {
    "sizes": lambda: rn.ResNetCifar(layers_count=8),
    "adapted": lambda: rn.adapt(model(), (1, 8, 8), order="given"),
}


def setup_of(config: Any, task: Any, **about: Any) -> Setup:
    return Setup(config.supernet(1, 3), task, config.space, STILL, reference=config.reference, **about)


@pytest.fixture
def task() -> rn.ImageTask:
    torch.manual_seed(0)
    return rn.ImageTask.from_tensors(torch.rand(24, 1, 8, 8), torch.arange(24) % 3, device="cpu")


def arch_of(setup: Setup, gates: Gates) -> Arch:
    """Return the architecture of one-hot gates, in which inactive decisions have nothing active."""
    return setup.space.arch(
        {name: setup.space.options(name)[gate.active[0] if gate.active else 0] for name, gate in gates.items()}
    )


@pytest.mark.parametrize("is_taught", [False, True], ids=["in place", "by a teacher"])
@pytest.mark.parametrize("name", SPACES)
def test_its_gradient_is_the_sum_of_the_separate_ones(task: Any, name: str, is_taught: bool) -> None:
    """Each from a plain network with the leading weights, in double precision."""
    config, teacher = SPACES[name](), nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).double()
    setup = setup_of(config, rn.Distilled(task, teacher) if is_taught else task, sandwich=3)
    state = begin(rn.RSPS(), setup)
    net = setup.net.double()
    x, y = torch.rand(6, 1, 8, 8, dtype=torch.float64), torch.arange(6) % 3
    seen: list[Gates] = []
    net.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    own = setup.space.arch({k: setup.space.options(k)[len(setup.space.options(k)) // 2] for k in setup.space.decisions})
    metrics = weight_step(state, (x, y), one_hot(setup.space, own), Progress(0, 4, 4))
    archs = [arch_of(setup, gates) for gates in seen]
    ends = [setup.space.arch({k: setup.space.options(k)[end] for k in setup.space.decisions}) for end in (-1, 0)]
    assert archs[:2] == ends and archs[-1] == own and len(archs) == 3 + 2 and len(set(archs)) > 3

    expected = {key: torch.zeros_like(p) for key, p in net.named_parameters()}
    target: Tensor | None = None
    for arch in archs:
        plain = net.extract(arch).train()
        out = plain(x)
        if is_taught:
            wanted = (teacher(x).detach() / 4).softmax(1)
            soft = (wanted * (wanted.log() - (out / 4).log_softmax(1))).sum() / len(x)
            loss = 0.1 * functional.cross_entropy(out, y) + 0.9 * 16 * soft
        elif target is None:
            loss = functional.cross_entropy(out, y)
        else:
            loss = (target * (target.log() - out.log_softmax(1))).sum() / len(x)
        if target is None:
            target = out.detach().softmax(1)
            torch.testing.assert_close(metrics["train_loss"], loss.detach(), rtol=0, atol=1e-12)
        loss.backward()
        for key, p in plain.named_parameters():
            whole = next(value for long, value in expected.items() if long.partition(".")[2] == key)
            assert p.grad is not None
            whole[tuple(map(slice, p.shape))] += p.grad
    for key, p in net.named_parameters():
        torch.testing.assert_close(p.grad, expected[key], rtol=0, atol=1e-12)
        assert expected[key].any()


@pytest.mark.parametrize("strategy", [rn.NES(), rn.TAS(), rn.FBNetV2(), rn.TuNAS()], ids=lambda s: type(s).__name__)
def test_every_size_strategy_takes_them(task: Any, strategy: Any) -> None:
    config = SPACES["sizes"]()
    state = begin(strategy, setup_of(config, task, sandwich=1))
    seen: list[Gates] = []
    state.net.register_forward_pre_hook(lambda net, given: seen.append(given[1]) if net.training else None)
    metrics = strategy.step(state, task.streams(0, 6), Progress(0, 40, 4))
    assert len(seen) == 3 and torch.isfinite(metrics["train_loss"])


def test_where_there_are_no_sizes_or_no_search_they_are_refused(task: Any) -> None:
    cells = rn.NatsTopology(channels=2, cells=1, nodes=3)
    with pytest.raises(UserError, match="sandwich steps are for sizes, and decision '0-1' is none"):
        begin(rn.RSPS(), setup_of(cells, task, sandwich=1))
    with pytest.raises(UserError, match="without a search none are: leave sandwich at 0"):
        begin(rn.Uniform(), setup_of(SPACES["sizes"](), task, sandwich=1))
    with pytest.raises(UserError, match="sandwich is -1: give a number from 0 to 64"):
        rn.search(cells, rn.RSPS(), task, sandwich=-1)
