"""The final table."""

import json
from pathlib import Path
from typing import Any

from renascent.experiment.result import Result
from renascent.reports.summary import summary
from tests.reports.conftest import FOUND

CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"

FACTS: dict[str, Any] = FOUND | {
    "space": "nats-topology",
    "arch": CELL,
    "strategy": "gdas",
    "space_config": {"channels": 4, "cells": 1},
}


def result(folder: Path, **fitted: Any) -> Result:
    if fitted:
        (folder / "fit").mkdir()
        whole = {"seed": 0, "params": 1, "macs": 1, "prune": False, **fitted}
        (folder / "fit" / "result.json").write_text(json.dumps(whole))
    return Result(folder, FACTS)


def test_summary_of_a_search(tmp_path: Path) -> None:
    lines = summary(result(tmp_path)).splitlines()
    assert lines[0] == "nats-topology, found by gdas on digits (seed 7)"
    assert "  node 1  0 -> nor_conv_3x3" in lines
    assert CELL in lines
    table = dict(line.split("  ", 1) for line in lines[lines.index(CELL) + 2 :])
    assert {name: value.strip() for name, value in table.items()} == {
        "accuracy in the search": "91.25 % (shared weights, one validation batch)",
        "parameters": "12,345",
        "MACs": "678,901 an image",
        "latency": "1.23 ms an image (1.10 to 1.50 ms in 8 of 10 passes; torch eager, cpu)",
        "search cost": "60.0 s",
        "folder": str(tmp_path),
    }


def test_summary_after_fit(tmp_path: Path) -> None:
    cells = [{"arch": CELL, "test": 0.90}, {"arch": CELL, "test": 0.92}]
    settings = {"epochs": 20}
    found = result(tmp_path, scores={"test": 0.95}, seconds=30.0, settings=settings, random_cells=cells)
    text = summary(found)
    assert "test accuracy           95.00 % (trained alone, 20 epochs)" in text
    mean = "91.00 +- 1.41 % (2 cells trained identically; the result is +4.00 points from their mean)"
    assert f"random cells            {mean}" in text
    assert "60.0 s, 2.00 times training the found network once (30.0 s)" in text


def test_summary_with_one_random_cell_has_no_deviation(tmp_path: Path) -> None:
    cells, settings = [{"arch": CELL, "val": 0.9}], {"epochs": 1}
    found = result(tmp_path, scores={"val": 0.8}, seconds=30.0, settings=settings, random_cells=cells)
    assert "accuracy on val         80.00 % (trained alone, 1 epoch)" in summary(found)
    assert "90.00 % (1 cell trained identically; the result is -10.00 points from their mean)" in summary(found)


def test_summary_budget_table_has_limit_predicted_and_measured(tmp_path: Path) -> None:
    costs = {
        "macs": {"limit": 2e6, "promised": 1_900_000.0, "measured": 1_900_000.0},
        "latency_ms": {"limit": 8.0, "promised": 7.5, "measured": 7.8125},
        "activation_bytes": {"limit": 49152.0, "promised": 49152.0, "measured": None},
    }
    lines = summary(Result(tmp_path, FACTS | {"costs": costs})).splitlines()
    assert lines[-4:] == [
        "budget                limit  predicted   measured",
        "macs              2,000,000  1,900,000  1,900,000",
        "latency_ms                8        7.5      7.812",
        "activation_bytes     49,152     49,152          -",
    ]
    assert summary(Result(tmp_path, FACTS)).splitlines()[-1].startswith("folder")


def test_random_architectures_inside_the_budget_are_called_so(tmp_path: Path) -> None:
    cells = [{"arch": CELL, "test": 0.5}, {"arch": CELL, "test": 0.6}]
    about: dict[str, Any] = {"scores": {"test": 0.7}, "seconds": 30.0, "settings": {"epochs": 1}}
    found = result(
        tmp_path, **about, random_cells=cells, random_within="macs<=0.5x", init="shared", random_init="fresh"
    )
    text = summary(found)
    assert (
        "random architectures    55.00 +- 7.07 % (2 architectures inside the budget, "
        "trained identically, but from fresh" in text
    )
    assert "weights; the result is +15.00 points from their mean)" in text


def test_a_latency_from_a_busy_machine_is_said_so(tmp_path: Path) -> None:
    busy = FACTS["latency_ms"] | {"p90_ms": 3.0}
    last = summary(Result(tmp_path, FACTS | {"latency_ms": busy})).splitlines()[-1]
    assert last.startswith("latency was measured on a busy machine: one pass in ten took at least 143 % longer")
    assert "busy machine" not in summary(Result(tmp_path, FACTS))
