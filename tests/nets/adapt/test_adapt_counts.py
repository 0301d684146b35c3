"""Multiply-accumulates of whole models and of narrower ones, against counts by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from renascent.core.errors import UserError
from renascent.nets.adapt import adapt
from renascent.nets.adapt.checks import unknown_macs
from renascent.nets.adapt.supernet import AdaptedNet

BASE = 64 * 9 * (32 + 32 * 32)
"""Both convolutions of `Body`, on maps of 8 x 8."""


class Body(nn.Module):
    """Two convolutions, something between, (batch, 32) to (batch, width), and a classifier."""

    def __init__(self, between, width, module=None):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 32, 3, padding=1), nn.Conv2d(32, 32, 3, padding=1)
        self.between, self.module, self.head = between, module, nn.Linear(width, 10)
        self.queries = nn.Parameter(torch.randn(2, 64))

    def forward(self, x):
        return self.head(self.between(self, self.b(self.a(x).relu()).relu()))


def pooled(x):
    return x.mean((2, 3))


def rows(model, x):
    """The rows of a map as a sequence, and what a recurrent layer has at its end."""
    return model.module(x.mean(2).transpose(1, 2))[0][:, -1]


def gated(model, x):
    """Two learned vectors through a layer, the same for all inputs."""
    return pooled(x) * model.module(model.queries).relu().mean(0)


def asked(model, x):
    """Two learned vectors, given to each input: what is computed of them is computed for each."""
    queries = model.queries.expand(len(x), 2, 64)
    return pooled(x) * model.module(queries).relu().mean(1)


CASES = {
    "LSTM": (rows, 64, lambda: nn.LSTM(32, 64, batch_first=True), 8 * 4 * 64 * 96),
    "LSTM both ways": (
        rows,
        128,
        lambda: nn.LSTM(32, 64, 2, batch_first=True, bidirectional=True),
        8 * 8 * 64 * (96 + 192),
    ),
    "GRU": (rows, 64, lambda: nn.GRU(32, 64, batch_first=True), 8 * 3 * 64 * 96),
    "bilinear": (lambda m, x: m.module(pooled(x), pooled(x)), 16, lambda: nn.Bilinear(32, 32, 16), 32 * 32 * 16),
    "once for all": (gated, 32, lambda: nn.Linear(64, 32), 2 * 64 * 32),
    "for each": (asked, 32, lambda: nn.Linear(64, 32), 2 * 64 * 32),
    "vector": (lambda m, x: pooled(x) * (pooled(x) @ m.module.weight[0])[:, None], 32, lambda: nn.Linear(32, 1), 32),
    "vmap": (lambda m, x: torch.vmap(m.module)(pooled(x)), 16, lambda: nn.Linear(32, 16), 32 * 16),
    "one by one": (lambda m, x: torch.stack([m.module(row) for row in pooled(x)]), 16, lambda: nn.Linear(32, 16), 512),
    "distances": (lambda m, x: torch.cdist(pooled(x), m.module.weight), 16, lambda: nn.Linear(32, 16), 512),
}


@pytest.mark.parametrize("name", CASES)
def test_macs_of_a_model_and_of_a_narrower_one_are_those_by_hand(name):
    between, width, module, own = CASES[name]
    space = adapt(Body(between, width, module()), (1, 8, 8))
    assert space.coverage.unknown == ()
    narrow = space.space.arch({**space.reference, "a": 8})
    counted = space.macs.exact(np.stack([space.space.indices(arch) for arch in (space.reference, narrow)]))
    right = BASE + own + 10 * width
    assert counted.tolist() == [right, right - 64 * 9 * 24 * (1 + 32)]


def test_macs_that_are_not_known_are_listed_and_asked_for_in_vain():
    space = adapt(Body(lambda model, x: torch.fft.rfft(pooled(x)).abs(), 17), (1, 8, 8))
    assert str(space.coverage).endswith("100% of the counted MACs can change\nnot counted: _fft_r2c")
    for ask in (lambda: space.macs, lambda: space.cost("macs", (1, 8, 8), 10)):
        with pytest.raises(UserError, match="not known, of _fft_r2c: bound params or latency_ms"):
            ask()
    assert space.params.exact(space.space.indices(space.reference)[None])[0] > 0


def test_macs_of_taken_out_networks_that_are_not_as_foreseen_are_not_known():
    model = Body(lambda model, x: pooled(x), 32)
    plan = adapt(model, (1, 8, 8)).plan
    wrong = replace(plan, macs=replace(plan.macs, terms=plan.macs.terms[1:]))
    assert unknown_macs(AdaptedNet(plan, model), (1, 8, 8)) == ()
    (told,) = unknown_macs(AdaptedNet(wrong, model), (1, 8, 8))
    assert "otherwise than the widths" in told
