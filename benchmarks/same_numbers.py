"""Whether a change left every number as it was: small searches and commands with fixed seeds, as one JSON file.

    python benchmarks/same_numbers.py --out before.json      # on the commit before the change
    python benchmarks/same_numbers.py --against before.json  # after it; exit code 1 where something differs

One search of every strategy on every kind of space that it fits, one `fit` of each kind, one `shrink`, one table built
and one comparison. Of each it keeps the events without their clock fields, the result, which keys every file of its
folder has, and a checksum of the weights. Equal on one machine and one PyTorch; another processor rounds otherwise.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

import renascent as rn
from renascent.nets.adapt import Adapted

CLOCK = {"time", "seconds", "search_seconds", "latency_ms", "command"}
CLOCKED = re.compile("seconds_per_epoch|latency_ms")
"""Keys whose values a repetition may change."""

SMALL = {
    "candidates": 4,
    "controller_steps": 2,
    "controller_samples": 2,
    "arch_lr": 0.05,
    "rounds": 2,
    "evaluations": 6,
}
"""Settings that make a strategy short, where it has them."""


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.norm(self.conv(x)).relu()


def model() -> nn.Module:
    """Return a model of a user's own."""
    torch.manual_seed(0)
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)
    return nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), Block(), Block(), *head)


SPACES: Mapping[str, tuple[Callable[[], Any], str | None]] = {
    "nats-topology": (lambda: rn.NatsTopology(channels=4, cells=1, nodes=3), None),
    "nats-topology in a budget": (lambda: rn.NatsTopology(channels=4, cells=1, nodes=3), "params<=6k"),
    "nats-size": (rn.SPACES["nats-size"], "macs<=0.2x"),
    "resnet14": (lambda: rn.ResNetCifar(layers_count=14, lowest=4, highest=8), "macs<=0.3x,params<=0.5x"),
    "resnet8 tied": (lambda: rn.ResNetCifar(layers_count=8, depths=False, tied=True), "macs<=0.4x"),
    "resnet18": (lambda: rn.SPACES["resnet18"](width=0.5, small=True, lowest=8, highest=8), "macs<=0.4x"),
    "resnet50": (lambda: rn.SPACES["resnet50"](width=0.125, small=True, lowest=8, highest=8), "macs<=0.4x"),
    "mobilenet-v1": (lambda: rn.SPACES["mobilenet-v1"](width=0.25, small=True, lowest=6, highest=8), "macs<=0.4x"),
    "mobilenet-v2": (lambda: rn.SPACES["mobilenet-v2"](width=0.25, small=True, lowest=6, highest=8), "macs<=0.4x"),
    "adapted": (lambda: Adapted(factory="same_numbers:model", shape=(1, 8, 8)), "macs<=0.5x"),
}
"""Kind of space -> how to make a small one, and the budget of its searches."""

FITTED = {("nats-topology", "gdas"), ("resnet14", "tas"), ("adapted", "fbnetv2")}
"""Searches whose result is trained, too."""

BUILD = (
    "bench build nats-topology --data digits --channels 2 --cells 1 --nodes 2 --limit 200 --batch 32 --epochs 2 "
    "--operations none,skip_connect,nor_conv_1x1 --seeds 2 --workers 1 --out t.safetensors"
)
COMMANDS = {
    "shrink": "shrink same_numbers:model --data digits --limit 200 --budget macs<=0.5x --epochs 1 --batch 32 --out r",
    "fit": "search resnet20 --layers-count 8 --strategy nes --rounds 2 --data digits --limit 200 --epochs 1 --out r;"
    "fit r --epochs 1 --batch 32 --random-cells 1 --init shared --teacher reference",
    "build": BUILD,
    "compare": "bench compare --strategies random,rea,reinforce,bohb --runs 6 --out r",
}
"""Commands of the command line, several with `;` between them."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="where to write the numbers")
    parser.add_argument("--against", type=Path, help="numbers of another commit, to compare with")
    parser.add_argument("--only", default="", help="only what has this in its name")
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    names = [f"{space} | {strategy}" for space, strategy in itertools.product(SPACES, rn.STRATEGIES)]
    names = [name for name in [*COMMANDS, *names] if asked.only in name]
    with ProcessPoolExecutor(asked.workers, mp_context=get_context("spawn")) as pool:
        numbers = {}
        for name, found in zip(names, pool.map(run, names), strict=True):
            print(f"{len(numbers) + 1}/{len(names)} {name}", file=sys.stderr, flush=True)
            numbers[name] = found
    if asked.out:
        asked.out.write_text(json.dumps(numbers, indent=1) + "\n")
    if asked.against is None:
        return 0
    before = {name: value for name, value in json.loads(asked.against.read_text()).items() if name in names}
    changes = list(differences(before, json.loads(json.dumps(numbers))))
    print("\n".join(changes) or f"{len(names)} runs: all numbers and keys are the same")
    return int(bool(changes))


def run(name: str) -> Any:
    """Return the numbers of one search or command; in one line why it was refused, where it was."""
    torch.set_num_threads(1)
    torch.backends.mkldnn.enabled = False  # some of its convolutions of few channels end in "free(): invalid size"
    with tempfile.TemporaryDirectory() as folder:
        if name in COMMANDS:
            return _commands(COMMANDS[name], Path(folder))
        try:
            return _search(*name.split(" | "), Path(folder) / "r")
        except rn.RenascentError as e:
            return {"refused": str(e)}


def _search(kind: str, strategy: str, folder: Path) -> Any:
    make, budget = SPACES[kind]
    of = rn.STRATEGIES[strategy]
    small = of(**{key: value for key, value in SMALL.items() if key in of.__dataclass_fields__})  # type: ignore[attr-defined]
    task = rn.load_task("digits", options=rn.ImageOptions(limit=120))
    result = rn.search(make(), small, task, epochs=2, batch=32, budget=budget, out=folder)
    if (kind, strategy) in FITTED:
        result.fit(task, rn.Fit(epochs=2, batch=32), random_cells=1)
    return _folder(folder)


def _commands(lines: str, folder: Path) -> Any:
    start = "import runpy, sys; sys.path.insert(0, {!r}); sys.argv[1:] = {!r}; "
    start += "runpy.run_module('renascent', run_name='__main__')"
    for line in lines.split(";"):
        code = start.format(str(Path(__file__).parent), line.split())
        done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            return {"refused": done.stderr}
    return _folder(folder)


def _folder(folder: Path) -> Any:
    return {str(path.relative_to(folder)): _file(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def _file(path: Path) -> Any:
    """Return what of a file must not change: its numbers, of the environment its keys, of tensors a checksum."""
    if path.suffix == ".jsonl":
        return [_timeless(json.loads(line)) for line in path.read_text().splitlines()]
    if path.name in ("environment.json", "latency.json"):
        return sorted(_keys(json.loads(path.read_text())))
    if path.suffix == ".json":
        return _timeless(json.loads(path.read_text()))
    if path.suffix == ".safetensors" and path.name != "checkpoint.safetensors":
        with safe_open(path, framework="pt") as file:
            return {key: _digest(file.get_tensor(key)) for key in sorted(file.keys()) if not CLOCKED.match(key)}
    return "there"


def _digest(tensor: torch.Tensor) -> str:
    data = tensor.reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()
    return f"{list(tensor.shape)} {hashlib.sha256(data).hexdigest()[:16]}"


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: None if key in CLOCK else _timeless(item) for key, item in value.items()}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def _keys(value: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield prefix + key
            yield from _keys(item, f"{prefix}{key}.")
    elif isinstance(value, list) and value:
        yield from _keys(value[0], f"{prefix}0.")


def differences(before: Any, after: Any, place: str = "") -> Iterator[str]:
    """Yield a line for every value that differs, with its place."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in {**before, **after}:
            if key not in before or key not in after:
                yield f"{place}/{key}: only {'after' if key in after else 'before'}"
            else:
                yield from differences(before[key], after[key], f"{place}/{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for k, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from differences(old, new, f"{place}[{k}]")
    elif before != after:
        yield f"{place}: {before!r:.80} before, {after!r:.80} after"


if __name__ == "__main__":
    sys.exit(main())
