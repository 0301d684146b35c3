"""Latency measured on this device."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one forward pass. p10_ms, p90_ms: the spread around the median.  runtime: what ran it."""

    median_ms: float
    p10_ms: float
    p90_ms: float
    runtime: str


@torch.inference_mode()
def measure(net: nn.Module, shape: tuple[int, ...], *, batch: int = 1, repeats: int = 200, warmup: int = 30) -> Latency:
    """Time `net` on a batch of inputs of `shape` (channels, h, w): evaluation mode, one thread on a CPU.

    repeats: timed passes, after `warmup` untimed ones.
    """
    device = next((p.device for p in net.parameters()), torch.device("cpu"))
    x = torch.randn(batch, *shape, device=device)
    training, threads = net.training, torch.get_num_threads()
    net.eval()
    torch.set_num_threads(1)
    try:
        for _ in range(warmup):
            net(x)
        samples = [_timed(net, x) for _ in range(repeats)]
    finally:
        torch.set_num_threads(threads)
        net.train(training)
    p10, median, p90 = np.percentile(samples, (10, 50, 90))
    return Latency(float(median), float(p10), float(p90), f"torch {torch.__version__} eager, {device.type}")


def _timed(net: nn.Module, x: torch.Tensor) -> float:
    _wait(x.device)
    began = time.perf_counter()
    net(x)
    _wait(x.device)
    return (time.perf_counter() - began) * 1e3


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
