"""Help, lists, look-ups and mistakes are answered without torch, and completely under `python -OO`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

GDAS = "search nats-topology --strategy gdas"
SHRINK = "shrink torchvision.models:resnet18 --data digits"

LINES = {
    "": 0,
    "--version": 0,
    "--help": 0,
    "bench --help": 0,
    "search --help": 0,
    f"{GDAS} --help": 0,
    "search resnet20 --strategy tas --help": 0,
    "shrink --help": 0,
    "fit --help": 0,
    "report --help": 0,
    "export --help": 0,
    "predict --help": 0,
    "runs --help": 0,
    "runs": 2,
    "runs held": 0,
    "runs held --json": 0,
    "cost resnet20 --help": 0,
    "list": 0,
    "list --json": 0,
    "completion bash": 0,
    "latency measure mobilenet-v2 --help": 0,
    "latency fit --help": 0,
    "latency show --help": 0,
    "bench build nats-topology --help": 0,
    "bench import --help": 0,
    "bench query 5": 0,
    "bench query 5 --json": 0,
    "bench query --help": 0,
    "bench compare --help": 0,
    "bench compare --strategies optuna:TPESampler --help": 0,
    "bench analyse --help": 0,
    "serch": 2,
    "--verbose": 2,
    "bench qery": 2,
    "search": 2,
    "search nats-topolgy": 2,
    "search nats-topology": 2,
    "search nats-topology --strategy gads": 2,
    GDAS: 2,
    f"{GDAS} --data digit": 2,
    f"{GDAS} --data digits --epochz 3": 2,
    f"{GDAS} --data digits --hidden 3": 2,
    f"{GDAS} --data digits --drop-path 0.1": 2,
    f"{GDAS} --data digits --lr": 2,
    f"{GDAS} --data digits --lr nan": 2,
    f"{GDAS} --data digits --epochs 0": 2,
    f"{GDAS} --data digits --momentum 1.5": 2,
    f"{GDAS} --data digits --resume=perhaps": 2,
    f"{GDAS} --data digits more": 2,
    f"{GDAS} --data digits --runtime fast": 2,
    f"{GDAS} --data digits --runtime compiled": 2,
    f"{GDAS} --data digits --truth-problem digits": 2,
    f"{GDAS} --data digits --budget macs=3": 2,
    f"{GDAS} --data digits --budget flops<=3": 2,
    f"{GDAS} --data digits --operations nor_conv": 2,
    f"{GDAS} --data digits --split offical": 2,
    f"{GDAS} --data digits --device gpu": 2,
    "search --recipe nats-topology-gads": 2,
    "search --recipe nats-h0": 2,
    "shrink": 2,
    "shrink a:b": 2,
    f"{SHRINK} --strategy gads": 2,
    f"{SHRINK} --multiple 0": 2,
    f"{SHRINK} --order big": 2,
    f"{SHRINK} --budget macs<=0x": 2,
    "fit": 2,
    "fit run --soft-weight 0.5": 2,
    "fit run --recipe nats-topology-gdas": 2,
    "report": 2,
    "export run --to onxx": 2,
    "predict run nowhere.png": 2,
    "cost": 2,
    "cost resnet21": 2,
    "cost resnet20 --classes 0": 2,
    "cost resnet20 --budget macs<=x": 2,
    "latency measure nats-topology": 2,
    "latency measure resnet20": 2,
    "latency measure resnet20 --runtime fast --out x": 2,
    "latency show": 2,
    "bench build nats-topology --data digits": 2,
    "bench compare": 2,
    "bench compare --strategies rae --out x": 2,
    "bench query --at x": 2,
    "bench query 5 --column no": 2,
}
"""Command line -> its exit code."""

CHILD = """
import json, os, resource, sys
import renascent.cli.parsing
from renascent.cli.entry import main

def answer(line, path):
    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
    code = main(line.split())
    sys.stdout.flush()
    return code + 64 * ("torch" in sys.modules)

told = {}
for number, line in enumerate(json.loads(sys.stdin.read())):
    if (pid := os.fork()) == 0:
        os._exit(answer(line, f"{number}.txt"))
    _, status, used = os.wait4(pid, 0)
    told[line] = (os.waitstatus_to_exitcode(status), open(f"{number}.txt").read(), used.ru_utime + used.ru_stime)
print(json.dumps(told))
"""


def asked(lines: list[str], folder: Path, *options: str) -> Any:
    """Return exit code (64 more where torch was loaded), standard output and processor seconds of each line."""
    done = subprocess.run(
        [sys.executable, *options, "-c", CHILD],
        cwd=folder,
        input=json.dumps(lines),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_no_torch_is_loaded(tmp_path: Path) -> None:
    shutil.copytree(Path(__file__).parents[1] / "data" / "before", tmp_path / "held")
    told = asked(list(LINES), tmp_path)
    assert {line: code for line, (code, _, _) in told.items()} == LINES


def test_without_docstrings_all_is_said(tmp_path: Path) -> None:
    lines = ["--help", f"{GDAS} --help", "fit --help", "list", "bench compare --help"]
    with_them, without = asked(lines, tmp_path), asked(lines, tmp_path, "-OO")
    assert [with_them[line][:2] for line in lines] == [without[line][:2] for line in lines]
    assert all(len(without[line][1]) > 500 for line in lines)
