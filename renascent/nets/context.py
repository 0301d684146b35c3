"""How a supernet's layers learn the gates of the present forward pass: the one hidden hand-over."""

from collections.abc import Iterator
from contextlib import contextmanager

from renascent.core.gates import Gate, Gates, certain
from renascent.core.space import Space


class GateContext:
    """The gates of the present forward pass. Empty outside."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self._gates: Gates | None = None

    @contextmanager
    def active(self, gates: Gates) -> Iterator[None]:
        """Let `gates` hold inside, whatever happens there."""
        self._gates = gates
        try:
            yield
        finally:
            self._gates = None

    def gate(self, decision: str) -> Gate:
        assert self._gates is not None, "this layer is part of a supernet: call that, with gates"
        return self._gates[decision]

    def mixed(self, decision: str | None, blend: str) -> tuple[Gate, tuple[int, ...]] | None:
        """Return a gate that brings several widths together by `blend`, and all widths; None for any other gate."""
        gate = self.gate(decision) if decision else None
        if decision is None or gate is None or gate.blend != blend or certain(gate):
            return None
        return gate, self.space.options(decision)

    def widest(self, decision: str) -> int:
        """Return the widest active option."""
        return int(self.space.options(decision)[max(self.gate(decision).active)])
