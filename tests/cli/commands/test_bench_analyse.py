"""`renascent bench analyse`: the page and the numbers it writes, and what it says when it cannot."""

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from renascent.bench.tables.columns import Column, Problem
from renascent.bench.tables.table import Table
from renascent.core.codecs.nats_topology import topology_space

pytestmark = pytest.mark.renders

NB201 = Path(os.environ.get("RENASCENT_DATA", "nowhere")) / "nas" / "nb201.npz"
SPACE = topology_space(3)


class Page(HTMLParser):
    """Checks that every element is closed, and keeps headings and words."""

    def __init__(self, html):
        super().__init__()
        self.open, self.headings, self.words = [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag not in {"meta", "wbr"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def table(path, names=("digits",), **about):
    """A table of all 125 cells, with curves of two seeds, and some results missing."""
    rng = np.random.default_rng(0)
    columns, problems = {Column("params"): rng.integers(100, 9000, 125)}, []
    for name in names:
        for metric in ("val_accuracy", "test_accuracy"):
            curves = rng.uniform(10, 99, size=(125, 2, 3))
            curves[4] = np.nan
            columns[Column(metric, name, 3, seeds=(0, 1), at=(1, 2, 3))] = curves
        columns[Column("seconds_per_epoch", name)] = np.ones(125)
        problems.append(Problem(name, f"val_accuracy:{name}:3", f"seconds_per_epoch:{name}", f"test_accuracy:{name}:3"))
    archs = [SPACE.indices(arch) for arch in SPACE]
    return Table.of("built <here>", SPACE, archs, columns, problems, about).save(path)


def test_a_small_table(say, tmp_path):
    table(tmp_path / "t.safetensors", source="made up")
    code, out, _ = say("bench analyse --table t.safetensors --out a/b")
    assert code == 0
    assert "1 of 125 architectures have no result and are left out" in out
    assert "report: a/b/report.html" in out
    folder = tmp_path / "a" / "b"
    html = (folder / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    assert page.headings == [
        *("What is in it", "Accuracy against cost: digits", "What agrees with what", "Validation against test"),
        "The table",
    ]
    assert "built &lt;here&gt;" in html
    assert "source: made up" in page.words
    assert any("Left out, having fewer than 20 architectures: top 10 % (12)" in word for word in page.words)
    assert not re.findall(r'(?:href|src)="(?!#|data:)', html)
    assert "NaN" not in html and "nan" not in html.lower().split()
    pictures = {path.name for path in folder.glob("*.png")}
    assert {"accuracy-against-parameters-digits.png", "validation-against-test-digits.png"} <= pictures
    assert len(pictures) == html.count("<svg ") == 4
    facts = json.loads((folder / "analysis.json").read_text())
    assert facts["problems"]["digits"]["missing"] == 1
    assert {path.suffix for path in folder.iterdir()} == {".png", ".json", ".html"}


def test_several_data_sets_are_ranked(say, tmp_path):
    table(tmp_path / "t.safetensors", ("one", "two", "three"))
    code, out, _ = say("bench analyse --table t.safetensors --out a --json")
    assert code == 0
    facts = json.loads(out)
    assert [told["best_on"] for told in facts["ranking"]] == ["one", "two", "three"]
    assert facts["report"] == "a/report.html"
    assert len(facts["correlations"]["names"]) == 6
    assert json.loads(Path("a/analysis.json").read_text()) == {k: v for k, v in facts.items() if k != "report"}
    assert "Ranking across data sets" in Page(Path("a/report.html").read_text()).headings


def test_the_same_table_gives_the_same_files(say, tmp_path):
    table(tmp_path / "t.safetensors")
    held = []
    for name in ("a", "b"):
        assert say(f"bench analyse --table t.safetensors --out {name}")[0] == 0
        held.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert held[0] == held[1]
    assert say("bench analyse --table t.safetensors --out a")[0] == 0, "a second time into the same folder"


def test_bench_analyse_bad_input_is_one_line_and_writes_nothing(say, tmp_path):
    path = table(tmp_path / "t.safetensors")
    assert "--out is missing: give a folder" in say("bench analyse --table t.safetensors").refusal
    assert "--out t.safetensors is a file" in say("bench analyse --table t.safetensors --out t.safetensors").refusal
    assert "cannot read the table no.safetensors" in say("bench analyse --table no.safetensors --out a").refusal
    bytes_ = path.read_bytes()
    place = len(bytes_) * 2 // 3  # in one of the curves
    path.write_bytes(bytes_[:place] + bytes([bytes_[place] ^ 1]) + bytes_[place + 1 :])
    assert "is damaged" in say("bench analyse --table t.safetensors --out a").refusal
    table(path, ())
    assert "poses no problem with a known result" in say("bench analyse --table t.safetensors --out a").refusal
    assert [p.name for p in tmp_path.iterdir()] == ["t.safetensors"]


@pytest.mark.skipif(not NB201.exists(), reason="needs nas/nb201.npz in the folder RENASCENT_DATA")
def test_the_whole_of_nas_bench_201(say, tmp_path):
    code, out, _ = say(f"bench analyse --table {NB201} --out a")
    assert code == 0
    assert "cifar10         mean 87.06 %, best 94.37 %" in out
    page = Page((tmp_path / "a" / "report.html").read_text(encoding="utf-8"))
    assert "Signal against result" in page.headings
    assert "Accuracy against cost: imagenet16-120" in page.headings
    assert (tmp_path / "a" / "report.html").stat().st_size < 4_000_000
