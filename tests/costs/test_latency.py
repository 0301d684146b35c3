"""Measured latency. How many milliseconds depends on the machine, so nothing here does."""

import time

import pytest
import torch
from torch import nn

from renascent.costs import measure


class Sleep(nn.Module):
    """Takes its time, and notes how it was called."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds, self.calls = seconds, []

    def forward(self, x):
        self.calls.append((tuple(x.shape), self.training, torch.get_num_threads(), torch.is_grad_enabled()))
        time.sleep(self.seconds)
        return x


def test_it_measures_time_in_milliseconds():
    found = measure(Sleep(0.004), (1, 2, 2), repeats=20, warmup=1)
    assert 4.0 <= found.median_ms < 100
    assert found.p10_ms <= found.median_ms <= found.p90_ms


def test_a_longer_pass_takes_longer():
    short, long = (measure(Sleep(s), (1, 2, 2), repeats=9, warmup=0) for s in (0.001, 0.01))
    assert short.median_ms < long.median_ms


def test_how_the_network_is_run():
    net = Sleep(0.0).train()
    measure(net, (1, 2, 3), batch=4, repeats=5, warmup=3)
    assert net.calls == [((4, 1, 2, 3), False, 1, False)] * 8


def test_everything_is_put_back():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        net = nn.Linear(2, 2).train()
        measure(net, (2,), repeats=2, warmup=0)
        assert net.training
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_even_when_the_network_fails():
    class Broken(nn.Module):
        def forward(self, x):
            raise ValueError("no")

    net, threads = Broken().train(), torch.get_num_threads()
    with pytest.raises(ValueError, match="no"):
        measure(net, (2,))
    assert net.training
    assert torch.get_num_threads() == threads


def test_it_says_what_ran_it():
    assert measure(nn.Identity(), (1,), repeats=2, warmup=0).runtime == f"torch {torch.__version__} eager, cpu"
