"""`renascent latency measure`, `fit` and `show`, from the command line."""

import json
import shutil

import pytest

from renascent.cli.entry import main
from renascent.costs import Lut

MEASURE = "latency measure resnet20 --input 1,8,8 --limit 60 --networks 3 --visits 2"
NEW = "latency measure resnet20 --out t.json"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    path = tmp_path_factory.mktemp("latency") / "table.json"
    assert main([*MEASURE.split(), "--passes", "1", "--out", str(path), "--json"]) == 0
    return path


def test_a_table_is_measured_and_says_where(built, say):
    facts = say(f"latency show {built} --json").facts
    assert (facts["space"], facts["device"], facts["layers"], facts["networks"]) == ("resnet20", "cpu", 60, 3)
    assert "eager, cpu" in facts["runtime"] and facts["processor"] and facts["date"]
    assert sum(family["layers"] for family in facts["families"].values()) == 60
    table = Lut.load(built)
    assert {len(entry.visits_ms) for entry in table.layers.values()} == {2}
    assert table.thetas and table.calibration.networks == 3


def test_it_prices_an_architecture_layer_by_layer(built, say):
    facts = say(f"latency show {built} --arch reference --json").facts
    calibration = Lut.load(built).calibration
    assert facts["latency_ms"] == pytest.approx(calibration.constant_ms + sum(row["ms"] for row in facts["layers"]))
    assert {row["measured"] for row in facts["layers"]} == {True, False}
    assert "ms in all" in " ".join(say(f"latency show {built} --arch reference").out.split())


def test_a_part_of_it_fills_the_rest(built, say):
    facts = say(f"latency fit {built} --keep 0.6 --out s.json --json").facts
    assert facts["kept"] + facts["left_out"] == 60 and facts["layers"] == facts["kept"]
    assert 0 < facts["median"] < 1
    assert "conv-k3-s1-g1" in say("latency show s.json").out


def test_it_is_not_overwritten_but_resumed(built, say, refused):
    shutil.copy(built, "t.json")
    refused(f"{MEASURE} --passes 1 --out t.json", "--resume")
    assert say(f"{MEASURE} --passes 1 --out t.json --resume").code == 0
    assert Lut.load("t.json").layers == Lut.load(built).layers
    refused(f"{MEASURE} --passes 2 --out t.json --resume", "begun with another sampling")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("latency measure --out t.json", "which space?"),
        ("latency measure resnet20", "--out is missing"),
        ("latency measure resnet21 --out t.json", "unknown space 'resnet21': did you mean"),
        (
            "latency measure nats-topology --out t.json",
            "nats-topology is not among the spaces of this command: give one of",
        ),
        ("latency measure mbconv --limit 5 --out t.json", "limit is 5, and the layers are of"),
        (f"{NEW} --runtime tflite", "known: eager, compiled, onnxruntime"),
        (f"{NEW} --device cuda:99", "here there is cpu"),
        (f"{NEW} --input 3,32", "give channels, height and width"),
        (f"{NEW} --resolution 9-3", "give LOW-HIGH"),
        (f"{NEW} --resolution 16", "no decision"),
        ("latency measure resnet20 --out none/t.json", "cannot write"),
        ("latency fit", "which table?"),
        ("latency fit none.json", "there is no latency table"),
        ("latency show none.json", "renascent latency measure"),
        ("latency measur", "unknown command of `renascent latency"),
        ("latency show BUILT --arch nonsense", "'nonsense' in 'nonsense' cannot be read"),
        ("latency fit BUILT --keep 2", "2"),
        ("latency fit BUILT --out BUILT", "layers would be lost"),
    ],
)
def test_latency_commands_bad_input_is_one_line(built, refused, line, said):
    refused(line.replace("BUILT", str(built)), said)


def test_a_table_of_an_unknown_space_is_told(built, refused, tmp_path):
    tree = json.loads(built.read_text())
    tree["about"]["space"] = "another"
    (tmp_path / "t.json").write_text(json.dumps(tree))
    refused("latency show t.json --arch reference", "which is not here")
