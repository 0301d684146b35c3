"""`renascent search --budget`: what cannot be is one line, an exit code, no folder; what can be is shown and kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

SIZES = "search resnet20 --no-depths --strategy nes --data digits --limit 120 --batch 32 --epochs 1 --rounds 2"
UNIFORM = "search resnet20 --data digits --limit 120 --strategy uniform"
MAGNITUDE = "search resnet20 --data digits --limit 120 --strategy magnitude --budget 'macs<=1x'"
TOPOLOGY = "search nats-topology --channels 4 --cells 1 --nodes 3 --strategy rsps --candidates 2 --data digits"


pytestmark = pytest.mark.usefixtures("without_measuring")


REFUSED = {
    "nothing": (f"{SIZES} --budget ''", 2, "there is an empty word after --budget"),
    "unreadable": (f"{SIZES} --budget 'macs<0.5x'", 2, "budget 'macs<0.5x' cannot be read: write NAME<=NUMBER"),
    "no reference": (f"{TOPOLOGY} --budget 'macs<=0.5x'", 2, "has no reference network, so macs<=0.5x means nothing"),
    "bytes of operations": (f"{TOPOLOGY} --budget 'activation_bytes<=1M'", 2, "is known for spaces of sizes only"),
    "infeasible": (f"{SIZES} --budget 'macs<=1000'", 3, "has macs<=1k: the least is macs<="),
    "no budget": (UNIFORM, 2, "--strategy uniform takes the largest network that a budget allows: give one"),
    "widths alone": (f"{UNIFORM} --budget 'macs<=0.05x'", 3, "no network scaled in this way keeps macs<="),
    "no weights": (MAGNITUDE, 2, "magnitude ranks the channels of a trained network: give its weights"),
    "no sizes": (f"{UNIFORM.replace('resnet20', 'nats-topology')} --budget 'macs<=5M'", 2, "no sizes that could be"),
    "one of two": (f"{SIZES} --budget 'macs<=1x,params<=0.001x'", 3, "the least is params<="),
    "no operations": (f"{TOPOLOGY} --budget 'macs<=1'", 3, "the least is macs<="),
    "table without bound": (f"{SIZES} --budget 'macs<=1x' --latency-table t", 2, "give --budget latency_ms<=NUMBER"),
    "table without budget": (f"{SIZES} --latency-table t", 2, "--latency-table says nothing without a bound on it"),
    "no such table": (f"{SIZES} --budget 'latency_ms<=5' --latency-table nowhere.json", 2, "nowhere.json"),
    "table for operations": (
        f"{TOPOLOGY} --budget 'latency_ms<=5' --latency-table t", 2, "--latency-table is for spaces of sizes"
    ),
    "runtime of nothing": (f"{SIZES} --runtime onnxruntime", 2, "--runtime says nothing without a bound on latency"),
    "unknown runtime": (f"{SIZES} --runtime tensorrt --budget latency_ms<=3", 2, "unknown runtime 'tensorrt'"),
    "runtime of a table": (
        f"{SIZES} --runtime compiled --budget latency_ms<=3 --latency-table t.json", 2, "exclude each other"
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_search_command_bad_budget_is_one_line_and_no_folder(what: str, refused: Any) -> None:
    line, code, message = REFUSED[what]
    refused(line, message, code=code)


def test_the_nearest_value_of_a_refusal_can_be_given_back(say: Any, tmp_path: Path) -> None:
    refused = say(f"{SIZES} --budget 'macs<=1000'")
    nearest = refused.err.partition("the least is ")[2].split()[0].rstrip(":;,.")
    done = say(f"{SIZES} --budget '{nearest}' --out run")
    assert done.code == 0, done.err
    macs = json.loads((tmp_path / "run/arch.json").read_text())["costs"]["macs"]
    assert 0.99 * macs["limit"] <= macs["promised"] == macs["measured"] <= macs["limit"]


def test_a_device_that_is_not_there_is_refused(refused: Any) -> None:
    if torch.cuda.is_available():
        pytest.skip("a GPU is here, and the refusal is that of a machine without one")
    refused(f"{SIZES} --budget 'latency_ms<=5' --device cuda", "--device cuda cannot be used")


def test_a_search_shows_the_table_first_and_what_it_kept_last(say: Any, tmp_path: Path) -> None:
    completed = say(f"{SIZES} --budget 'macs<=0.5x,params<=200k' --out run")
    assert completed.code == 0, completed.err
    shown = completed.out + completed.err
    assert "smallest" in shown
    assert "reference" in shown
    facts = json.loads((tmp_path / "run/arch.json").read_text())
    assert set(facts["costs"]) == {"macs", "params"}
    assert json.loads((tmp_path / "run/config.json").read_text())["budget"] == "macs<=0.5x,params<=200000"
