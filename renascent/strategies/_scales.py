"""What strategies that prune scales to zero have in common: an architecture and chances of strengths."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from renascent.core.gates import Gate, Gates
from renascent.core.protocols import Supernet
from renascent.core.space import Arch, Space, Subset


def existing(space: Space) -> Tensor:
    """Return where a decision has an option, (decisions, options), bool."""
    return torch.arange(max(space.counts)) < torch.tensor(space.counts)[:, None]


def joining(net: Supernet, on: Tensor) -> Tensor:
    """Return which options join nodes that are alive, (decisions, options), bool.

    An option that is off and does so may come back; one at a node that is not alive never does.
    on: (decisions, options), whether each is on by itself.
    """
    names, found = list(net.space.decisions), torch.zeros_like(on)
    given = dict(zip(names, on.tolist(), strict=True))
    for graph in net.graphs:
        for name, row in graph.joining(given).items():
            found[names.index(name), : len(row)] = torch.tensor(row)
    return found


def scaled(space: Space, values: Tensor | Sequence[Tensor], active: Tensor, wanted: Tensor | None = None) -> Gates:
    """Return free scales as gates.

    values: (decisions, options), or a list of (places, options) each.
    active: (decisions, options), what is computed.  wanted: as that, what gets its gradient though it is not.
    """

    def picks(rows: Tensor | None) -> list[tuple[int, ...]]:
        return [()] * len(values) if rows is None else [tuple(row.nonzero()[:, 0].tolist()) for row in rows]

    rows = zip(space.decisions, space.counts, values, picks(active), picks(wanted), strict=True)
    return {name: Gate(row[..., :count], some, more) for name, count, row, some, more in rows}


def strongest(net: Supernet, strengths: Tensor, instead: Tensor) -> Arch:
    """Return what strengths keep: of a Subset all above 0 that lie on a path, of other decisions the largest.

    Where all options of these are at 0, it is `none` if there is one, else the largest `instead`.
    strengths, instead: (decisions, options), at least 0.
    """
    space, rows = net.space, {}
    for (name, decision), row, other in zip(space.decisions.items(), strengths, instead, strict=True):
        count = len(space.options(name))
        if not isinstance(decision, Subset) and not bool(row[:count].any()):
            nothing = [option == "none" for option in space.options(name)]
            row = torch.tensor(nothing).to(row) if any(nothing) else other[:count]
        rows[name] = row[:count].double().numpy()
    return space.discretise(rows)


def chances(space: Space, strengths: Tensor, arch: Arch) -> Mapping[str, Tensor]:
    """Return each option's chance, (options,): by its share of the strengths of one decision, 1 for all at 0.

    Of a Subset each option has its own: above 1/2 for one that is kept, up to 1 for the strongest, and 0 else.
    arch: what the strengths keep.
    """
    found, largest = {}, float(strengths.max()) or 1.0
    for (name, decision), row in zip(space.decisions.items(), strengths.double(), strict=True):
        own, options = row[: len(space.options(name))], space.options(name)
        if isinstance(decision, Subset):
            # the least part of a half that float32 tells from none
            kept = torch.tensor([option in arch[name] for option in options])  # type: ignore[operator]
            share = torch.where(kept, (1 + (own / largest).clamp(1e-3, 1)) / 2, torch.zeros_like(own))
        elif bool(own.any()):
            share = own / own.sum()
        else:
            share = torch.tensor([float(option == arch[name]) for option in options])
        found[name] = share.float()
    return found


def by_name(space: Space, strengths: Tensor) -> Mapping[str, Tensor]:
    """Return strengths (decisions, options) of each decision, (options,)."""
    rows = zip(space.decisions, strengths, space.counts, strict=True)
    return {name: row[:count] for name, row, count in rows}
