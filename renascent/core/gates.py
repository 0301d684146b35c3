"""Gates: how an undecided decision enters a forward pass. The one value that joins strategies, networks and costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from renascent.core.space import Arch, Space

Blend = Literal["sum", "interpolate"]


@dataclass(frozen=True)
class Gate:
    """How one decision enters a forward pass.

    weight: (options,), or (places, options) when one decision is used at several places with a value each; may
    carry gradient.
    active: the options that are computed.
    probe: options left out of the output whose weight still gets its gradient, recomputed one at a time in the
    backward pass and released.
    blend: how outputs of several active sizes come together: "sum" pads the smaller with zeros, a sum of masks;
    "interpolate" stretches each to the widest.

    >>> gate = Gate(torch.tensor([0.0, 1.0]), active=(1,))
    >>> gate.active, gate.probe
    ((1,), ())
    """

    weight: Tensor
    active: tuple[int, ...]
    probe: tuple[int, ...] = ()
    blend: Blend = "sum"

    @property
    def opened(self) -> Tensor:
        """The weights of the active options, (active,)."""
        if len(self.active) == len(self.weight):
            return self.weight
        # not by a list of numbers, for which a GPU would be waited
        return torch.stack([self.weight[k] for k in self.active])


Gates = Mapping[str, Gate]
"""Decision name -> gate. An architecture is the one-hot case."""

ONE_HOT_DECISIONS = frozenset({"resolution"})
"""Decisions with one-hot gates only: there is no sum of images of several sizes."""


def one_hot(space: Space, arch: Arch, *, device: torch.device | str = "cpu") -> Gates:
    """Return the gates of one architecture: weight 1 on the chosen option (every chosen option of a `Subset`).

    A conditional decision that `arch` leaves inactive gets weight 0 and nothing active.

    >>> from renascent.core.space import Choice, Space
    >>> space = Space({"a": Choice(("x", "y"))})
    >>> one_hot(space, space.arch({"a": "y"}))["a"]
    Gate(weight=tensor([0., 1.]), active=(1,), probe=(), blend='sum')
    """
    alive = frozenset(space.active(arch))
    chosen = [_chosen(space, arch, name) if name in alive else () for name in space.decisions]
    rows = torch.zeros(len(chosen), max(space.counts))
    for row, options in zip(rows, chosen, strict=True):
        row[list(options)] = 1.0
    return _gates(space, rows.to(device), chosen)


def soft(space: Space, logits: Tensor, tau: float = 1.0) -> Gates:
    """Return softmax gates, every option active: DARTS, arXiv:1806.09055, Eq. 2.

    logits: (decisions, options), rows in the order of `space`, shorter decisions padded with -inf.

    >>> from renascent.core.space import Choice, Space
    >>> soft(Space({"a": Choice(("x", "y"))}), torch.zeros(1, 2))["a"].weight
    tensor([0.5000, 0.5000])
    """
    return _gates(space, (logits / tau).softmax(-1))


def gumbel_soft(space: Space, logits: Tensor, tau: float, rng: torch.Generator) -> Gates:
    """Return a relaxed categorical sample: FBNet-V2, arXiv:2004.05565, Eq. 2.

    Every option is active, but for those of a weight that is lost in a sum with the others, which have none: where the
    temperature is low few are left, so that a step costs about what the sampled child does.

    logits: (decisions, options). rng: on the CPU, so that a seed means the same draw on every device.
    """
    weight = _heard(_perturbed(logits, tau, rng).softmax(-1))
    return _gates(space, weight, _nonzero(space, weight))


def gumbel_hard(space: Space, logits: Tensor, tau: float, rng: torch.Generator) -> Gates:
    """Return one sampled option per decision, with the relaxed sample's gradient: GDAS, arXiv:1910.04465, Eqs 3-5.

    The value is exactly one-hot and the gradient is that of the softmax (straight-through). Only the sampled option
    is active, so every other option's weight gets zero gradient from the network: the paper's acceleration.

    logits: (decisions, options). rng: on the CPU.
    """
    relaxed = _perturbed(logits, tau, rng).softmax(-1)
    picks = relaxed.argmax(-1)
    hard = torch.zeros_like(relaxed).scatter_(-1, picks[:, None], 1.0)
    # p - p.detach() is exactly zero, so the forward value stays exactly one-hot
    weight = hard + (relaxed - relaxed.detach())
    return _gates(space, weight, [(pick,) for pick in picks.tolist()])


def two_paths(space: Space, logits: Tensor, rng: torch.Generator) -> Gates:
    """Sample two paths per decision, one of them open: ProxylessNAS by gradient, arXiv:1812.00332, Sec. 3.2.1, Eq. 4.

    Two options are drawn without replacement by their probabilities; all others are masked as if they did not exist,
    and the two enter as in `all_paths`. A decision of one option has that one open.

    logits: (decisions, options). rng: on the CPU.
    """
    counts = torch.tensor(space.counts)
    exists = torch.arange(logits.shape[-1]) < counts[:, None]
    probability = logits.detach().softmax(-1).cpu()
    # the least float, so that two can be drawn where all probabilities but one have underflowed to zero
    probability = probability.clamp_min(torch.finfo(logits.dtype).tiny) * exists
    several, drawn = counts > 1, exists.clone()
    pair = torch.multinomial(probability[several], 2, generator=rng) if several.any() else torch.empty(0, 2).long()
    drawn[several] = torch.zeros_like(exists[several]).scatter(-1, pair, True)
    return all_paths(space, logits.masked_fill(~drawn.to(logits.device), -torch.inf), rng)


def all_paths(space: Space, logits: Tensor, rng: torch.Generator) -> Gates:
    """Sample one open path per decision, the others probed: ProxylessNAS, arXiv:1812.00332, Eqs 2-4 and Appendix D.

    The open option has weight 1 and is computed; all others have weight 0 and want only its gradient, Eq. 9. The
    gradient of the binary gates reaches the logits as if they were the probabilities, Eq. 4. Options whose logit is
    -inf do not exist.

    logits: (decisions, options). rng: on the CPU.
    """
    probability = logits.softmax(-1)
    opened = torch.multinomial(probability.detach().cpu(), 1, generator=rng)
    binary = torch.zeros_like(probability).scatter_(-1, opened.to(logits.device), 1.0)
    # p - p.detach() is exactly zero, so the forward value stays exactly binary
    weight = binary + (probability - probability.detach())
    closed = logits.detach().cpu().isfinite().scatter_(-1, opened, False).tolist()
    probes = [tuple(k for k, is_closed in enumerate(row) if is_closed) for row in closed]
    return _gates(space, weight, [(k,) for k in opened[:, 0].tolist()], probes)


def several_sizes(space: Space, logits: Tensor, tau: float, rng: torch.Generator, samples: int = 2) -> Gates:
    """Sample a few sizes per decision without replacement, to be interpolated: TAS, arXiv:1905.09717, Eqs 3-4.

    The probabilities are those of a Gumbel-softmax; the weights of the sampled ones are re-normalised, so that one
    sample alone has weight 1 and no gradient. A decision of fewer options has all of them sampled.

    logits: (decisions, options). rng: on the CPU. samples: how many sizes of each decision.
    """
    perturbed = _perturbed(logits, tau, rng)
    probabilities = perturbed.detach().softmax(-1).cpu()
    picks = [
        # the least float, so that as many as are asked for can be drawn although some have underflowed to zero
        torch.multinomial(row[:count].clamp_min(torch.finfo(row.dtype).tiny), min(samples, count), generator=rng)
        for row, count in zip(probabilities, space.counts, strict=True)
    ]
    active = [tuple(sorted(row.tolist())) for row in picks]
    weight = torch.stack([_among(row, chosen) for row, chosen in zip(perturbed, active, strict=True)])
    found = _gates(space, weight, active)
    return {name: replace(gate, blend="interpolate") for name, gate in found.items()}


def scales(space: Space, values: Tensor) -> Gates:
    """Return free scales as gates; a scale at exactly zero leaves `active`: DSO-NAS, arXiv:1811.01567, Eq. 4.

    values: (decisions, options).

    >>> from renascent.core.space import Space, Subset
    >>> scales(Space({"a": Subset(("x", "y"))}), torch.tensor([[0.0, 0.3]]))["a"].active
    (1,)
    """
    return _gates(space, values, _nonzero(space, values))


def certain(gate: Gate) -> bool:
    """Return whether the gate has one open option and nothing to learn from it.

    >>> certain(Gate(torch.tensor([0.0, 1.0]), (1,))), certain(Gate(torch.tensor([0.5, 0.5]), (0, 1)))
    (True, False)
    """
    if len(gate.active) != 1 or gate.weight.requires_grad or gate.weight.device.type != "cpu":
        return False
    return float(gate.weight[gate.active[0]]) == 1.0


def with_probes_active(gates: Gates) -> Gates:
    """Return gates whose probed options are active, for networks that compute several sizes at once anyway.

    At weight 0 they add nothing to the output, and the weights get the gradient that probes give them.

    >>> with_probes_active({"a": Gate(torch.tensor([0.0, 1.0], requires_grad=True), (1,), probe=(0,))})["a"].active
    (0, 1)
    """
    probing = {name: gate for name, gate in gates.items() if gate.probe and gate.weight.requires_grad}
    return {**gates, **{n: replace(g, active=tuple(sorted(g.active + g.probe)), probe=()) for n, g in probing.items()}}


def moved(gates: Gates, device: torch.device) -> Gates:
    """Return gates whose weights are on a device, all moved at once: one by one, each move would make it wait.

    Those that are certain stay on the CPU, for nobody multiplies by them.
    """
    if device.type == "cpu":
        return gates
    going = {name: gate for name, gate in gates.items() if not certain(gate)}
    if not going:
        return gates
    shapes = [gate.weight.shape for gate in going.values()]
    flat = torch.cat([gate.weight.flatten() for gate in going.values()]).to(device)
    parts = zip(going.items(), torch.split(flat, [shape.numel() for shape in shapes]), shapes, strict=True)
    return {**gates, **{name: replace(gate, weight=part.view(shape)) for (name, gate), part, shape in parts}}


def _perturbed(logits: Tensor, tau: float, rng: torch.Generator) -> Tensor:
    noise = torch.empty(logits.shape, dtype=logits.dtype).exponential_(generator=rng)
    gumbel = -noise.log().to(logits.device)
    return (logits.log_softmax(-1) + gumbel) / tau


def _among(row: Tensor, chosen: tuple[int, ...]) -> Tensor:
    """Return the softmax of the chosen entries, (options,), zero elsewhere."""
    index = torch.tensor(chosen, device=row.device)
    return torch.zeros_like(row).scatter(0, index, _heard(row[index].softmax(0)))


def _heard(weight: Tensor) -> Tensor:
    """Return weights that sum to 1 without those that are lost in the sum.

    What is multiplied by them falls below the least normal number, with which processors are many times slower.
    """
    return weight.masked_fill(weight < torch.finfo(weight.dtype).eps, 0.0)


def _nonzero(space: Space, weights: Tensor) -> list[tuple[int, ...]]:
    """Return the options of each decision whose weight is not zero; what lies behind the last one is padding."""
    rows = zip((weights != 0).tolist(), space.counts, strict=True)
    return [tuple(k for k in range(count) if row[k]) for row, count in rows]


def _chosen(space: Space, arch: Arch, name: str) -> tuple[int, ...]:
    value = arch[name]
    picked = value if isinstance(value, tuple) else (value,)
    return tuple(k for k, option in enumerate(space.options(name)) if option in picked)


def _gates(
    space: Space,
    weights: Tensor,
    active: Sequence[tuple[int, ...]] | None = None,
    probes: Sequence[tuple[int, ...]] | None = None,
) -> Gates:
    """Slice stacked weights (decisions, options) into one gate a decision.

    active: of each; all unless given.  probes: of each; none unless given.
    """
    counts = space.counts
    probes = probes or [()] * len(counts)
    rows = zip(
        space.decisions, weights.unbind(0), counts, active or map(tuple, map(range, counts)), probes, strict=True
    )
    return {name: Gate(row if n == len(row) else row[:n], some, more) for name, row, n, some, more in rows}
