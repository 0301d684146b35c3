"""What belongs together in a run folder: a result's own file keeps the digests of what it was made from, and its own.

Events are covered as far as they tell of epochs: what a resumed training adds behind them has another time each time.
"""

import hashlib
import json
from pathlib import Path

from renascent.core.errors import UserError
from renascent.core.files import Json, is_there, read_bytes

KEY = "sha256"
"""Of a result's file: name of a file beside it, or its own -> digest. Results of earlier versions have none."""

EVENTS = "events.jsonl"

FILES = ("config.json", "data.json", "latency.json", "latency-table.json", EVENTS)


def sealed(facts: Json, path: Path, weights: Json) -> Json:
    """Return what a result's file says with the digests of what lies beside it. weights: those of tensors, by file."""
    held = {name: digest for name in FILES if (digest := _digest(path.parent / name)) is not None} | weights
    return {**facts, KEY: {**held, path.name: _own(facts, held)}}


def check_seal(path: Path, facts: Json, advice: str) -> None:
    """Raise UserError where a result, or a file beside it, is no longer what it was. What is gone is missed elsewhere.

    Weights are checked when they are read: `read_sealed`.
    """
    if KEY not in facts:
        return
    held, rest = facts[KEY], {key: value for key, value in facts.items() if key != KEY}
    others = {name: digest for name, digest in held.items() if name != path.name} if isinstance(held, dict) else {}
    if not others or held.get(path.name) != _own(rest, others):
        raise UserError(f"{path} is damaged (edited, or cut short): {advice}")
    for name in FILES:
        found = _digest(path.parent / name)
        if found is not None and found != others.get(name):
            raise UserError(f"{path.parent / name} is not what {path} was made from: put it back, or {advice}")


def _own(facts: Json, others: Json) -> str:
    return hashlib.sha256(json.dumps([facts, others], sort_keys=True).encode()).hexdigest()


def _digest(path: Path) -> str | None:
    if not is_there(path):
        return None
    held = read_bytes(path)
    if path.name == EVENTS:
        held = b"\n".join(line for line in held.split(b"\n") if line.startswith(b'{"event": "epoch"'))
    return hashlib.sha256(held).hexdigest()
