"""Searches that are told what a table knows: it is logged, drawn and printed, and the search is the same without it."""

import dataclasses
import json
import re
from html import unescape

import numpy as np
import pytest

import renascent as rn
from renascent.bench.tables.columns import Column, Problem
from renascent.bench.tables.table import Table
from renascent.bench.truth import truth_of
from renascent.core.codecs.nats_topology import OPERATIONS, topology_space
from renascent.core.errors import Interrupted, UserError
from renascent.core.space import Choice, Space, Subset
from renascent.experiment.result import Result
from renascent.loops.run import CLOCK_FIELDS, read_events
from renascent.nets.cells.nats import NatsTopology
from renascent.reports.live import Counted, Live
from renascent.reports.page import write_report
from renascent.tasks.load import load
from renascent.tasks.prepare import ImageOptions

SMALL = NatsTopology(channels=2, cells=1, nodes=3)
EPOCHS = 3


def table(nodes=3, operations=OPERATIONS, name="digits", results=None):
    """A table of all cells, of three seeds and two epochs."""
    space = topology_space(nodes, operations)
    archs = [space.indices(arch) for arch in space]
    held = np.random.default_rng(5).uniform(20, 95, (len(archs), 3, 2)) if results is None else results
    columns = {
        Column("test_accuracy", name, 2, seeds=(0, 1, 2), at=(1, 2)): held,
        Column("val_accuracy", name, 1): np.ones(len(archs)),
        Column("seconds_per_epoch"): np.ones(len(archs)),
    }
    problem = Problem(name, f"val_accuracy:{name}:1", "seconds_per_epoch", f"test_accuracy:{name}:2")
    return Table.of("made", space, archs, columns, [problem], {"source": "Someone, arXiv:2001.00326"})


@pytest.fixture(scope="module")
def known():
    return table()


def go(folder, strategy=None, **about):
    task = load("digits", options=ImageOptions(limit=200))
    return rn.search(SMALL, strategy or rn.GDAS(arch_lr=0.1), task, epochs=EPOCHS, batch=32, out=folder, **about)


@pytest.fixture(scope="module")
def found(known, tmp_path_factory):
    return go(tmp_path_factory.mktemp("truth") / "run", truth=known)


def looked_up(known, arch):
    """Return the mean over seeds after the last epoch, from the array itself."""
    return float(known.array("test_accuracy:digits:2")[known.row(arch), :, -1].mean())


def lasting(event):
    return {key: value for key, value in event.items() if key not in CLOCK_FIELDS}


# --- what is recorded


def test_every_epoch_and_the_end_tell_what_the_table_knows(known, found):
    *epochs, derived = read_events(found.folder)
    assert len(epochs) == EPOCHS
    for event in epochs:
        assert event["truth"] == pytest.approx(looked_up(known, event["likeliest"]))
    assert derived["truth"] == pytest.approx(looked_up(known, derived["arch"]))
    assert found.facts["truth"] == {"accuracy": derived["truth"], **found.config["truth"]}
    assert Result.load(found.folder).facts["truth"] == found.facts["truth"]


def test_the_configuration_names_the_table(known, found):
    last = known.array("test_accuracy:digits:2")[..., -1].mean(1)
    assert found.config["truth"] == {
        "table": "made",
        "problem": "digits",
        "column": "test_accuracy:digits:2",
        "best": pytest.approx(last.max()),
        "mean": pytest.approx(last.mean()),
        "source": "Someone, arXiv:2001.00326",
    }


def test_the_search_is_the_same_without_it(found, tmp_path):
    plain = go(tmp_path / "plain")
    told, untold = ([lasting(event) for event in read_events(r.folder)] for r in (found, plain))
    assert all("truth" not in event for event in untold)
    assert [{key: value for key, value in event.items() if key != "truth"} for event in told] == untold
    assert (plain.facts["arch"], plain.facts["search_score"]) == (found.facts["arch"], found.facts["search_score"])
    assert "truth" not in plain.facts and "truth" not in plain.config
    assert "accuracy in the table" not in str(plain)


def test_truth_of_a_uniform_policy_is_recorded_at_the_end_only(known, tmp_path):
    result = go(tmp_path / "r", rn.RSPS(candidates=5), truth=known)
    *epochs, derived = read_events(result.folder)
    assert all("truth" not in event for event in epochs)
    assert (
        derived["truth"] == result.facts["truth"]["accuracy"] == pytest.approx(looked_up(known, result.facts["arch"]))
    )
    html = write_report(result).read_text()
    assert "accuracy in the table" in html
    assert 'id="truth"' not in html


def test_truth_unknown_architecture_is_none(tmp_path):
    """Half of the trainings are unknown, and half of the architectures have none."""
    results = np.full((125, 3, 2), 50.0)
    results[:, 1:] = np.nan
    results[::2] = np.nan
    result = go(tmp_path / "r", truth=table(results=results))
    events = read_events(result.folder)
    assert len(events) == EPOCHS + 1
    assert {event["truth"] for event in events} <= {50.0, None}
    for event in events:
        place = topology_space(3).index(topology_space(3).parse(event.get("likeliest") or event["arch"]))
        assert event["truth"] == (None if place % 2 == 0 else 50.0)
    assert "accuracy in the table" in str(result)
    write_report(result)


# --- what is shown


@pytest.mark.renders
def test_progress_summary_and_report_show_it(found, capsys):
    value = f"{found.facts['truth']['accuracy']:.2f} %"
    told = found.config["truth"]
    of = f"digits of made: best {told['best']:.2f} %, mean of all {told['mean']:.2f} %"
    assert f"accuracy in the table   {value} ({of})" in str(found)
    html = write_report(found).read_text()
    assert f'<dt>accuracy in the table</dt><dd class="value">{value}</dd><dd class="remark">{of}</dd>' in html
    assert 'id="truth"' in html
    assert "accuracy in made of the policy's mode in each epoch" in unescape(html)
    assert f"mean of all {told['mean']:.2f}</text>" in html
    assert f"best {told['best']:.2f}</text>" in html
    assert re.search(r"truth table made</span><br>Someone, <a href=", html)
    Live(Counted(), ["search"])(read_events(found.folder)[0])
    assert re.search(r"epoch 1/3 .* truth \d+\.\d\d %", capsys.readouterr().err)


# --- resuming


def test_stopped_and_resumed_with_the_same_table_it_logs_the_same(known, found, tmp_path):
    def stop(event):
        if event["event"] == "epoch" and event["epoch"] == 2:
            raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        go(tmp_path / "r", truth=known, say=stop)
    for other in (None, dataclasses.replace(known, name="renamed")):
        with pytest.raises(UserError, match="truth"):
            go(tmp_path / "r", truth=other, resume=True)
    again = go(tmp_path / "r", truth=known, resume=True)
    assert [lasting(e) for e in read_events(again.folder)] == [lasting(e) for e in read_events(found.folder)]
    assert again.facts["truth"] == found.facts["truth"]


# --- refusals, before anything is written


@pytest.mark.parametrize(
    ("truth", "why"),
    [
        (table(nodes=4, operations=("none", "skip_connect")), "only the table has the decision '0-3'"),
        (table(nodes=2), "only the search has the decision '0-2'"),
        (
            table(operations=("none", "skip_connect")),
            "'0-1' is a Choice of none, skip_connect there, and a Choice of avg_pool_3x3, none",
        ),
        (table(name="cifar10"), "no problem 'digits': name one of its own with `truth_problem`: cifar10"),
        (table(results=np.full((125, 3, 2), np.nan)), "'test_accuracy:digits:2' of the truth table 'made' is empty"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(truth, why, tmp_path):
    with pytest.raises(UserError, match=why) as e:
        go(tmp_path / "r", truth=truth)
    assert "\n" not in str(e.value)
    assert list(tmp_path.iterdir()) == []


def test_channels_cells_and_the_order_of_options_do_not_matter(known):
    turned = topology_space(3, OPERATIONS[::-1])
    truth = truth_of(known, turned, "digits")
    for index in (0, 17, 124):
        arch = turned.at(index)
        assert truth(arch) == pytest.approx(looked_up(known, turned.format(arch)))


def test_kinds_of_decisions_are_told_apart():
    archs, columns = [[0], [1]], {Column("test_accuracy", "d"): np.ones(2), Column("seconds_per_epoch"): np.ones(2)}
    problem = Problem("d", "test_accuracy:d", "seconds_per_epoch", "test_accuracy:d")
    held = Table.of("t", Space({"a": Choice(("x", "y"))}), archs, columns, [problem])
    truth_of(held, Space({"a": Choice(("y", "x"))}), "d")
    with pytest.raises(UserError, match="'a' is a Choice of x, y there, and a Subset of x, y in the search"):
        truth_of(held, Space({"a": Subset(("x", "y"))}), "d")


def test_another_problem_can_be_named(tmp_path):
    held = table(name="cifar10")
    result = go(tmp_path / "r", truth=held, truth_problem="cifar10")
    assert result.config["truth"]["problem"] == "cifar10"
    assert result.facts["truth"]["accuracy"] is not None


# --- the command

LINE = (
    "search nats-topology --strategy gdas --data digits --channels 2 --cells 1 --nodes 3 --limit 200 --epochs 2 --out r"
)


@pytest.fixture
def say(say, tmp_path):
    table().save(tmp_path / "t.safetensors")
    table(name="cifar10").save(tmp_path / "c.safetensors")
    return say


def test_the_command_takes_a_table(say, tmp_path):
    code, out, err = say(f"{LINE} --truth t.safetensors --json")
    assert code == 0
    assert err.count(" truth ") == 2
    assert json.loads(out)["truth"]["accuracy"] == read_events(tmp_path / "r")[-1]["truth"]
    assert say(f"{LINE} --truth t.safetensors --resume")[0] == 0
    code, out, _ = say("report r")
    assert "accuracy in the table" in out


def test_the_command_refuses_in_one_line_and_writes_nothing(say, tmp_path):
    for more, why in (
        ("--truth c.safetensors", "has no problem 'digits': name one of its own with --truth-problem"),
        ("--truth no.safetensors", "cannot read the table no.safetensors"),
        ("--truth t.safetensors --nodes 4", "only the search has the decision '0-3'"),
        ("--truth-problem digits", "--truth-problem says nothing without a table"),
    ):
        line = LINE.replace("--nodes 3 ", "") if "--nodes" in more else LINE
        assert why in say(f"{line} {more}").refusal
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.safetensors", "t.safetensors"]
