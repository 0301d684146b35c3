"""Packages as pip would install them: their modules, and a `.dist-info` beside them that says what they add."""

from __future__ import annotations

import importlib
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent / "package"

Add = Callable[[str, Mapping[str, Mapping[str, str]], Mapping[str, str]], None]


def install(folder: Path, name: str, points: Mapping[str, Mapping[str, str]], files: Mapping[str, str]) -> None:
    """Put a package into a folder. points: group -> name -> place.  files: module -> its source."""
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    rows = [f"[{group}]\n" + "".join(f"{k} = {place}\n" for k, place in each.items()) for group, each in points.items()]
    (about / "entry_points.txt").write_text("\n".join(rows))
    for module, text in files.items():
        (folder / f"{module}.py").write_text(text)


@pytest.fixture
def forget(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Let the modules of a test's folder be imported anew, as another process would."""
    places = list(sys.path)

    def now() -> None:
        sys.path[:] = places
        for name, module in list(sys.modules.items()):
            if Path(getattr(module, "__file__", None) or "/").is_relative_to(tmp_path):
                del sys.modules[name]
        importlib.invalidate_caches()

    yield now
    now()


@pytest.fixture
def add(tmp_path: Path, forget: Callable[[], None]) -> Add:
    """Install a package: its name, what it adds, and its modules."""
    sys.path.insert(0, str(tmp_path / "site"))
    return lambda name, points, files: install(tmp_path / "site", name, points, files)


@pytest.fixture
def package(add: Add) -> None:
    """Install the package that lies beside these tests."""
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    add(project["name"], project["entry-points"], {"activations": (PACKAGE / "activations.py").read_text()})
