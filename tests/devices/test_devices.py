"""Devices: which one is taken, what is refused, and everything on one that is not the CPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from renascent.core.devices import enough_memory, usable_device
from renascent.core.errors import UserError
from renascent.tasks.load import load


def test_everything_runs_on_a_device_that_refuses_to_be_mixed_with_the_cpu() -> None:
    words = [sys.executable, "-m", "pytest", "-q", "-n", "0", str(Path(__file__).with_name("on_elsewhere.py"))]
    done = subprocess.run(words, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout


@pytest.mark.parametrize("device", ["meta", "hpu", "cuda:77", "nonsense", "x" * 100_000, 7.5])
def test_a_device_that_computes_nothing_is_refused(device: Any) -> None:
    with pytest.raises(UserError, match="cannot be used") as caught:
        usable_device(device)
    assert len(str(caught.value)) < 400
    with pytest.raises(UserError, match="cannot be used"):
        load("digits", device=device)


def test_auto_is_cuda_then_mps_then_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def ones(count: int, device: Any) -> torch.Tensor:
        asked.append(device)
        return torch.zeros(count) + 1

    monkeypatch.setattr(torch, "ones", ones)
    for cuda, mps, wanted in ((True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=cuda: there)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda there=mps: there)
        usable_device("auto")
        assert asked.pop() == wanted


@pytest.mark.usefixtures("without_measuring")
def test_the_benchmark_for_a_gpu_runs_everything_on_the_cpu(script: Any, tmp_path: Path, capsys: Any) -> None:
    assert script("on_gpu").main(["--device", "cpu", "--quick", "--results", str(tmp_path / "r.json")]) == 0
    assert "0 failed" in capsys.readouterr().out
    assert (tmp_path / "r.json").exists()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_a_lack_of_memory_is_one_line(error: Exception) -> None:
    with (
        pytest.raises(UserError, match="not enough memory for a step: give a smaller batch"),
        enough_memory("a step", "give a smaller batch"),
    ):
        raise error
    with pytest.raises(RuntimeError, match="another"), enough_memory("a step", "give a smaller batch"):
        raise RuntimeError("another")
