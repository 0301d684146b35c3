"""Where work is done: versions, processor, git state."""

import platform
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from renascent.core.files import Json

PACKAGES = ("renascent", "torch", "numpy", "scikit-learn", "safetensors", "Pillow")


def environment(seed: int, device: torch.device | None = None) -> Json:
    """Return what a reader needs to repeat a run: versions, device, git state, seed and command.

    device: where the work is done; the GPU unless given, if there is one.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "seed": seed,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor_name(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "versions": {name: _version(name) for name in PACKAGES},
        "git": _git_state(),
    }


def processor_name() -> str:
    """Return the processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _git_state() -> Json | None:
    """Return commit and whether files differ from it, of the working folder; None outside a checkout."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None
