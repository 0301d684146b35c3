"""Temporary."""

from collections.abc import Collection, Hashable, Iterable

Node = Hashable
Edge = tuple[Node, ...]


def flowing(edges: Iterable[Edge], inputs: Collection[Node], outputs: Collection[Node]) -> set[Edge]:
    found = set(edges)
    while True:
        fed = {*inputs, *(e[1] for e in found)}
        leading = {*outputs, *(e[0] for e in found)}
        kept = {e for e in found if e[0] in fed and e[1] in leading}
        if kept == found:
            return found
        found = kept
