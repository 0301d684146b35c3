"""`renascent cost`: counted against the built network, and every mistake in one line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from renascent.costs import macs, params
from renascent.nets import SPACES
from renascent.nets.cells.nats import NatsTopology
from renascent.nets.sizes.resolution import input_shape

ARCH = "8:16:24:32:64"
CELL = "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_3x3~1|"


@pytest.mark.parametrize("name", ["nats-size", "resnet20", "mobilenet-v2-cifar"])
def test_costs_are_those_of_the_network(say: Any, name: str) -> None:
    config = SPACES[name]()
    arch = config.space.sample(np.random.default_rng(2))
    told = say(f"cost {name} '{config.space.format(arch)}' --input 1,16,16 --classes 7 --json").facts
    net = config.network(arch, 1, 7)
    assert told["costs"]["macs"]["arch"] == macs(net, input_shape(arch, (1, 16, 16)))
    assert told["costs"]["params"]["arch"] == params(net)
    assert (told["input"], told["classes"], told["inside"]) == ([1, 16, 16], 7, None)
    for cost in told["costs"].values():
        assert cost["smallest"] <= cost["arch"] <= cost["largest"]
        assert cost["smallest"] <= cost["reference"] <= cost["largest"]


def test_the_ends_are_the_ends(say: Any) -> None:
    config = SPACES["nats-size"]()
    told = say("cost nats-size --json").facts["costs"]["params"]
    ends = [config.space.arch(dict.fromkeys(config.space.decisions, width)) for width in (8, 64)]
    assert [told["smallest"], told["largest"]] == [params(config.network(arch, 3, 10)) for arch in ends]
    assert told["arch"] == told["reference"] == told["largest"]


def test_without_an_architecture_it_is_the_reference(say: Any) -> None:
    plain, named = say("cost resnet20"), say("cost resnet20 reference")
    assert plain.code == 0
    assert plain.out == named.out
    lines = plain.out.splitlines()
    assert lines[0] == "resnet20, one input of 3x32x32, 10 classes"
    assert [line.split() for line in lines[2:4]] == [
        ["cost", "smallest", "reference", "largest"],
        ["macs", "1,001,854", "40,813,184", "40,813,184"],
    ]
    given = say(f"cost nats-size {ARCH}").out.splitlines()
    assert given[1] == ARCH
    assert given[3].split() == ["cost", "architecture", "smallest", "reference", "largest"]


def test_flags_of_the_space_change_it(say: Any) -> None:
    told = say("cost resnet20 --layers-count 8 --no-depths --lowest 16 --json").facts
    assert told["costs"]["macs"]["reference"] < 40_813_184
    assert told["arch"].startswith("resolution=32,stem=16")


def test_the_data_bring_their_input(say: Any) -> None:
    assert say("cost resnet20 --data digits").out.startswith("resnet20, one input of 1x8x8, 10 classes")


def test_a_cell_has_counted_costs_only(say: Any) -> None:
    config = NatsTopology(channels=4, cells=1, nodes=3)
    told = say(f"cost nats-topology '{CELL}' --channels 4 --cells 1 --nodes 3 --json").facts
    net = config.network(config.space.parse(CELL), 3, 10)
    assert {name: cost["arch"] for name, cost in told["costs"].items()} == {
        "macs": macs(net, (3, 32, 32)),
        "params": params(net),
    }
    bare = say("cost nats-topology --channels 4 --cells 1 --nodes 3")
    assert bare.code == 0
    assert bare.out.splitlines()[3].split()[2] == "-"


def test_a_budget_is_judged(say: Any) -> None:
    completed = say("cost resnet20 --budget macs<=0.5x")
    assert completed.code == 0
    assert "the reference is outside: macs 40,813,184 > 20,406,592" in completed.out.splitlines()
    assert "the reference is inside the budget" in say("cost resnet20 --budget params<=1x").out.splitlines()
    told = say(f"cost nats-size {ARCH} --budget macs<=0.5x --json").facts
    assert told["inside"] is True
    assert told["budget"]["macs"]["limit"] == 0.5 * told["costs"]["macs"]["reference"]


def test_cost_infeasible_budget_names_the_nearest_value(say: Any, refused: Any) -> None:
    refused("cost resnet20 --budget macs<=0.001x", "the least is macs<=1.002M", code=3)
    assert say("cost resnet20 --budget macs<=1.002M").code == 0


def test_latency_is_measured_where_asked(say: Any) -> None:
    completed = say("cost resnet20 --layers-count 8 --input 1,8,8 --measure")
    assert "measured: the reference takes " in completed.out
    told = say(f"cost nats-size {ARCH} --input 1,8,8 --measure --json").facts
    assert 0 < told["latency_ms"]["p10_ms"] <= told["latency_ms"]["median_ms"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("cost", "which space? name one of nats-topology"),
        ("cost resnet200", "unknown space 'resnet200': did you mean 'resnet20'?"),
        ("cost resnet20 depth1=9", "decision 'depth1' cannot be '9': give one of 1, 2, 3"),
        ("cost resnet20 wide", "'wide' in 'wide' cannot be read"),
        ("cost resnet20 depth1=3 depth2=3", "'depth2=3' is one word too many"),
        ("cost nats-topology reference", "space 'nats-topology' has no reference network"),
        ("cost nats-topology --cells 1 --measure", "--measure needs a network: give an architecture of the space"),
        ("cost resnet20 --input 3,32", "--input is '3,32': give channels, height and width"),
        ("cost resnet20 --data digits --classes 3", "--data brings input and classes with it"),
        ("cost resnet20 --classes 0", "--classes is '0'"),
        ("cost resnet20 --budget macs", "budget 'macs' cannot be read"),
        ("cost resnet20 --budget latency_ms<=3", "a bound on latency_ms needs something that predicts it"),
        ("cost resnet20 --latency-table none.json", "there is no latency table none.json"),
        ("cost nats-topology --latency-table none.json", "--latency-table is for spaces of sizes"),
        (
            "cost nats-topology --cells 1 --nodes 3 --budget macs<=0.5x",
            "has no reference network, so macs<=0.5x means nothing",
        ),
        ("cost resnet20 --device nowhere", "--device is 'nowhere': give auto, cpu"),
        ("cost resnet20 --epochs 3", "--epochs is no flag of `renascent cost`"),
    ],
)
def test_mistakes_are_one_line(refused: Any, line: str, message: str) -> None:
    refused(line, message)


def test_help_names_both_words(say: Any) -> None:
    completed = say("cost resnet20 --help")
    assert completed.code == 0
    for shown in ("SPACE", "ARCH", "--layers-count", "--latency-table", "--measure"):
        assert shown in completed.out


def test_what_a_search_costs_is_said_before_one_is_begun(say: Any) -> None:
    sizes = say("cost resnet20 --json").facts["expected"]
    assert sizes[0] == "a search by fbnetv2 costs about 1.2 times a training of the reference for as many epochs"
    assert sizes[1].startswith("measured on ResNet-20") and "--strategy uniform" in sizes[1]
    (cells,) = say("cost nats-topology --json").facts["expected"]
    assert "a search by setn costs about 4.9 times a training of such a network" in cells
    assert say("cost darts-cells --json").facts["expected"] == []  # no step of these was measured
    assert "\na search by fbnetv2 costs" in say("cost resnet20").out
