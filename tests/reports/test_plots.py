"""Figures: well-formed, the same each time, in the page's colours, and leaving no trace in matplotlib."""

import io
import re
import subprocess
import sys
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from PIL import Image

from renascent.reports import benchfigures, plots
from renascent.reports.render import render

pytestmark = pytest.mark.renders

SVG = "{http://www.w3.org/2000/svg}"
TIME = np.linspace(0, 100, 21)


def rise(height):
    mean = height - 50 * np.exp(-TIME / 10)
    mean[0] = np.nan
    return TIME, mean, mean - 1, mean + 1


def all_figures():
    rng = np.random.default_rng(0)
    x = rng.uniform(1, 9, 40)
    front = np.zeros(40, dtype=bool)
    front[[3, 5]] = True
    return {
        "bands": benchfigures.bands(
            {"rea": rise(90), "random & co": rise(88)}, "time (s)", "accuracy (%)", "A", {"best": 92}
        ),
        "scatter": benchfigures.scatter(x, x**2, "x", "y", "Of x < 9", front=front, marked={"best": 3, "other": 7}),
        "rankings": benchfigures.rankings("a", {"a": np.arange(1, 41), "b": rng.permutation(40) + 1}, "C"),
        "matrix": benchfigures.matrix(["a", "b", "c", "d"], np.where(np.eye(4), 1, [[-0.25, np.nan, 0.5, 0]] * 4), "D"),
    }


@pytest.fixture(scope="module")
def figures():
    return all_figures()


def words(picture):
    root = ElementTree.fromstring(picture.svg)
    return [text.text for text in root.iter(f"{SVG}text")]


@pytest.mark.parametrize("name", ["bands", "scatter", "rankings", "matrix"])
def test_each_is_svg_and_png_of_one_shape(figures, name):
    picture = figures[name]
    root = ElementTree.fromstring(picture.svg)
    _, _, width, height = map(float, root.get("viewBox").split())
    with Image.open(io.BytesIO(picture.png)) as image:
        image.load()
        assert image.size[0] / image.size[1] == pytest.approx(width / height, rel=0.01)
        assert len(image.getcolors(image.width * image.height)) > 10, "something is drawn"
    assert root.get("aria-label") == picture.title
    assert picture.title in words(picture)


@pytest.mark.parametrize("name", ["bands", "scatter", "rankings", "matrix"])
def test_it_takes_the_colours_and_fonts_of_the_page_and_nothing_from_elsewhere(figures, name):
    svg = figures[name].svg
    for colour in re.findall(r"(?<!, )#[0-9a-f]{6}\b", svg):
        assert colour not in plots.VARIABLES, "only as what a page without such variables shows"
    assert "var(--ink, #1c2126)" in svg
    assert "<style" not in svg and "<metadata" not in svg
    assert "DejaVu" not in svg
    links = set(re.findall(r'(?:href|src)="([^"]*)"', svg))
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)


def test_colours_are_those_of_the_style_sheet():
    sheet = render("bench.html.j2", {"title": "", "remark": "", "sections": []})
    light = dict(re.findall(r"(--\w+): (#\w+);", sheet.partition("@media")[0]))
    dark = dict(re.findall(r"(--\w+): (#\w+);", sheet.partition("@media")[2].partition("* {")[0]))
    assert {variable: light[variable] for variable in plots.VARIABLES.values()} == {
        v: c for c, v in plots.VARIABLES.items()
    }
    assert set(plots.VARIABLES.values()) < set(dark)


def test_the_same_numbers_give_the_same_bytes(figures):
    again = all_figures()
    assert again == figures
    assert {name: picture.png for name, picture in again.items()} == {name: p.png for name, p in figures.items()}


def test_ids_of_two_figures_differ(figures):
    ids = [set(re.findall(r' id="([^"]+)"', picture.svg)) for picture in figures.values()]
    assert all(ids[:3])
    assert len(set().union(*ids)) == sum(map(len, ids))


def test_matplotlib_is_left_as_it_was():
    before = dict(matplotlib.rcParams)
    benchfigures.matrix(["a"], [[1.0]], "E")
    assert dict(matplotlib.rcParams) == before
    code = "import sys, renascent.reports.page, renascent.reports.benchfigures as p; "
    code += "assert 'matplotlib' not in sys.modules; "
    code += "p.matrix(['a'], [[1.0]], 'E').png; "
    code += "assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_user_settings_change_nothing(figures):
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        assert all_figures()["matrix"] == figures["matrix"]


def test_curves_and_references_are_named(figures):
    said = words(figures["bands"])
    assert {"rea", "random & co", "best", "time (s)", "accuracy (%)"} <= set(said)


def test_the_first_trials_do_not_squeeze_the_rest():
    """They start 50 points lower; after a twentieth of the time, 30."""
    low, high = benchfigures._settled([rise(90)], [])
    assert low == pytest.approx(90 - 50 * np.exp(-0.5) - 1, abs=3)
    assert 91 < high < 94
    assert benchfigures._settled([], []) == pytest.approx((-0.06, 1.06))


def test_large_scatters_are_pixels_and_small_ones_are_not(figures):
    rng = np.random.default_rng(0)
    large = benchfigures.scatter(rng.normal(size=5000), rng.normal(size=5000), "x", "y", "F")
    assert "<image" in large.svg
    assert len(large.svg) < 500_000
    assert "<image" not in figures["scatter"].svg


def test_plots_outliers_are_counted_and_not_drawn():
    y = np.concatenate([np.full(4, 10.0), np.linspace(80, 95, 96)])
    assert "x; 4 lower points lie outside" in words(benchfigures.scatter(np.arange(100.0), y, "x", "y", "G"))
    assert "x" in words(benchfigures.scatter(np.arange(100.0), np.linspace(80, 95, 100), "x", "y", "H"))


def test_a_missing_correlation_is_a_dash(figures):
    said = words(figures["matrix"])
    assert said.count("-") == 3
    assert said.count("1.000") == 4
    assert "-0.250" in said, "as it was written, whatever becomes of places"


def test_numbers_above_a_thousand_have_commas():
    said = words(benchfigures.scatter([0, 20_000], [0, 3000], "x", "y", "I"))
    assert "20,000" in said and "3,000" in said
