"""Facts read from a module's source, without importing it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from renascent.core.source import arguments, docstring, realised, references, section, static
from renascent.loops.fit import Fit
from renascent.tasks import DATASETS, DOWNLOADS

DOC = """A box.

Args:
    width: in
        pixels: whole ones.
    on: lit.

References:
    Author, A Box, arXiv:0000.00001,
    Sec. 2.

    on: Other, arXiv:0000.00002.

Then prose.
"""


def test_a_section_ends_where_the_indentation_does() -> None:
    assert section(DOC, "References").startswith("Author, A Box")
    assert "prose" not in section(DOC, "References")
    assert section(DOC, "Returns") == ""
    assert arguments(DOC) == {"width": "in pixels: whole ones.", "on": "lit."}
    assert arguments(DOC, "References") == {"on": "Other, arXiv:0000.00002."}


def test_references_are_paragraphs() -> None:
    first, *_ = references("renascent.strategies.gdas:GDAS")
    assert first.startswith("Dong and Yang, Searching for a Robust Neural Architecture in Four GPU Hours, CVPR 2019")
    assert references("renascent.core.names:Names") == []


@pytest.mark.parametrize("place", ["nowhere:X", "renascent.nowhere:X", "renascent.core.names:nothing", "builtins:int"])
def test_what_has_no_source_says_nothing(place: str) -> None:
    assert docstring(place) == ""
    assert references(place) == []


def test_nested_settings_have_the_defaults_of_the_whole() -> None:
    outline = static("renascent.loops.fit:Fit")(epochs=3)
    assert (outline.weights.lr, outline.weights.clip) == (0.1, 0.0)
    assert realised(outline) == Fit(epochs=3)


def test_a_module_is_read_from_a_file_that_was_never_imported(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import nowhere\nfrom dataclasses import dataclass\nLEAST, MOST = 1, 2\n\n"
        "@dataclass(frozen=True)\nclass Own:\n    '''Mine.'''\n    a: int = MOST\n"
    )
    code = "from renascent.core.source import docstring, static; print(static('mine:Own')(), docstring('mine:Own'))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "Own(a=2) Mine.\n"


def test_how_files_come_is_what_their_data_sets_say() -> None:
    assert list(DOWNLOADS) == list(DATASETS)
    for name, data in DATASETS.items():
        megabytes = sum(archive.megabytes for archive in data.archives)
        by_hand = "to be put in place by hand" if data.advice else "already there"
        assert DOWNLOADS[name] == (f"`download=True` fetches {megabytes:.0f} MB" if megabytes else by_hand)
