"""Measured latency. How many milliseconds depends on the machine, so nothing here does."""

import contextlib
import functools
import shutil
import sys
import time

import pytest
import torch
from torch import nn

from renascent.core.errors import MissingExtra, UserError
from renascent.costs import Latency, measure, measure_all
from renascent.costs.latency import measure as latency
from renascent.costs.latency.measure import summary, timed
from renascent.costs.latency.runtimes import prepared

needs_compiler = pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler: no g++ here")


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


def test_a_phase_in_which_the_machine_is_slow_does_not_count():
    class Slow(Sleep):
        """Slow at first, for less than half of all passes."""

        def forward(self, x):
            self.seconds = 0.02 if len(self.calls) < 12 else 0.001
            return super().forward(x)

    found = measure(Slow(0.0), (1, 2, 2), repeats=20, warmup=10)
    assert found.median_ms < 20 <= found.p90_ms


def test_measure_runs_in_evaluation_mode_on_one_thread():
    net = Sleep(0.0).train()
    measure(net, (1, 2, 3), batch=4, repeats=20, warmup=10)
    assert net.calls == [((4, 1, 2, 3), False, 1, False)] * 30


@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_put_back_even_when_the_network_fails(fails):
    class Net(nn.Module):
        def forward(self, x):
            if fails:
                raise ValueError("no")
            return x

    net, threads = Net().train(), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(ValueError, match="no") if fails else contextlib.nullcontext():
            measure(net, (2,), repeats=2, warmup=0)
        assert net.training
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


# --- several at a time, and other runtimes


def test_several_are_measured_in_turns():
    order = []

    class Noted(nn.Module):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def forward(self, x):
            order.append((self.name, tuple(x.shape)))
            return x

    found = measure_all([(Noted("a"), (1, 2, 2)), (Noted("b"), (3,))], rounds=2, passes=1, warmup=1)
    assert order == [("a", (1, 1, 2, 2))] * 2 + [("b", (1, 3))] * 2 + [("a", (1, 1, 2, 2))] * 2 + [("b", (1, 3))] * 2
    assert len(found) == 2 and found[0].p10_ms <= found[0].p90_ms


def test_the_slower_half_of_the_rounds_does_not_count():
    found = summary([[1.0, 2.0, 3.0], [50.0, 60.0, 70.0], [2.0, 2.5, 3.0], [80.0, 90.0, 99.0]], "by hand")
    assert found.median_ms == 2.25
    assert found.p10_ms <= 2.0 and found.p90_ms > 80.0


def test_the_spread_is_around_the_median_however_few_passes_counted_in_quiet_rounds():
    found = summary([[1.0]] * 3 + [[3.0] * 20] * 7, "by hand")
    assert (found.p10_ms, found.median_ms, found.p90_ms) == (1.0, 1.0, 3.0)


def test_passes_that_were_interrupted_do_not_count(monkeypatch):
    """The system says after each pass whether it took the processor away: here, from every second one."""
    counts = iter([0, 0, 0, 1, 1, 1, 1, 2])  # before and after each pass
    monkeypatch.setattr(latency, "_switches", lambda: next(counts))
    assert len(timed(lambda: None, 4, 0, torch.device("cpu"))) == 2


def test_if_all_were_the_processor_time_does(monkeypatch):
    counts = iter(range(100))
    monkeypatch.setattr(latency, "_switches", lambda: next(counts))
    slept = timed(lambda: time.sleep(0.01), 3, 0, torch.device("cpu"))
    assert len(slept) == 3 and max(slept) < 9


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"runtime": "tflite"}, "unknown runtime"),
        ({"device": "cuda:99"}, "cannot be used"),
        ({"device": "abacus"}, "cannot be used"),
        ({"device": "meta", "runtime": "onnxruntime"}, "cannot be used"),
        ({"rounds": 0}, "rounds is 0"),
        ({"passes": -1}, "passes is -1"),
    ],
)
def test_measure_bad_setting_is_refused(settings, said):
    with pytest.raises(UserError, match=said):
        measure_all([(nn.Identity(), (1,))], **settings)


def test_every_network_of_a_class_is_compiled_for_its_own_shape(monkeypatch):
    """By default, dynamo gives up after eight, and compiles the second for any shape."""
    ran, compile_with = [], torch.compile

    def backend(graph, inputs):
        fixed = all(isinstance(one, torch.Tensor) for one in inputs)
        return lambda *given: ran.append(fixed) or graph.forward(*given)

    monkeypatch.setattr(torch, "compile", lambda net, **more: compile_with(net, backend=backend, **more))
    passes = [
        prepared(nn.Sequential(nn.Conv2d(1, k, 1)), (1, k + 1, k + 1), 1, "compiled", torch.device("cpu"))
        for k in range(1, 12)
    ]
    ran.clear()
    for one in passes:
        one()
    assert ran == [True] * 11


@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=[pytest.mark.compiler, needs_compiler])])
def test_compiled_runs_what_the_compiler_makes_and_leaves_the_network_as_it_was(monkeypatch, backend):
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).train()
    torch._dynamo.utils.counters.clear()
    found = measure(net, (3, 8, 8), repeats=3, warmup=0, runtime="compiled")
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    assert found.median_ms > 0 and found.runtime == f"torch {torch.__version__} compiled, cpu"
    assert net.training


def test_onnxruntime_runs_the_network_and_leaves_it_as_it_was():
    pytest.importorskip("onnxruntime")
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).train()
    found = measure(net, (3, 8, 8), repeats=3, warmup=0, runtime="onnxruntime")
    assert found.median_ms > 0 and found.runtime.startswith("onnxruntime ")
    assert net.training


def test_without_onnx_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingExtra, match=r"renascent\[onnx\]"):
        measure(nn.Identity(), (1,), runtime="onnxruntime")


def test_a_network_that_cannot_be_written_is_told():
    pytest.importorskip("onnxruntime")

    class Erratic(nn.Module):
        def forward(self, x):
            return x if float(x.sum()) > 0 else torch.from_numpy(x.numpy() ** 2)

    with pytest.raises(UserError, match="Erratic cannot be written as ONNX"):
        measure(Erratic(), (2,), runtime="onnxruntime")


@pytest.mark.parametrize(("p90_ms", "said"), [(2.0, ""), (2.5, ""), (2.6, "took at least 30 % longer"), (9.0, "350 %")])
def test_a_spread_above_a_quarter_is_a_busy_machine(p90_ms, said):
    found = Latency(2.0, 1.9, p90_ms, "by hand")
    assert found.spread == pytest.approx(p90_ms / 2.0 - 1)
    assert (said in found.busy) and bool(found.busy) == bool(said)
    assert "\n" not in found.busy


def test_passes_of_which_some_were_disturbed_are_busy_and_even_ones_quiet():
    even, disturbed = [[1.0, 1.01, 1.1]] * 10, [[1.0, 1.0, 1.9]] * 10
    assert not summary(even, "by hand").busy
    assert "90 %" in summary(disturbed, "by hand").busy
    assert not summary([[1.0, 1.0, 1.0]] * 19 + [[1.0, 1.0, 50.0]], "by hand").busy  # one pass of sixty tells nothing
