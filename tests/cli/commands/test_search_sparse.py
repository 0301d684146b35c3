"""`renascent search --strategy dso-nas` and `bayesnas`: what cannot be is one line, and nothing is written."""

from __future__ import annotations

from typing import Any

import pytest

SMALL = "--data digits --limit 64 --batch 16 --epochs 1 --out run"
BLOCK = f"search dso --channels 4 --blocks 1 --levels 1 {SMALL} --strategy"
CELLS = f"search darts-cells --decisions subset --channels 4 --layers-count 3 --nodes 1 {SMALL} --strategy"

REFUSED = {
    f"{BLOCK} dso-nas --sparsity 0": "--sparsity is '0': give a number of at least 1e-06",
    f"{BLOCK} dso-nas --sparsity=-1": "--sparsity is '-1': give a number of at least 1e-06",
    f"{BLOCK} bayesnas --shrinkage 0": "--shrinkage is '0': give a number of at least 1e-06",
    f"{BLOCK} bayesnas --shrinkage=-0.1": "--shrinkage is '-0.1': give a number of at least 1e-06",
    f"{BLOCK} bayesnas --shrinkage-zero=-0.1": "--shrinkage-zero is '-0.1': give a number of at least 0",
    f"{BLOCK} dso-nas --pretrain 1": "--pretrain is '1': give a number from 0 to 0.9999",
    f"{BLOCK} dso-nas --pretrain=-0.1": "--pretrain is '-0.1': give a number from 0 to 0.9999",
    f"{BLOCK} bayesnas --warmup 1": "--warmup is '1': give a number from 0 to 0.9999",
    f"{BLOCK} bayesnas --warmup=-0.1": "--warmup is '-0.1': give a number from 0 to 0.9999",
    f"{BLOCK} bayesnas --iterations 0": "--iterations is '0': give a whole number of at least 1",
    f"{BLOCK} bayesnas --iterations 2": "--iterations is 2 and --epochs is 1: give at most one iteration an epoch",
    f"{BLOCK} dso-nas --weights-per-scale 0": "--weights-per-scale is '0': give a whole number of at least 1",
    f"{BLOCK} dso-nas --adaptive mac": "unknown adaptive penalty 'mac': did you mean 'macs'?",
    f"search dso --levels 0 {SMALL} --strategy dso-nas": "--levels is '0': give a whole number from 1 to 15",
    f"search dso --blocks 1,0 {SMALL} --strategy dso-nas": "--blocks is '0': give a whole number from 1 to 100",
    f"search darts-cells --decisions some {SMALL} --strategy bayesnas": "unknown decisions 'some': known: choice,",
    f"search nats-topology --channels 4 --cells 1 {SMALL} --strategy bayesnas --recursive": (
        "has no rule for the curvature of the thesis: take the default, not --recursive"
    ),
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_makes_no_sense_is_one_line_and_nothing_is_written(line: str, refused: Any) -> None:
    refused(line, REFUSED[line])


@pytest.mark.parametrize("strategy", ["dso-nas", "bayesnas"])
def test_a_budget_below_the_cheapest_network_is_refused_as_ever(strategy: str, refused: Any) -> None:
    refused(f"{BLOCK} {strategy} --budget 'macs<=10'", "has macs<=10: the least is macs<=2.344k", code=3)


@pytest.mark.parametrize(
    ("strategy", "flag"),
    [("dso-nas --pretrain 0 --sparsity 1000", "--sparsity"), ("bayesnas --shrinkage 1000", "--shrinkage")],
)
def test_a_search_that_prunes_all_ends_in_one_line(strategy: str, flag: str, say: Any) -> None:
    """There is no identity beside these cells; only training shows that nothing is left."""
    assert "no path from input to output is left" in (line := say(f"{CELLS} {strategy}").refusal)
    assert f"give a smaller {flag}" in line
