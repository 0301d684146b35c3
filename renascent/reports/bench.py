"""Pages about benchmarks: sections of words, tables and figures, in one file that needs no other."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from renascent.core.files import replacing, write_text, writing
from renascent.reports.plots import Picture
from renascent.reports.render import breakable, render


@dataclass(frozen=True)
class Listing:
    """A table. A column of numbers is set to the right.  Cells may be Markup, such as `arch_cell` gives."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""

    @property
    def kinds(self) -> list[str]:
        """How each column is set: "number" to the right, "name" in one line, "words" as they break.

        >>> Listing(("name", "mean"), [("rea", "94.02 ± 0.2 %"), ("random", "-")]).kinds
        ['name', 'number']
        """
        columns = list(zip(*self.rows, strict=True)) or [()] * len(self.header)
        return [_kind(column) for column in columns]


@dataclass(frozen=True)
class Section:
    """A part of a page: a heading, and below it words, figures and tables, as far as there are any."""

    heading: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Listing] = ()
    figures: Sequence[Picture] = ()


def write_page(path: Path, title: str, sections: Sequence[Section], *, remark: str = "") -> Path:
    """Write a page, and each of its figures as a PNG file beside it; return its path.

    remark: below the title. Raises UserError when something cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    for section in sections:
        for figure in section.figures:
            with replacing(path.parent / f"{figure.name}.png") as scratch:
                scratch.write_bytes(figure.png)
    write_text(path, render("bench.html.j2", {"title": title, "remark": remark, "sections": sections}))
    return path


def arch_cell(arch: str) -> Markup:
    """Return an architecture as a table shows it.

    >>> arch_cell("8:16:8:8:8")
    Markup('<code>8:16:8:8:8</code>')
    """
    return Markup("<code>{}</code>").format(breakable(arch))


def _kind(column: Sequence[str]) -> str:
    if any(column) and all(re.fullmatch(r"([-+]?[\d.,]+( ± [\d.,]+)?( ?%| ?s)?)?|-", cell) for cell in column):
        return "number"
    return "name" if all(len(cell) < 20 for cell in column) else "words"
