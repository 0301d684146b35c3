"""What every search space has to keep, in float64."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from renascent.core.gates import Gates, all_paths, one_hot, soft
from renascent.core.protocols import Priced, SpaceConfig, Supernet
from renascent.core.space import Arch
from renascent.costs import COSTS, cost_of, macs, params
from renascent.nets.sizes.resolution import RESOLUTION, input_shape, resize
from renascent.nets.sizes.space import SizedSpace
from renascent.testing.claims import claim, close, is_documented, is_frozen

Shape = tuple[int, int, int]

COUNTS: Mapping[str, Callable[[nn.Module, Shape], int]] = {"macs": macs, "params": lambda net, shape: params(net)}
"""Costs that are counted on a network in another way, too."""


@dataclass(frozen=True)
class Case:
    """A space to check. net: its supernet in float64.  x: inputs (n, channels, h, w).  archs: some of its own."""

    config: SpaceConfig
    net: Supernet
    x: Tensor
    classes: int
    archs: list[Arch]

    @property
    def shape(self) -> Shape:
        """Shape of one input."""
        channels, height, width = self.x.shape[1:]
        return channels, height, width

    def seen(self, arch: Arch) -> Tensor:
        """Return the inputs as a network of this architecture takes them."""
        return resize(self.x, arch[RESOLUTION]) if RESOLUTION in arch else self.x  # type: ignore[arg-type]

    def network(self, arch: Arch, *, prune: bool = False) -> nn.Module:
        """Return the plain network of an architecture."""
        return self.config.network(arch, self.x.shape[1], self.classes, prune=prune)


def check_space(config: SpaceConfig, *, shape: Shape = (3, 8, 8), classes: int = 5) -> None:
    """Check that a space keeps what all do; it takes some seconds where its networks are small.

    An extracted network computes what the supernet does at one-hot gates, and has the structure of the one that is
    built; pruning keeps the function; the costs of one-hot gates are those that are counted, to the last unit; soft
    gates pass a gradient to every decision, and weights that take no part get none; what is exported gives the same.

    Args:
        config: with the smallest settings that still have everything: few channels, few layers.
        shape: (channels, h, w) of the inputs.
        classes: of the outputs.

    Raises:
        AssertionError: it does not hold, and says what.
    """
    is_documented(type(config), paper=False)
    with in_float64():
        case = case_of(config, supernet_of(config, shape, classes), shape, classes)
        for check in CHECKS:
            check(case)
    for name in (name for name in COSTS if name in config.costs):
        with torch.device("meta"):
            nets = [(config.network(arch, shape[0], classes), arch) for arch in case.archs]
        count, cost = COUNTS.get(name), cost_of(name, config, shape, classes)
        for net, arch in nets:
            prices_exactly(config, cost, arch, count and count(net, input_shape(arch, shape)))
        prices_in_whole_units(config, cost, case.archs)
        prices_many_as_each(config, cost, case.archs)


@contextlib.contextmanager
def in_float64() -> Iterator[None]:
    """Make what is made inside in float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def supernet_of(config: SpaceConfig, shape: Shape, classes: int) -> Supernet:
    """Return a supernet with the weights of a seed."""
    torch.manual_seed(0)
    return config.supernet(shape[0], classes)


def case_of(config: SpaceConfig, net: Supernet, shape: Shape, classes: int, count: int = 4) -> Case:
    """Return the case of a supernet. count: of architectures."""
    net.zero_grad(set_to_none=True)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    archs = [config.space.sample(rng) for _ in range(count)]
    return Case(config, net, torch.randn(3, *shape), classes, archs)


def is_written(case: Case) -> None:
    """Check that it is a frozen dataclass, and that its architectures can be written, read and drawn."""
    config, name = case.config, type(case.config).__name__
    is_frozen(config)
    claim(
        type(config)(**dataclasses.asdict(config)) == config,  # type: ignore[call-overload]
        f"{name} of its own settings is another one",
    )
    claim(config.space == config.space, f"{name}.space is another one each time")
    claim(config.space.name, f"{name}.space has no name")
    for arch in case.archs:
        claim(config.space.parse(config.space.format(arch)) == arch, f"{arch} is another one after it was written")
        claim(isinstance(config.draw(arch), str), f"{name}.draw returns no text")


def extracts_what_it_computes(case: Case) -> None:
    """Check that an extracted network computes what the supernet does at one-hot gates."""
    if not getattr(case.net, "inherits_weights", True):
        return  # it interpolates, so that an architecture has no weights of its own in it
    for arch in case.archs:
        plain, gates = case.net.extract(arch).train(), one_hot(case.config.space, arch)
        close(plain(case.seen(arch)), case.net(case.x, gates), f"extract is not the supernet at {arch}", 1e-9, 1e-9)


def extracts_what_is_built(case: Case) -> None:
    """Check that an extracted network has the structure of the one that is built."""
    for arch in case.archs:
        extracted, built = case.net.extract(arch), case.network(arch)
        shapes = [{key: value.shape for key, value in n.state_dict().items()} for n in (extracted, built)]
        claim(
            shapes[0] == shapes[1], f"the weights of extract have other names or shapes than those of network: {arch}"
        )
        claim({p.dtype for p in extracted.parameters()} == {case.x.dtype}, f"extract changes the precision: {arch}")


def prunes_nothing_that_counts(case: Case) -> None:
    """Check that a pruned network computes the same."""
    for arch in case.archs[:3]:
        whole, pruned = (case.network(arch, prune=prune) for prune in (False, True))
        pruned.load_state_dict({key: whole.state_dict()[key] for key in pruned.state_dict()})
        images = case.seen(arch)
        for training in (True, False):
            found, wanted = (net.train(training)(images) for net in (pruned, whole))
            close(found, wanted, f"prune=True changes what {arch} computes", 1e-10, 1e-10)


def expects_what_is_counted(case: Case) -> None:
    """Check that the expected costs of one-hot gates are those that are counted on the extracted network."""
    costs = {name: cost_of(name, case.config, case.shape, case.classes) for name in COUNTS}
    for arch in case.archs:
        gates, plain = one_hot(case.config.space, arch), case.net.extract(arch)
        for name, cost in costs.items():
            told, counted = float(cost(gates)), COUNTS[name](plain, input_shape(arch, case.shape))
            claim(told == counted, f"{name} of {arch} are {counted}, and its gates cost {told}")


def teaches_what_is_active(case: Case) -> None:
    """Check that weights that an architecture lacks and the network holds get no gradient, not one of zero."""
    for arch in case.archs:
        case.net.zero_grad(set_to_none=True)
        gates = one_hot(case.config.space, arch)
        case.net(case.x, gates).pow(2).sum().backward()
        learning = {name: (p, p.grad) for name, p in case.net.named_parameters() if p.grad is not None}
        regions = {name: region(case.net, gates, name, p) for name, (p, _) in learning.items()}
        # a plain network may have more: what is chosen but unreachable, or a norm's scale that a supernet leaves out
        taught, own = sum(int(r.sum()) for r in regions.values()), params(case.net.extract(arch))
        claim(0 < taught <= own, f"{taught} weights get a gradient, {arch} has {own}")
        for name, (p, grad) in learning.items():
            claim(p.dim() != 4 or grad.abs().sum() > 0, f"the gradient of {name} is zero: it takes no part in {arch}")
            claim(not grad[~regions[name]].any(), f"entries of {name} that take no part get a gradient: {arch}")


def teaches_every_decision(case: Case) -> None:
    """Check that soft gates pass a gradient to every decision but the resolution, which is computed one at a time."""
    logits = scores(case.config)
    case.net(case.x, soft(case.config.space, logits)).pow(2).sum().backward()
    for name, count, row in zip(case.config.space.decisions, case.config.space.counts, _grad(logits), strict=True):
        claim(name == RESOLUTION or count == 1 or row.abs().sum() > 0, f"soft gates pass no gradient to {name}")


def probes_as_active_at_zero(case: Case) -> None:
    """Check that probed options get the gradient of active ones at weight zero.

    References:
        H. Cai et al., ProxylessNAS, ICLR 2019, arXiv:1812.00332, Appendix D: its exact form.
    """
    if isinstance(case.config, SizedSpace):
        return  # its sizes are computed at once
    logits = scores(case.config, seed=3)
    gates = all_paths(case.config.space, logits, torch.Generator().manual_seed(4))
    whole = {n: dataclasses.replace(g, active=tuple(range(len(g.weight))), probe=()) for n, g in gates.items()}
    outs = [case.net(case.x, each) for each in (gates, whole)]
    close(outs[0], outs[1], "probed options change what is computed", 1e-10, 1e-10)
    found, wanted = (torch.autograd.grad(out.pow(2).mean(), logits, retain_graph=True)[0] for out in outs)
    close(found, wanted, "probed options get another gradient than active ones of weight zero", 1e-8, 1e-12)
    claim((wanted.abs().sum(1) > 0).any(), "no decision gets a gradient from paths")


def passes_over_other_gates(case: Case) -> None:
    """Check that gates of decisions that are not its own change nothing."""
    gates = one_hot(case.config.space, case.archs[0])
    more = {**gates, "augmentation": next(iter(gates.values()))}
    same = torch.equal(case.net(case.x, more), case.net(case.x, gates))
    claim(same, "gates of a decision that is not its own change what is computed")


def is_exported(case: Case) -> None:
    """Check that torch.export reproduces an extracted network."""
    plain, images = case.net.extract(case.archs[0]).eval(), case.seen(case.archs[0])
    exported = torch.export.export(plain, (images,)).module()
    close(exported(images), plain(images), "what is exported computes something else", 1e-9, 1e-9)


CHECKS = (
    is_written,
    extracts_what_it_computes,
    extracts_what_is_built,
    prunes_nothing_that_counts,
    expects_what_is_counted,
    teaches_what_is_active,
    teaches_every_decision,
    probes_as_active_at_zero,
    passes_over_other_gates,
    is_exported,
)
"""All that is checked of a case."""


def prices_exactly(config: SpaceConfig, cost: Priced, arch: Arch, counted: int | None) -> None:
    """Check that gates, indices and the network itself, where it was counted, have one cost."""
    told = float(cost(one_hot(config.space, arch)))
    listed = cost.exact(config.space.indices(arch)[None]).tolist()
    claim(listed == [told], f"{arch} costs {told} by its gates and {listed[0]} by its indices")
    claim(counted is None or counted == told, f"{arch} costs {told} by its gates, and {counted} are counted")


def prices_in_whole_units(config: SpaceConfig, cost: Priced, archs: list[Arch]) -> None:
    """Check that costs are whole, and not below 0."""
    found = cost.exact(np.stack([config.space.indices(arch) for arch in archs]))
    claim((found >= 0).all(), f"a cost is below 0: {found.min()}")
    claim((found == np.round(found)).all(), "a cost is no whole number")


def prices_many_as_each(config: SpaceConfig, cost: Priced, archs: list[Arch]) -> None:
    """Check that many architectures at once cost what each does."""
    rows = np.stack([config.space.indices(arch) for arch in archs[:5]])
    each = [float(cost.exact(row[None])[0]) for row in rows]
    claim(
        cost.exact(rows).tolist() == each, "architectures that are priced together cost something else than each alone"
    )


def scores(config: SpaceConfig, seed: int | None = None) -> Tensor:
    """Return logits, (decisions, options), all alike or drawn; what is no option is minus infinity."""
    counts = config.space.counts
    logits = torch.zeros(len(counts), max(counts))
    if seed is not None:
        logits.normal_(generator=torch.Generator().manual_seed(seed))
    return logits.masked_fill(torch.arange(max(counts)) >= torch.tensor(counts)[:, None], -torch.inf).requires_grad_()


def region(net: Supernet, gates: Gates, name: str, p: Tensor) -> Tensor:
    """Return which entries of a parameter take part, a mask of its shape."""
    part = net.crops(gates).get(name, ())
    if isinstance(part, Tensor):
        return part
    mask = torch.zeros(p.shape, dtype=torch.bool)
    mask[part] = True
    return mask


def _grad(logits: Tensor) -> Tensor:
    if logits.grad is None:
        raise AssertionError("soft gates pass no gradient at all")
    return logits.grad
