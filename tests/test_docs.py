"""Every snippet of the README and the docs runs: Python as it stands, console lines as commands."""

import os
import re
import shlex
from pathlib import Path

import pytest

from renascent.cli.entry import main

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NB201 = Path(os.environ.get("RENASCENT_DATA", "data")) / "nas" / "nb201.npz"
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[str]:
    """Return the commands of a console block, lines that end in a backslash joined."""
    joined = block.replace("\\\n", " ")
    return [line.removeprefix("$ ") for line in joined.splitlines() if line.startswith("$ renascent ")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_snippets_run_in_order(page, tmp_path, monkeypatch):
    """A reader who types a page from top to bottom, in an empty folder, meets no error."""
    monkeypatch.chdir(tmp_path)
    if NB201.exists():
        (tmp_path / NB201.name).symlink_to(NB201.resolve())
    names: dict[str, object] = {"__name__": "__snippet__"}
    left_out = []
    for language, block in BLOCK.findall(page.read_text()):
        if language == "python":
            few = 'load_task("digits", options=rn.ImageOptions(limit=300))'
            block = block.replace('load_task("digits")', few) if "import renascent as rn" in block else block
            exec(compile(block, f"{page.name}", "exec"), names)
        for command in commands(block) if language == "console" else []:
            if NB201.name in command and not NB201.exists():
                left_out.append(command)
                continue
            few = re.sub(r"--runs \d+", "--runs 8", command)  # for time, as the images of a search
            few += " --limit 300" if few.startswith("renascent search") and "--limit" not in few else ""
            assert main(shlex.split(few)[1:]) == 0, command
    if left_out:
        pytest.skip(f"all but {left_out} ran: {NB201} is not here; point RENASCENT_DATA at the folder of nas/nb201.npz")


def test_the_set_up_commands_of_the_readme_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    asked = set(re.findall(r"^make ([a-z-]+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert {"demo", "test"} <= asked <= targets


def test_no_snippet_language_escapes():
    """A block in a language that is not run must be one that cannot be."""
    for page in PAGES:
        languages = set(re.findall(r"^```(\w+)$", page.read_text(), re.MULTILINE))
        assert languages <= {"python", "console", "text", "json"}, page
