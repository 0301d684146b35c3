"""Latency of networks of blocks: a constant plus one term for each decision and option, each with its uncertainty."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from renascent.core.errors import UserError
from renascent.core.fields import NonNegative, settings
from renascent.core.files import read_json, write_json
from renascent.core.protocols import SpaceConfig
from renascent.core.schema import checked, written
from renascent.core.space import Space
from renascent.core.text import short
from renascent.costs.counts import Additive
from renascent.costs.latency.predictor import Codes, Floats, fit_additive
from renascent.costs.latency.table import Lut

FORMAT, VERSION = "renascent-block-latency", 1


@settings
class Origin:
    """Where a latency of blocks is from.

    Args:
        source: the table, as a user names it.
        device: whose milliseconds they are, in words.
        network: the network that is priced, in words; it has the decisions of the one that is searched.
    """

    source: str
    device: str
    network: str


class Twin(NamedTuple):
    """The network that a table prices, where it is built and measured here: its space, data and classes."""

    config: SpaceConfig
    shape: tuple[int, int, int]
    classes: int


@dataclass(frozen=True, kw_only=True)
class _Term:
    ms: float
    sd_ms: NonNegative = 0.0


@dataclass(frozen=True, kw_only=True)
class _Stored:
    """What a file holds. decisions: name -> option -> its term."""

    format: str = FORMAT
    version: int = VERSION
    about: Origin
    base: _Term
    decisions: dict[str, dict[str, _Term]]


class BlockLatency(Additive):
    """Milliseconds of one forward pass, a sum over blocks. Call it with gates for the expected latency, with gradient.

    It depends on decisions alone: a network may be trained small, and its large twin of the same decisions be priced.

    space: whose decisions are priced.  base: what all networks have, in milliseconds.  table: (decisions, options).
    origin: where the numbers are from.  spread, base_spread: their standard errors, shaped alike; 0 where not known.
    lut: the table of layers that the terms were summed from, where one was measured.  twin: what that prices.

    >>> from renascent.core.space import Choice
    >>> space = Space({"block0": Choice(("zero", "mb3_k3")), "block1": Choice(("zero", "mb3_k3"))})
    >>> table = np.array([[0.0, 4.0], [0.0, 2.0]])
    >>> cost = BlockLatency(space, 1.0, table, Origin("mine.json", "a phone", "two blocks"), spread=table / 4)
    >>> cost.exact(np.array([[1, 0], [1, 1]])).tolist(), cost.deviation(np.array([[1, 0]])).tolist()
    ([5.0, 7.0], [1.0])
    """

    def __init__(
        self,
        space: Space,
        base: float,
        table: Floats,
        origin: Origin,
        *,
        spread: Floats | None = None,
        base_spread: float = 0.0,
        lut: Lut | None = None,
        twin: Twin | None = None,
    ) -> None:
        super().__init__(space, base, table)
        self.origin, self.lut, self.twin = origin, lut, twin
        self.spread, self.base_spread = np.zeros_like(table) if spread is None else spread, base_spread

    def deviation(self, indices: NDArray[np.integer]) -> Floats:
        """Return the standard error (n,) of the latency of option indices (n, decisions), terms being independent."""
        terms = self.spread[np.arange(len(self.spread)), indices]
        return np.asarray(np.sqrt(self.base_spread**2 + (terms**2).sum(1)))

    def check(self, space: Space) -> None:
        """Raise UserError unless these are the decisions of `space`, in its order."""
        own, asked = ([(name, s.options(name)) for name in s.decisions] for s in (self.space, space))
        for mine, theirs in zip_longest(own, asked):
            if mine != theirs:
                table, wanted = ("no more" if one is None else f"{one[0]} of {short(one[1])}" for one in (mine, theirs))
                raise UserError(
                    f"the latency table {self.origin.source} is of {self.origin.network}, whose decisions are not those "
                    f"of space '{space.name}': it has {table} where the space has {wanted}; give a table of this space"
                )

    @property
    def sha256(self) -> str:
        """Tell what predicts it from everything else that might."""
        if self.lut is not None:
            return self.lut.sha256
        return hashlib.sha256(json.dumps(written(self._stored()), sort_keys=True).encode()).hexdigest()

    def save(self, path: str | Path) -> Path:
        """Write what it is made of, whole or not at all: the table of layers, where there is one, or else the terms."""
        if self.lut is not None:
            return self.lut.save(path)
        write_json(Path(path), written(self._stored()))
        return Path(path)

    @classmethod
    def load(cls, path: str | Path, space: Space) -> BlockLatency:
        """Read terms that were saved. Raises UserError when they are damaged, or of other decisions than the space."""
        path = Path(path)
        stored = checked(_Stored, read_json(path), path, "save it again")
        if (stored.format, stored.version) != (FORMAT, VERSION):
            raise UserError(f"{path} does not say format {FORMAT}, version {VERSION}: give a table of blocks")
        named = {name: tuple(terms) for name, terms in stored.decisions.items()}
        found = _of_terms(space, stored.about, stored.base, lambda name, option: stored.decisions[name][option], named)
        return found

    @classmethod
    def of_networks(cls, space: Space, codes: Codes, latency_ms: Floats, origin: Origin) -> BlockLatency:
        """Fit it to whole networks given as option indices (n, decisions), by least squares, as `fit_additive` does.

        The least option of each decision is 0, the others are what they take beside it, so that no term is negative.
        Raises UserError where an option is in no network.
        """
        terms = fit_additive(codes, latency_ms)
        if (counts := tuple(map(len, terms.tables))) != space.counts:
            raise UserError(f"the networks have {short(counts)} options, space '{space.name}' {short(space.counts)}")
        least = [int(part.argmin()) for part in terms.tables]
        starts = 1 + np.concatenate([[0], np.cumsum(counts)[:-1]])
        table, spread = np.zeros((2, len(counts), max(counts)))
        for row, (part, low, start) in enumerate(zip(terms.tables, least, starts, strict=True)):
            own = terms.covariance[start : start + len(part), start : start + len(part)]
            table[row, : len(part)] = part - part[low]
            variance = np.diag(own) + own[low, low] - 2 * own[low]
            spread[row, : len(part)] = np.sqrt(np.maximum(variance, 0))
        picks = np.zeros(len(terms.covariance))
        picks[[0, *(starts + least)]] = 1
        base = terms.base + sum(float(part.min()) for part in terms.tables)
        error = float(np.sqrt(max(picks @ terms.covariance @ picks, 0)))
        return cls(space, base, table, origin, spread=spread, base_spread=error)
