"""`renascent search --strategy proxyless`, and by REINFORCE: budgets are kept, and what means nothing is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("without_measuring")

CHAIN = "search mbconv --small --width 0.125 --blocks 2,2,2,1,1,1 --data digits --limit 64 --batch 16 --epochs 1"
FORMS = {"two": "proxyless", "exact": "proxyless --paths 0", "reinforce": "proxyless-reinforce --samples 2"}


@pytest.mark.parametrize("form", FORMS)
def test_what_a_form_finds_keeps_both_bounds(form: str, say: Any, tmp_path: Path) -> None:
    done = say(f"{CHAIN} --strategy {FORMS[form]} --budget 'macs<=0.5x,params<=0.6x' --out run")
    assert done.code == 0, done.err
    costs = json.loads((tmp_path / "run/arch.json").read_text())["costs"]
    assert set(costs) == {"macs", "params"}
    assert all(cost["measured"] <= cost["limit"] for cost in costs.values())
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["strategy"] == FORMS[form].split()[0]


REFUSED = {
    "proxyless --paths 1": "paths is 1, and one path has nothing to be compared with: give 2, or 0 for all",
    "proxyless --paths 3": "--paths is '3': give a whole number from 0 to 2",
    "proxyless --arch-every 0": "--arch-every is '0': give a whole number of at least 1",
    "proxyless-reinforce --arch-every 0": "--arch-every is '0': give a whole number of at least 1",
    "proxyless-reinforce --cost-exponent 0.1": "--cost-exponent is '0.1': give a number from -10 to 0",
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_means_nothing_is_one_line(words: str, refused: Any) -> None:
    refused(f"{CHAIN} --strategy {words}", REFUSED[words])


def test_a_table_of_blocks_prices_a_search_and_the_random_rivals_of_its_training(
    say: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # on a busy machine the measurement of what was found would miss what its table promises
    monkeypatch.setattr("renascent.results.budgeted.confirmed_latency", lambda *_: None)
    shape = "--small --width 0.125 --blocks 1,1,1,1,1,1"
    table = f"latency measure mbconv {shape} --input 1,8,8 --passes 1 --visits 1 --networks 2 --out table.json"
    assert say(table).code == 0
    line = f"search mbconv {shape} --strategy proxyless --data digits --limit 64 --batch 16 --epochs 1 --json --out run"
    priced = "--budget 'latency_ms<=1x' --latency-table table.json"
    done = say(f"{line} {priced}")
    assert done.code == 0, done.err
    cost = done.facts["costs"]["latency_ms"]
    assert 0 < cost["promised"] <= cost["limit"]
    Path("table.json").unlink()
    trained = say("fit run --epochs 1 --random-cells 1 --json")
    assert trained.code == 0, trained.err
    rivals = [cell["costs"]["latency_ms"] for cell in trained.facts["fit"]["random_cells"]]
    assert all(0 < rival <= cost["limit"] * (1 + 1e-9) for rival in rivals)
