"""The report shows the facts of the run, needs nothing but itself, and copes with runs that lack something."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

from renascent.core.errors import UserError
from renascent.core.protocols import SpaceConfig, Supernet
from renascent.core.space import Integer, Space
from renascent.experiment.result import Result
from renascent.experiment.search import search
from renascent.loops.fit import Fit
from renascent.nets.cells.nats import NatsTopology
from renascent.reports.cell import cell
from renascent.reports.page import _command, write_report
from renascent.reports.plots import Line, chart, spread
from renascent.strategies.gdas import GDAS
from renascent.tasks.images import ImageTask

pytestmark = pytest.mark.renders

VOID = {"meta", "br", "wbr"}
BLOCKS = {"td", "th", "dt", "dd", "h3", "p", "text"}


class Page(HTMLParser):
    """Tags with their attributes, and the text inside the element of each id."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[tuple[str, str]] = []
        self.text: dict[str, str] = {"": ""}
        self.feed(html)
        self.close()
        assert self.open == []  # every element is closed

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append((tag, dict(attrs).get("id") or ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in BLOCKS:
            self.handle_data(" ")
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        for name in {"", *(name for _, name in self.open)}:
            self.text[name] = self.text.get(name, "") + data

    def words(self, name: str = "") -> str:
        return " ".join(self.text[name].split())


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory, unsealed: Any) -> Path:
    """A real run, with a training after it."""
    torch.manual_seed(0)
    x, y = torch.rand(48, 1, 8, 8), torch.arange(48) % 3
    task = ImageTask.from_tensors(
        x, y, test=(x[:12], y[:12]), name="stripes", source="made <here>, https://a.example/x"
    )
    space = NatsTopology(channels=2, cells=1)
    result = search(space, GDAS(), task, epochs=3, batch=8, seed=7, out=tmp_path_factory.mktemp("runs") / "run")
    result.fit(task, Fit(epochs=2, batch=16), random_cells=2)
    return Path(unsealed(result.folder))


@pytest.fixture
def folder(searched: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(searched, tmp_path / "run"))


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def edit_events(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    lines = [json.dumps(change(json.loads(line))) for line in path.read_text().splitlines()]
    path.write_text("".join(f"{line}\n" for line in lines))


def set_arch(folder: Path, arch: str) -> None:
    edit(folder / "arch.json", lambda facts: facts | {"arch": arch})


def report(folder: Path) -> Page:
    return Page(write_report(Result.load(folder)).read_text(encoding="utf-8"))


def drawings(folder: Path) -> list[str]:
    html = (folder / "report.html").read_text(encoding="utf-8")
    return re.findall(r"<svg.*?</svg>", html, re.DOTALL)


def classed(root: ElementTree.Element, *wanted: str) -> list[ElementTree.Element]:
    return [e for e in root.iter() if set(wanted) <= set((e.get("class") or "").split())]


def test_the_page_needs_nothing_else(folder: Path) -> None:
    page = report(folder)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "img", "iframe", "object", "base"})
    assert not any("src" in attrs or "srcset" in attrs for _, attrs in page.tags)
    inner = [attrs["xlink:href"] or "" for _, attrs in page.tags if "xlink:href" in attrs]
    assert all(href.startswith(("#", "data:image/png;base64,")) for href in inner)
    links = [(tag, attrs["href"] or "") for tag, attrs in page.tags if "href" in attrs]
    assert links
    assert all(tag == "a" and href.startswith("https://") for tag, href in links)
    assert not re.search(r"url\(|@import|@font-face", page.words())


def test_headline_numbers_are_the_facts(folder: Path) -> None:
    page, result = report(folder), Result.load(folder)
    facts, fitted = result.facts, result.fitted
    assert fitted is not None
    html = (folder / "report.html").read_text(encoding="utf-8")
    tiles = dict(re.findall(r'<dt>(.*?)</dt><dd class="value">(.*?)</dd>', html))
    assert tiles == {
        "test accuracy": f"{100 * fitted['scores']['test']:.2f} %",
        "accuracy in the search": f"{100 * facts['search_score']:.2f} %",
        "parameters": f"{facts['params']:,}",
        "MACs": f"{facts['macs']:,}",
        "latency": f"{facts['latency_ms']['median_ms']:.2f} ms",
        "search": f"{facts['search_seconds']:.1f} s",
    }
    latency = facts["latency_ms"]
    assert f"p10 to p90: {latency['p10_ms']:.2f} to {latency['p90_ms']:.2f} ms; {latency['runtime']}" in page.words()
    assert f"{facts['search_seconds'] / fitted['seconds']:.2f} times training the found network once" in page.words()
    assert facts["arch"] in page.words()


def test_the_cost_table_is_the_facts(folder: Path) -> None:
    edit(
        folder / "fit" / "result.json", lambda f: f | {"prune": True, "params": 123456, "macs": 654321, "seconds": 2.0}
    )
    edit(folder / "arch.json", lambda f: f | {"search_seconds": 4321.0})
    costs = report(folder).words("costs")
    facts = Result.load(folder).facts
    for shown in (f"parameters {facts['params']:,}", f"MACs {facts['macs']:,}", "parameters as trained 123,456"):
        assert shown in costs
    assert "MACs as trained 654,321" in costs
    assert "search 4,321.0 s" in costs
    assert "training once 2.0 s 2 epochs" in costs
    assert "search as a multiple 2160.50" in costs
    assert "1 h 12 min" in report(folder).words()


def test_random_cells_are_compared(folder: Path) -> None:
    cells = [{"arch": "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|", "test": s} for s in (0.5, 0.6, 0.75)]
    edit(folder / "fit" / "result.json", lambda f: f | {"random_cells": cells, "scores": {"test": 0.7}})
    page, scores = report(folder), [0.5, 0.6, 0.75]
    spread = f"({100 * mean(scores):.2f} ± {100 * stdev(scores):.2f} %)"
    gap = f"{100 * (0.7 - mean(scores)):.2f} points above"
    assert f"{gap} the mean of 3 random cells trained identically {spread}" in page.words()
    assert re.findall(r"\d+\.\d+ %", page.words("random-cells")) == ["75.00 %", "70.00 %", "60.00 %", "50.00 %"]
    edit(folder / "fit" / "result.json", lambda f: f | {"random_cells": [{"arch": "<i>x</i>", "test": 0.9}]})
    page = report(folder)
    assert "20.00 points below the mean of 1 random cell trained identically (90.00 %)" in page.words()
    assert "<i>x</i>" in page.words("random-cells")


def test_curves_hold_every_epoch(folder: Path, drawing: Any) -> None:
    report(folder)
    search_loss, search_score, entropy, _, fit_loss, fit_score = map(drawing, drawings(folder)[1:])
    for seen, names in (
        (search_loss, ["train", "validation"]),
        (search_score, ["train", "validation"]),
        (fit_loss, ["train"]),
        (fit_score, ["train"]),
    ):
        assert [name for name, _ in seen.tips] == names
        assert set(names) <= set(seen.words)  # at the ends of the curves
    names = ["0-1", "0-2", "0-3", "1-2", "1-3", "2-3"]
    assert sorted(name for name, _ in entropy.tips) == names
    assert all(len(entropy.line(name)) == 3 for name in names)
    assert set(names) <= set(entropy.words)
    assert len(entropy.dashed) == 1


def test_a_curve_rises_where_the_numbers_do(drawing: Any) -> None:
    line = Line("a", [(1, 10.0), (2, 30.0), (3, 20.0)])
    seen = drawing(chart([line], "t", "accuracy (%)").svg)
    (x1, y1), (x2, y2), (x3, y3) = seen.line("a")
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.11)
    assert (y3 - y2) / (y1 - y2) == pytest.approx(0.5, abs=0.01)  # upright axes point down in SVG
    assert [seen.mark("30")[1] - seen.mark("10")[1]] == pytest.approx([y2 - y1], abs=0.11)
    assert [seen.mark(epoch)[0] for epoch in "123"] == pytest.approx([x1, x2, x3], abs=0.11)


def test_unreachable_operations_are_marked(folder: Path) -> None:
    set_arch(folder, "|nor_conv_3x3~0|+|none~0|none~1|+|nor_conv_1x1~0|none~1|avg_pool_3x3~2|")
    page = report(folder)
    root = ElementTree.fromstring(drawings(folder)[0])
    assert len(classed(root, "edge")) == 6
    assert [e.text for e in classed(root, "label", "dead")] == ["conv 3x3", "avg pool 3x3"]
    assert len(classed(root, "edge", "dead")) == 2
    assert len(classed(root, "edge", "none")) == 3
    assert "on no path from input to output" in page.words("cell")
    assert page.words("decisions").count("(unreachable)") == 2
    assert "0-1 conv 3x3 (unreachable)" in page.words("decisions")


def test_a_cell_that_is_all_used_has_no_mark(folder: Path) -> None:
    set_arch(folder, "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|nor_conv_1x1~0|none~1|avg_pool_3x3~2|")
    page = report(folder)
    assert classed(ElementTree.fromstring(drawings(folder)[0]), "dead") == []
    assert "unreachable" not in page.words("decisions")
    assert "no path" not in page.words("cell")


@pytest.mark.parametrize("nodes", [2, 3, 4, 6])
def test_a_cell_of_any_size_fits_its_drawing(nodes: int) -> None:
    edges = {(i, j): "nor_conv_3x3" for j in range(1, nodes) for i in range(j)}
    root = ElementTree.fromstring(cell(edges, edges, {"nor_conv_3x3": "o1"}))
    _, _, width, height = map(float, root.get("viewBox", "").split())
    for e in classed(root, "label") + classed(root, "number"):
        assert 0 < float(e.get("x", "-1")) < width
        assert 10 < float(e.get("y", "-1")) < height - 3
    assert len(classed(root, "node")) == nodes
    heads = [e for e in root.iter() if e.tag.endswith("polygon")]
    assert len(heads) == len(edges)


def test_entropy_is_drawn_beside_the_undecided(folder: Path, drawing: Any) -> None:
    edit_events(folder / "events.jsonl", lambda e: settle(e, 0.2))
    assert "ln 5: all 5 options equally likely" in report(folder).words("policy")
    entropy = drawing(drawings(folder)[3])
    [[(_, level), _]] = entropy.dashed
    (_, low), _, _ = entropy.line("0-1")
    unit = 2 * (entropy.mark("0")[1] - entropy.mark("0.5")[1])
    assert (low - level) / unit == pytest.approx(math.log(5) - 0.2, abs=0.01)


def settle(event: dict[str, Any], nats: float) -> dict[str, Any]:
    return event | {"entropy": dict.fromkeys(event["entropy"], nats)} if "entropy" in event else event


def test_a_strategy_that_learns_nothing_about_decisions_is_said_to(folder: Path) -> None:
    edit_events(folder / "events.jsonl", lambda e: settle(e, math.log(5)))
    page = report(folder)
    assert "stayed equally likely" in page.words("undecided")
    assert "policy" not in page.text


def test_page_names_the_mode_of_each_decision(folder: Path, drawing: Any) -> None:
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    last = [e for e in events if e["event"] == "epoch"][-1]["likeliest"]
    report(folder)
    seen, arch = drawing(drawings(folder)[4]), NatsTopology().space.parse(last)
    names = [str(v).replace("nor_", "").replace("skip_connect", "skip").replace("_", " ") for v in arch.values()]
    assert [word for word in seen.words if word in names] == names
    told = {edge: seen.box(group) for edge in arch for tip, group in seen.tips if tip.startswith(f"{edge}: ")}
    assert len({round(right, 1) for _, _, right, _ in told.values()}) == 1  # each row goes on to the last epoch
    tops = [top for _, top, _, _ in told.values()]
    assert tops == sorted(tops)
    lasts = {tip.partition(": ")[0]: tip for tip, _ in seen.tips}
    assert all(lasts[e].startswith(f"{e}: {n}, ") for e, n in zip(arch, names, strict=True))


def test_without_validation_curves_and_with_one_epoch(folder: Path, drawing: Any) -> None:
    first, *_ = (folder / "events.jsonl").read_text().splitlines()
    kept = {k: v for k, v in json.loads(first).items() if not k.startswith("val_")}
    (folder / "events.jsonl").write_text(json.dumps(kept) + "\n")
    report(folder)
    loss = drawing(drawings(folder)[1])
    assert [name for name, _ in loss.tips] == ["train"]
    assert len(list(loss["train"][0].iter("{http://www.w3.org/2000/svg}use"))) == 1  # a dot
    assert "train" in loss.words and "validation" not in loss.words


def test_before_any_training(folder: Path) -> None:
    shutil.rmtree(folder / "fit")
    page = report(folder)
    assert f"not trained alone yet: renascent fit {folder}" in page.words()
    assert "test accuracy" not in page.words()
    assert "fit-curves" not in page.text
    assert "random-cells" not in page.text


def test_an_interrupted_training_says_how_to_go_on(folder: Path) -> None:
    (folder / "fit" / "result.json").unlink()
    first, *_ = (folder / "fit" / "events.jsonl").read_text().splitlines()
    (folder / "fit" / "events.jsonl").write_text(first + "\n")
    page = report(folder)
    assert f"has reached epoch 1 of 2; to go on with it: renascent fit {folder} --resume" in page.words()
    assert "fit-curves" in page.text


def test_lost_and_broken_events(folder: Path) -> None:
    (folder / "events.jsonl").write_text("{broken\n")
    with pytest.raises(UserError, match=r"events\.jsonl cannot be read") as caught:
        write_report(Result.load(folder))
    assert "\n" not in str(caught.value)
    (folder / "events.jsonl").unlink()
    page = report(folder)
    assert "The events of the search are missing" in page.words()
    assert "curves" not in page.text


def test_the_command_can_be_pasted(folder: Path) -> None:
    words = ["renascent", "search", "nats-topology", "--data", "my data/it's"]
    edit(folder / "environment.json", lambda e: {"sessions": [s | {"command": words} for s in e["sessions"]]})
    assert report(folder).words("command") == "renascent search nats-topology --data 'my data/it'\"'\"'s'"
    assert _command(["renascent.exe", "search"]) == _command(["__main__.py", "search"]) == "renascent search"


def test_a_search_from_python_has_no_command(folder: Path) -> None:
    kernel, script = ["ipykernel_launcher.py", "-f", "kernel.json"], ["run.py", "3"]
    for words in (["-c"], kernel, script, ["__main__.py", "-q"], ["pytest"], [""], []):
        assert not _command(words)
    edit(folder / "environment.json", lambda e: {"sessions": [s | {"command": script} for s in e["sessions"]]})
    told = report(folder).words("command")
    assert told == "The search was started from Python, not by a command; its settings are below."


def test_a_list_of_sessions_that_was_removed_is_said_to_be_missing(folder: Path) -> None:
    (folder / "environment.json").unlink()
    page = Page(write_report(Result.load(folder)).read_text())
    assert "environment.json is missing" in page.text["settings"]
    assert "started from Python" in page.text["command"]


def test_settings_and_environment_are_shown(folder: Path) -> None:
    edit(folder / "environment.json", lambda e: {"sessions": e["sessions"] * 2})
    page = report(folder)
    shown = page.words("settings")
    session = json.loads((folder / "environment.json").read_text())["sessions"][0]
    for pair in ("seed 7", "batch 8", "arch_lr auto", "channels 2", "lr 0.025", "images.train 24", "name stripes"):
        assert pair in shown
    assert f"torch {session['versions']['torch']}" in shown
    assert session["processor"] in shown
    assert page.words().count("Resumed ") == 1


def test_names_cannot_break_the_page(folder: Path) -> None:
    edit(folder / "arch.json", lambda f: f | {"task": "<script>alert(1)</script>"})
    assert "<script>alert(1)</script>" in report(folder).words()  # as text: there is no such tag
    assert "script" not in {tag for tag, _ in report(folder).tags}


def test_the_same_run_gives_the_same_page(folder: Path) -> None:
    result = Result.load(folder)
    first = write_report(result).read_bytes()
    assert write_report(result).read_bytes() == first
    assert len(first) < 200_000


def test_a_page_that_cannot_be_written_is_one_line(folder: Path) -> None:
    (folder / "report.html").mkdir()
    with pytest.raises(UserError, match=r"cannot write .*report\.html"):
        write_report(Result.load(folder))
    assert not (folder / "report.html.part").exists()


@dataclass(frozen=True)
class Widths(SpaceConfig):
    """A space of a user's own, whose architectures are no cells."""

    @property
    def space(self) -> Space:
        return Space({"width": Integer((8, 16))})

    def supernet(self, channels_in: int, classes: int) -> Supernet:
        raise AssertionError("a page builds no network")

    def network(self, arch: Any, channels_in: int, classes: int, *, prune: bool = False) -> nn.Module:
        raise AssertionError("a page builds no network")

    def draw(self, arch: Any) -> str:
        return f"width <{arch['width']}>"


def test_a_space_without_cells_is_drawn_in_text(folder: Path) -> None:
    facts = json.loads((folder / "arch.json").read_text()) | {"space": "Widths", "arch": "width=16"}
    told = {"entropy": {"width": 0.3}, "likeliest": "width=8"}
    edit_events(folder / "events.jsonl", lambda e: e | told if e["event"] == "epoch" else e)
    page = Page(write_report(Result(folder, facts, Widths())).read_text(encoding="utf-8"))
    assert page.words("cell") == "width <16>"
    assert page.words("decisions").endswith("width 16 0.300")
    assert "ln 2: all 2 options equally likely" in page.words("policy")


@pytest.mark.parametrize("places", [[5.0] * 6, [100.0, 0.0, 50.0], [0.0, 1.0, 2.0, 99.0, 100.0], [3.0]])
def test_labels_keep_apart_and_in_order(places: list[float]) -> None:
    moved = spread(places, 14.0, 0.0, 100.0)
    ordered = [moved[k] for k in sorted(range(len(places)), key=lambda k: places[k])]
    assert all(b - a >= 14 - 1e-9 for a, b in pairwise(ordered))
    assert min(moved) >= 0
    assert max(moved) <= 100
