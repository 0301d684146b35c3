"""Latency of networks of blocks: a constant plus one term for each decision and option, each with its uncertainty."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from renascent.core.errors import UserError
from renascent.core.fields import NonNegative
from renascent.core.files import read_json, write_json
from renascent.core.protocols import SpaceConfig
from renascent.core.schema import checked, written
from renascent.core.space import Choice, Space
from renascent.core.text import short
from renascent.costs.counts import Additive
from renascent.costs.latency.config import config_of, group_of, size_rows
from renascent.costs.latency.predictor import Codes, Floats, fit_additive
from renascent.costs.latency.table import Lut
from renascent.nets.sizes.layers import Layer

FORMAT, VERSION = "renascent-block-latency", 1


@dataclass(frozen=True)
class Origin:
    """Where a latency of blocks is from. source: the table, as a user names it.  device: whose it is, in words.

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

    def __str__(self) -> str:
        changed = {f.name: getattr(self.config, f.name) for f in fields(self.config) if _changed(self.config, f)}  # type: ignore[arg-type]
        settings = "".join(f", {name} {value}" for name, value in changed.items())
        return f"{self.config.space.name} on {'x'.join(map(str, self.shape))}, {self.classes} classes{settings}"


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
        check_decisions(self.space, space, self.origin.source, self.origin.network)

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
        own = Space({name: Choice(tuple(terms)) for name, terms in stored.decisions.items()}, name=space.name)
        check_decisions(own, space, stored.about.source, stored.about.network)
        return cls.of_terms(
            space,
            {
                name: {option: (t.ms, t.sd_ms) for option, t in terms.items()}
                for name, terms in stored.decisions.items()
            },
            stored.about,
            base=(stored.base.ms, stored.base.sd_ms),
        )

    @classmethod
    def of_terms(
        cls,
        space: Space,
        terms: Mapping[str, Mapping[str, tuple[float, float]]],
        origin: Origin,
        *,
        base: tuple[float, float] = (0.0, 0.0),
    ) -> BlockLatency:
        """Make it of milliseconds and their standard errors: of each option of each decision, and of all the rest."""
        table, spread = np.zeros((2, len(space.counts), max(space.counts)))
        for row, name in enumerate(space.decisions):
            found = np.array([terms[name][option] for option in space.options(name)]).T
            table[row, : found.shape[1]], spread[row, : found.shape[1]] = found
        return cls(space, base[0], table, origin, spread=spread, base_spread=base[1])

    @classmethod
    def of_layers(cls, space: Space, lut: Lut, twin: Twin, source: str) -> BlockLatency:
        """Sum a measured table of layers: a block is the sum of its layers, calibrated as the table is.

        twin: the network that it was measured for, of the decisions of `space`. Raises UserError for one of others.
        """
        check_decisions(twin.config.space, space, source, str(twin))
        terms = twin.config.terms(partial(_layer_ms, lut), twin.shape, twin.classes)
        errors = twin.config.terms(lambda layer: _layer_error(lut, layer) ** 2, twin.shape, twin.classes)
        assert terms is not None and errors is not None, "a space of options lists their layers"
        scale, (base, table), (error, spread) = lut.calibration.scale, terms, errors
        return cls(
            space,
            lut.calibration.constant_ms + scale * base,
            scale * table,
            Origin(source, device_of(lut), str(twin)),
            spread=scale * np.sqrt(spread),
            base_spread=scale * float(np.sqrt(error)),
            lut=lut,
            twin=twin,
        )

    @classmethod
    def of_networks(cls, space: Space, codes: Codes, latency_ms: Floats, origin: Origin) -> BlockLatency:
        """Fit it to whole networks given as option indices (n, decisions), by least squares, as `fit_additive` does.

        The least option of each decision is 0, the others are what they take beside it, so that no term is negative.
        Raises UserError where an option is in no network.
        """
        terms = fit_additive(codes, latency_ms)
        if (counts := tuple(map(len, terms.tables))) != space.counts:
            raise UserError(f"the networks have {short(counts)} options, space '{space.name}' {short(space.counts)}")
        least = np.array([int(part.argmin()) for part in terms.tables])
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
        error = max(float(picks @ terms.covariance @ picks), 0.0) ** 0.5
        return cls(space, base, table, origin, spread=spread, base_spread=error)

    def _stored(self) -> _Stored:
        base = _Term(ms=float(self.base), sd_ms=float(self.base_spread))
        rows = zip(self.space.decisions, self.table, self.spread, strict=True)
        decisions = {
            name: {
                str(option): _Term(ms=float(ms), sd_ms=float(sd))
                for option, ms, sd in zip(self.space.options(name), table, spread, strict=False)
            }
            for name, table, spread in rows
        }
        return _Stored(about=self.origin, base=base, decisions=decisions)


def check_decisions(own: Space, asked: Space, source: str, network: str) -> None:
    """Raise UserError, naming the first that differs, unless a table's own decisions are those of the space asked for.

    source, network: of the table, in words.
    """
    mine, theirs = ([(name, space.options(name)) for name in space.decisions] for space in (own, asked))
    for one, other in zip_longest(mine, theirs):
        if one != other:
            has, wants = (
                f"'{pair[0]}' of {', '.join(map(str, pair[1])):.80}" if pair else "no more" for pair in (one, other)
            )
            raise UserError(
                f"the latency table {source} is of {network}, whose decisions are not those of space '{asked.name}' "
                f"(it has {has} where that has {wants}): give a table of this space"
            )


def device_of(lut: Lut) -> str:
    """Return on what a table was measured, in words."""
    return ", ".join(str(lut.about.get(key)) for key in ("processor", "runtime"))


def _layer_ms(lut: Lut, layer: Layer) -> float:
    return float(lut.layer_ms(group_of(layer), size_rows(layer, 1))[0])


def _layer_error(lut: Lut, layer: Layer) -> float:
    """Return the standard error of a layer's milliseconds: of its visits, or of what fills the gap."""
    group, sizes = group_of(layer), size_rows(layer, 1)
    if (entry := lut.layers.get(config_of(group, sizes[0].tolist()))) is not None:
        return float(np.std(entry.visits_ms) / np.sqrt(len(entry.visits_ms)))
    return float(min(lut.filler.spread(group, sizes)[0], 1.0)) * _layer_ms(lut, layer)


def _changed(config: Any, field: Any) -> bool:
    return bool(getattr(config, field.name) != field.default)
