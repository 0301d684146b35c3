"""What the tests of commands have in common: a command line that is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ANNOUNCED = ("searching ", "training ", "2 trainings of ")
"""How lines begin that say what a command is about to do."""


@pytest.fixture
def refused(say: Any, tmp_path: Path) -> Callable[..., None]:
    """Check that a command line ends in one line with some words, an exit code, and no file made or changed."""

    def held() -> dict[Path, bytes]:
        found = [path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts]
        return {path: path.read_bytes() if path.is_file() else b"" for path in found}

    def check(line: str, *words: str, code: int = 2) -> None:
        before, done = held(), say(line)
        assert (done.code, done.out) == (code, ""), done.err
        *above, last = done.err.splitlines()
        assert last.startswith("renascent: ")
        assert not [text for text in above if not text.startswith(ANNOUNCED)]
        assert all(word in last for word in words), last
        assert held() == before

    return check
