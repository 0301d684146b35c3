"""`renascent latency measure`, `fit` and `show`, from the command line."""

import json

import pytest

from renascent.cli.entry import main
from renascent.costs import Lut

MEASURE = ("latency", "measure", "resnet20", "--input", "1,8,8", "--limit", "60", "--networks", "3", "--visits", "2")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    path = tmp_path_factory.mktemp("latency") / "table.json"
    assert main([*MEASURE, "--passes", "1", "--out", str(path), "--json"]) == 0
    return path


def told(capsys):
    out = capsys.readouterr()
    return json.loads(out.out), out.err


def test_a_table_is_measured_and_says_where(built, capsys):
    assert main(["latency", "show", str(built), "--json"]) == 0
    facts, _ = told(capsys)
    assert (facts["space"], facts["device"], facts["layers"], facts["networks"]) == ("resnet20", "cpu", 60, 3)
    assert "eager, cpu" in facts["runtime"] and facts["processor"] and facts["date"]
    assert sum(family["layers"] for family in facts["families"].values()) == 60
    table = Lut.load(built)
    assert {len(entry.visits_ms) for entry in table.layers.values()} == {2}
    assert table.thetas and table.calibration.networks == 3


def test_it_prices_an_architecture_layer_by_layer(built, capsys):
    assert main(["latency", "show", str(built), "--arch", "reference", "--json"]) == 0
    facts, _ = told(capsys)
    calibration = Lut.load(built).calibration
    assert facts["latency_ms"] == pytest.approx(calibration.constant_ms + sum(row["ms"] for row in facts["layers"]))
    assert {row["measured"] for row in facts["layers"]} == {True, False}
    assert main(["latency", "show", str(built), "--arch", "reference"]) == 0
    assert "ms in all" in " ".join(capsys.readouterr().out.split())


def test_a_part_of_it_fills_the_rest(built, capsys, tmp_path):
    assert main(["latency", "fit", str(built), "--keep", "0.6", "--out", str(tmp_path / "s.json"), "--json"]) == 0
    facts, _ = told(capsys)
    assert facts["kept"] + facts["left_out"] == 60 and facts["layers"] == facts["kept"]
    assert 0 < facts["median"] < 1
    assert main(["latency", "show", str(tmp_path / "s.json")]) == 0
    assert "conv-k3-s1-g1" in capsys.readouterr().out


def test_it_is_not_overwritten_but_resumed(built, capsys, tmp_path):
    copy = tmp_path / "t.json"
    copy.write_text(built.read_text())
    assert main([*MEASURE, "--passes", "1", "--out", str(copy)]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*MEASURE, "--passes", "1", "--out", str(copy), "--resume", "--json"]) == 0
    assert Lut.load(copy).layers == Lut.load(built).layers
    assert main([*MEASURE, "--passes", "2", "--out", str(copy), "--resume"]) == 2
    assert "begun with another sampling" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["latency", "measure", "--out", "t.json"], "which space?"),
        (["latency", "measure", "resnet20"], "--out is missing"),
        (["latency", "measure", "resnet21", "--out", "t.json"], "unknown size space 'resnet21': did you mean"),
        (
            ["latency", "measure", "resnet20", "--out", "t.json", "--runtime", "tflite"],
            "known: eager, compiled, onnxruntime",
        ),
        (["latency", "measure", "resnet20", "--out", "t.json", "--device", "cuda:99"], "here there is cpu"),
        (["latency", "measure", "resnet20", "--out", "t.json", "--input", "3,32"], "give channels, height and width"),
        (["latency", "measure", "resnet20", "--out", "t.json", "--resolution", "9-3"], "give LOW-HIGH"),
        (["latency", "measure", "resnet20", "--out", "t.json", "--resolution", "16"], "no decision"),
        (["latency", "measure", "resnet20", "--out", "none/t.json"], "cannot write"),
        (["latency", "fit"], "which table?"),
        (["latency", "fit", "none.json"], "there is no latency table"),
        (["latency", "show", "none.json"], "renascent latency measure"),
        (["latency", "measur"], "unknown command of `renascent latency"),
    ],
)
def test_latency_commands_bad_input_is_one_line(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    err = capsys.readouterr().err
    assert said in err and len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_table_of_another_kind_or_architecture_is_told(built, capsys, tmp_path):
    assert main(["latency", "show", str(built), "--arch", "nonsense"]) == 2
    assert main(["latency", "fit", str(built), "--keep", "2"]) == 2
    assert main(["latency", "fit", str(built), "--out", str(built)]) == 2
    assert "layers would be lost" in capsys.readouterr().err
    tree = json.loads(built.read_text())
    tree["about"]["space"] = "another"
    (tmp_path / "t.json").write_text(json.dumps(tree))
    assert main(["latency", "show", str(tmp_path / "t.json"), "--arch", "reference"]) == 2
    assert "which is not here" in capsys.readouterr().err
