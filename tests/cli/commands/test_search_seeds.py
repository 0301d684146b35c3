"""`renascent search --seeds`: several searches, of which the best counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

SEARCH = (
    "search nats-topology --strategy rsps --candidates 2 --channels 2 --cells 1 --nodes 3 --data digits --limit 200"
)


def test_the_best_by_validation_is_returned_and_all_are_resumed(say: Any, tmp_path: Path) -> None:
    words = f"{SEARCH} --batch 16 --epochs 1 --seeds 3,1 --out runs --json"
    done = say(words)
    assert done.code == 0, done.err
    scores = {s: json.loads((tmp_path / f"runs/seed-{s}/arch.json").read_text())["search_score"] for s in (3, 1)}
    assert done.facts["seeds"] == {str(seed): score for seed, score in scores.items()}
    assert done.facts["search_score"] == max(scores.values())
    assert done.facts["folder"] == f"runs/seed-{max(scores, key=lambda seed: scores[seed])}"
    assert say(f"{words} --resume").facts == done.facts


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--seeds 0,1 --seed 0", "--seed and --seeds exclude each other"),
        ("--seeds 1,2,1", "--seeds has the same one twice: 1, 2, 1"),
        ("--seeds 0,-1", "--seeds is '-1': give a whole number from 0"),
    ],
)
def test_what_means_nothing_is_refused(words: str, message: str, refused: Any) -> None:
    refused(f"{SEARCH} {words}", message)
