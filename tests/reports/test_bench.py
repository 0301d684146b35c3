"""Pages of benchmark reports: what is given stands in them, escaped, and figures lie beside them."""

import pytest

from renascent.core.errors import UserError
from renascent.reports.bench import Listing, Section, arch_cell, write_page
from renascent.reports.benchfigures import matrix


def test_a_page_holds_its_sections_in_order(tmp_path):
    figure = matrix(["a", "b"], [[1, 0.5], [0.5, 1]], "What a says of b")
    arch = arch_cell("|nor<3~0|+|skip~0|none~1|")
    listing = Listing(("name", "mean", "cell"), [("r&d", "94.02", arch), ("rea", "-", arch)], "All <of> them")
    sections = [
        Section("First & foremost", ["One <b>.", "Two."]),
        Section("Second", tables=[listing, Listing(("empty",), [])], figures=[figure]),
    ]
    path = write_page(tmp_path / "new" / "page.html", "A < B", sections, remark="on one & all")
    html = path.read_text(encoding="utf-8")
    order = [
        *(
            "<title>A &lt; B</title>",
            "on one &amp; all",
            "First &amp; foremost",
            "<p>One &lt;b&gt;.</p>",
            "<p>Two.</p>",
        ),
        *("Second", figure.svg, "<caption>All &lt;of&gt; them</caption>", '<th class="number">mean</th>'),
        *('<td class="name">r&amp;d</td><td class="number">94.02</td>', "<code>|nor&lt;3~0|+<wbr>|skip~0|<wbr>none~1|"),
        "<th>empty</th>",
    ]
    places = [html.index(part) for part in order]
    assert places == sorted(places)
    assert sorted(file.name for file in path.parent.iterdir()) == ["page.html", "what-a-says-of-b.png"]
    assert (path.parent / "what-a-says-of-b.png").read_bytes() == figure.png


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["94.02 %", "-", ""], "number"),
        (["1,234", "-0.5", "+3"], "number"),
        (["94.02 ± 0.21", "12 s"], "number"),
        (["", ""], "name"),
        (["rea", "1"], "name"),
        (["a sentence of some length, to be broken", "1"], "words"),
    ],
)
def test_columns_are_set_by_what_they_hold(cells, kind):
    assert Listing(("a",), [(cell,) for cell in cells]).kinds == [kind]


def test_style_is_shared_with_the_report_of_a_search(tmp_path):
    html = write_page(tmp_path / "page.html", "T", []).read_text(encoding="utf-8")
    assert html.count("<style>") == 1
    assert "prefers-color-scheme: dark" in html


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        write_page(tmp_path / "file" / "page.html", "T", [])
