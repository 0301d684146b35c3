"""Spaces as JSON, so that a table says which space its architectures are from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from renascent.core.codecs.nats_size import size_space
from renascent.core.codecs.nats_topology import topology_space
from renascent.core.decisions import Choice, Integer
from renascent.core.errors import UserError
from renascent.core.space import Space

TOPOLOGY, SIZE = "nats-topology", "nats-size"


def space_to_json(space: Space) -> dict[str, Any]:
    """Return a space of Choice and Integer decisions as JSON values.

    Raises UserError for one with a codec, a rule or conditions of its own, which JSON cannot hold.

    >>> space_to_json(Space({"width": Integer((8, 16))}, "mine"))
    {'name': 'mine', 'decisions': {'width': {'kind': 'Integer', 'options': [8, 16]}}}
    """
    if space.name == TOPOLOGY:
        nodes = 1 + max(int(name.partition("-")[2]) for name in space.decisions)
        return {"name": TOPOLOGY, "nodes": nodes, "operations": list(space.options(next(iter(space.decisions))))}
    if space.name == SIZE:
        return {"name": SIZE}
    plain = all(isinstance(d, Choice | Integer) and d.when is None for d in space.decisions.values())
    if not plain or space.codec or space.rule:
        raise UserError(f"space '{space.name}' cannot be written in a table: give Choice and Integer decisions only")
    decisions = {n: {"kind": type(d).__name__, "options": list(space.options(n))} for n, d in space.decisions.items()}
    return {"name": space.name, "decisions": decisions}


def space_from_json(description: Mapping[str, Any]) -> Space:
    """Return the space that `space_to_json` wrote. Raises KeyError or TypeError for anything else."""
    if description["name"] == TOPOLOGY:
        return topology_space(description["nodes"], description["operations"])
    if description["name"] == SIZE:
        return size_space()
    kinds = {"Choice": Choice, "Integer": Integer}
    return Space(
        {name: kinds[d["kind"]](tuple(d["options"])) for name, d in description["decisions"].items()},
        description["name"],
    )
