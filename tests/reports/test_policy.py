"""The policy of a search of subsets, as its report shows it: a whole search inside a budget."""

import json
import math
import re

import pytest

import renascent as rn
from renascent.experiment.result import Result
from renascent.experiment.search import search
from renascent.loops.run import read_events
from renascent.nets.cells.dso import DSO
from renascent.reports.page import write_report
from renascent.strategies.dsonas import DSONAS
from renascent.strategies.rsps import RSPS
from renascent.tasks.prepare import ImageOptions

BLOCK = DSO(channels=4, blocks=(1,), levels=1)


@pytest.fixture(scope="module")
def task():
    return rn.load_task("digits", options=ImageOptions(limit=96))


def searched(strategy, task, folder, epochs=2):
    found = search(BLOCK, strategy, task, epochs=epochs, batch=16, budget="macs<=0.7x", out=folder)
    return found, write_report(Result.load(folder)).read_text(encoding="utf-8")


@pytest.mark.renders
def test_a_search_of_subsets_is_reported_option_by_option(task, tmp_path):
    found, page = searched(DSONAS(sparsity=0.1, pretrain=0.4), task, tmp_path / "r")
    epochs = [event for event in read_events(tmp_path / "r") if event["event"] == "epoch"]
    assert re.findall(r"\d ln 2: each of \d", page) == ["1 ln 2: each of 1", "4 ln 2: each of 4"]
    assert "share of the options of each decision that the mode keeps" in page
    assert "Cost of what the policy's mode keeps" in page
    assert "of what lies on a path from input to output" in page
    assert all(0 <= nats <= 4 * math.log(2) + 1e-6 for e in epochs for nats in e["entropy"].values())
    (cost,) = json.loads((tmp_path / "r" / "arch.json").read_text())["costs"].values()
    assert cost["promised"] == cost["measured"] <= cost["limit"]
    assert BLOCK.space.parse(BLOCK.space.format(found.arch)) == found.arch
    assert not re.search(r"\(&#39;|\('", page.partition("<body")[2]), "no tuple is written as Python does"


def test_random_subsets_are_said_to_be_undecided(task, tmp_path):
    found, page = searched(RSPS(candidates=5), task, tmp_path / "r", epochs=1)
    assert "stayed equally likely" in page
    assert BLOCK.space.arch(found.arch) == found.arch
