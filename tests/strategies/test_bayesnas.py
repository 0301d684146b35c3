"""BayesNAS: its steps through the real network against the thesis's equations, its stages, and what it prunes."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from renascent.core.curvature import signed_factor
from renascent.core.dependencies import Graph
from renascent.core.errors import UserError
from renascent.core.gates import Gate
from renascent.core.protocols import Loss, Progress, Setup, Supernet, WeightRule
from renascent.core.space import Choice, Space, Subset
from renascent.nets.cells.darts import DartsCells
from renascent.nets.cells.dso import DSO
from renascent.nets.cells.pyramid import PyramidTree
from renascent.nets.toy import ToySpace
from renascent.strategies._stages import dependent, stage, switched
from renascent.strategies.bayesnas import BayesNAS
from renascent.tasks.images import ImageTask
from renascent.tasks.toy import ToyTask


def begun(cell, strategy, seed=None):
    """Return a search of cells in float64, its scales and zero switches random if a seed is given."""
    held = cell(strategy)
    extra = held.state.extra
    names = ("scales", "zeros", "scales_momentum", "zeros_momentum")
    extra |= {name: extra[name].double() for name in names}
    if seed is not None:
        rng = torch.Generator().manual_seed(seed)
        for name in names:
            extra[name] = torch.randn(extra[name].shape, generator=rng, dtype=torch.float64) * (
                extra[name.split("_")[0]] != 0
            )
        extra["omega"] = torch.rand(extra["omega"].shape, generator=rng, dtype=torch.float64)
        extra["scales"][0, 0, 2] = 0.0
    return held


@pytest.mark.parametrize("seed", range(2))
def test_a_joint_step_is_momentum_then_the_threshold_and_one_draw_of_curvature(cell, seed):
    strategy = BayesNAS(shrinkage=0.4, shrinkage_zero=0.2, scale_lr=0.05, scale_momentum=0.8)
    held = begun(cell, strategy, seed)
    s, extra = held.state, dict(held.state.extra)
    w, w0 = (extra[name].clone().requires_grad_() for name in ("scales", "zeros"))
    every = tuple(range(1, 5))  # the first is `none`
    gates = {name: Gate(w0[k, 0] * w[k, 0], every) for k, name in enumerate(s.space.decisions)}
    logits = s.net(held.val[0], gates)
    slopes = torch.autograd.grad(s.setup.task.loss(lambda *_: logits, held.val).loss, (w, w0), retain_graph=True)
    factor = signed_factor(logits, torch.Generator().manual_seed(5))
    drawn = [g**2 / len(logits) for g in torch.autograd.grad(logits, (w, w0), factor)]

    s.rng.manual_seed(5)
    strategy._scale_step(s, held.val, measures=True)
    for name, slope, lam, omega in zip(
        ("scales", "zeros"), slopes, (0.4, 0.2), (extra["omega"][:, None], extra["zero_omega"][:, None]), strict=True
    ):
        z = extra[name] - 0.05 * (0.8 * extra[f"{name}_momentum"] + slope)
        wanted = z.sign() * (z.abs() - 0.05 / (1 - 0.8) * lam * omega).clamp_min(0)
        wanted = wanted * extra["kept"][:, None] if name == "scales" else wanted
        torch.testing.assert_close(s.extra[name], wanted, rtol=1e-9, atol=1e-12)
    sums = torch.cat([d.flatten() for d in drawn])
    mask = torch.cat([extra["kept"].flatten(), torch.ones(3, dtype=torch.bool)])
    torch.testing.assert_close(s.extra["curvature_sum"] * mask, sums * mask, rtol=1e-9, atol=1e-15)


def test_pruning_is_equations_4_2_to_4_5(cell):
    """Three nodes: 0-1, 0-2 and 1-2, with a zero switch each, written out with the posterior variance."""
    strategy = BayesNAS(shrinkage=0.25)
    s = begun(cell, strategy).state
    names, rng = list(s.space.decisions), torch.Generator().manual_seed(0)
    w = torch.rand(3, 5, generator=rng, dtype=torch.float64) * s.extra["kept"]
    w0 = torch.tensor([0.9, 0.05, 0.8], dtype=torch.float64)
    h, h0 = torch.rand(3, 5, generator=rng, dtype=torch.float64), torch.rand(3, generator=rng, dtype=torch.float64)
    s.extra |= {"scales": w[:, None], "zeros": w0[:, None]}
    s.extra |= {"curvature_sum": 7 * torch.cat([h.flatten(), h0]), "curvature_draws": torch.tensor(7)}

    def own(value, curvature):
        c = 1 / (1 + curvature / 0.25)
        return abs(value) / math.sqrt(1 - c) if value else 0.0

    def series(*values):
        return 0.0 if 0.0 in values else 1 / sum(1 / v for v in values)

    t = {
        name: [series(own(float(w0[k]), float(h0[k])), own(float(w[k, o]), float(h[k, o]))) for o in range(5)]
        for k, name in enumerate(names)
    }
    wanted = dict(t) | {"1-2": [series(sum(t["0-1"]), each) for each in t["1-2"]]}
    metrics = strategy._prune(s)
    found = dict(zip(names, s.extra["variance"], strict=True))
    for name in names:
        torch.testing.assert_close(found[name], torch.tensor(wanted[name], dtype=torch.float64), rtol=1e-12, atol=1e-15)
    bound = 1 / (2 * math.pi * math.e)
    left = [[o for o in range(5) if wanted[name][o] > bound] for name in names]
    assert [row.nonzero()[:, 0].tolist() for row in s.extra["kept"]] == left
    assert 0 < sum(map(len, left)) < 12
    assert float(metrics["kept"]) == sum(map(len, left))
    # scales begin at 1 again, of what is kept
    assert torch.equal(s.extra["scales"][:, 0], s.extra["kept"].float())
    assert not s.extra["scales_momentum"].any()
    arch = strategy.derive(s, None)
    options = s.space.options(names[0])
    for name, row in zip(names, left, strict=True):
        assert arch[name] == (options[max(row, key=wanted[name].__getitem__)] if row else "none")


def test_stages_follow_from_progress():
    rows = [stage(Progress(k, 20, 5), 2, 0.5, 3) for k in range(20)]
    assert [r.joint for r in rows] == ([False] * 5 + [True] * 5) * 2
    assert [k for k, r in enumerate(rows) if r.measures] == [7, 8, 9, 17, 18, 19]
    assert [k for k, r in enumerate(rows) if r.ends] == [9, 19]
    # never more than an epoch, and one step at least
    assert sum(stage(Progress(k, 20, 5), 1, 0.0, 99).measures for k in range(20)) == 5
    assert tuple(stage(Progress(0, 1, 1), 1, 0.9, 200)) == (True, True, True)
    for steps, iterations in ((7, 3), (11, 4)):
        assert sum(stage(Progress(k, steps, 1), iterations, 0.5, 9).ends for k in range(steps)) == iterations


def test_plain_steps_leave_scales_alone_and_what_is_pruned_stays_pruned(cell, streams):
    strategy, log = BayesNAS(iterations=2, shrinkage=0.333, shrinkage_zero=1e-6, scale_lr=0.15), []
    held = begun(cell, strategy)
    s, kept = held.state, []
    for k in range(8):
        strategy.step(s, streams(held, log), Progress(k, 8, 4))
        s.extra |= {name: s.extra[name].double() for name in ("scales", "zeros", "scales_momentum", "zeros_momentum")}
        kept.append(s.extra["kept"])
        if k % 4 < 2 or k % 4 == 3:
            assert torch.equal(s.extra["scales"][:, 0] != 0, s.extra["kept"])
            assert bool((s.extra["scales"][s.extra["scales"] != 0] == 1).all())
    assert " ".join(log) == " ".join(["train", "train", "train val", "train val"] * 2)
    assert torch.equal(kept[2], kept[0])
    assert int(kept[3].sum()) < int(kept[2].sum())
    assert not bool((kept[7] & ~kept[3]).any())
    assert "curvature_sum" not in s.extra


def test_stopped_anywhere_it_goes_on_as_it_was(watched):
    """In every stage and at their changes; the curvature's sum is part of the state."""
    strategy = BayesNAS(iterations=2)
    whole = watched(strategy)
    data = whole.data
    for k in range(8):
        strategy.step(whole.state, data, Progress(k, 8, 4))
    broken = watched(strategy)
    data = broken.data
    summed = 0
    for k in range(8):
        strategy.step(broken.state, data, Progress(k, 8, 4))
        saved = {name: value.clone() for name, value in broken.state.extra.items()}
        summed += "curvature_sum" in saved
        tree = broken.state.state_dict() | {"extra": saved}
        fresh = watched(strategy)
        fresh.state.load_state_dict(tree)
        broken = fresh
    assert summed == 2
    for name, value in whole.state.extra.items():
        assert torch.equal(value, broken.state.extra[name]), name
    assert strategy.derive(whole.state, None) == strategy.derive(broken.state, None)


class Shared(Supernet):
    """One decision of three channels that two places share, each with scales of its own; every option is an edge."""

    space = Space({"a": Subset(("x", "y", "z")), "b": Choice(("x", "y", "z"))})

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.ModuleList(nn.Linear(48, 4) for _ in range(3)), nn.Linear(48, 4)
        self.seen = []

    def places(self, decision):
        return 2 if decision == "a" else 1

    @property
    def graphs(self):
        edges = {"a": [(k, "out") for k in range(3)], "b": [("in", "out")] * 3}
        return (Graph(edges, frozenset([0, 1, 2, "in"]), frozenset(["out"])),)

    def forward(self, x, gates):
        x, gate = x.flatten(1), gates["a"]
        self.seen.append((tuple(gate.weight.shape), tuple(gates["b"].weight.shape), gate.active))
        total = sum(gates["b"].weight[k] * self.second(x) for k in gates["b"].active)
        return total + sum(gate.weight[p, k] * self.first[k](x) for p in range(2) for k in gate.active)

    def extract(self, arch):
        raise NotImplementedError


def test_a_scale_for_each_place_and_a_group_for_each_option():
    strategy, net, task = BayesNAS(shrinkage=0.5), Shared(), ToyTask(count_each=64)
    state = strategy.init(Setup(net, task, net.space, WeightRule(lr=0.1)))
    assert state.extra["scales"].sum((1, 2)).tolist() == [6.0, 3.0]
    assert switched(net).tolist() == [False, True]
    data = task.streams(seed=0, batch=16)
    for k in range(3):
        strategy.step(state, data, Progress(k, 8, 4))
    strategy._scale_step(state, data.val.next(), measures=True)
    assert {row[:2] for row in net.seen} == {((2, 3), (3,))}
    assert state.extra["zeros"][0].tolist() == [1.0, 1.0], "an edge of one operation has no zero switch"
    assert state.extra["zeros"][1, 0] != 1.0
    assert float(state.extra["strength"][0, 1]) == pytest.approx(float(state.extra["scales"][0, :, 1].norm()))
    assert strategy.derive(state, None)["a"] == ("x", "y", "z")


def test_edges_that_lead_nowhere_are_counted_and_removed():
    net = Shared()
    net.space = Space({"a": Subset(("x", "y", "z")), "b": Subset(("x", "y", "z"))})
    edges = {"a": [(0, 1), (0, 2), None], "b": [(1, 3), (2, 3), (0, 9)]}
    type(net).graphs, given = (Graph(edges, frozenset([0]), frozenset([3])),), Shared.graphs
    try:
        strengths = torch.tensor([[0.05, 1.0, 9.0], [1.0, 1.0, 1.0]], dtype=torch.float64)
        kept = torch.ones(2, 3, dtype=torch.bool)
        variance, left, loose = dependent(net, kept, strengths, torch.full((2,), math.inf))
        assert variance.tolist()[1] == pytest.approx([1 / 21, 0.5, 1.0])
        assert left.tolist() == [[False, True, False], [False, True, False]]
        assert loose == 1, "the one to node 9, which nobody reads"
        with pytest.raises(UserError, match="give a smaller `shrinkage`"):
            dependent(net, kept, strengths * 0, torch.full((2,), math.inf))
    finally:
        type(net).graphs = given


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shrinkage": 0}, "shrinkage is 0"),
        ({"shrinkage": -1.0}, "shrinkage is -1"),
        ({"warmup": 1.0}, "warmup is 1"),
        ({"iterations": 0}, "iterations is 0"),
        ({"curvature_draws": 0}, "curvature_draws is 0"),
    ],
)
def test_what_makes_no_sense_is_refused(settings, message):
    with pytest.raises(UserError, match=message):
        BayesNAS(**settings)


def test_more_iterations_than_epochs_are_one_line(watched):
    """Before the first step, as all that a search knows ahead."""
    setup = dataclasses.replace(watched(BayesNAS()).state.setup, epochs=2)
    assert BayesNAS(iterations=2).init(setup).setup is setup
    with pytest.raises(UserError, match="`iterations` is 3 and `epochs` is 2: give at most one iteration an epoch"):
        BayesNAS(iterations=3).init(setup)


class OneNumber(ToyTask):
    """A task whose networks give one number for each image."""

    def loss(self, net, batch, gates=None, *, smoothing=0.0):
        inputs, targets = batch
        return Loss((net(inputs, gates).sum(1) - targets).pow(2).mean(), torch.tensor(0.0))

    def __init__(self):
        super().__init__(rows=2, count_each=8)
        self.classes = 1


def test_a_loss_that_is_no_classification_is_refused_ahead_of_the_search(watched):
    setup = dataclasses.replace(watched(BayesNAS()).state.setup, task=OneNumber(), net=ToySpace(rows=2).supernet(3, 1))
    with pytest.raises(UserError, match="curvature is that of a classification") as e:
        BayesNAS().init(setup)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    "config",
    [
        DSO(channels=4, blocks=(1,), levels=1),
        DartsCells(channels=2, layers_count=3, nodes=1, decisions="subset"),
        PyramidTree(blocks=1, final_channels=68, tree="A"),
    ],
    ids=lambda config: config.space.name,
)
def test_curvature_by_recursion_is_another_and_of_the_same_scales(config):
    """A scale at zero has one too, by its probe; what has none by one has none by the other."""
    images = torch.randint(256, (24, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    task, found = ImageTask.from_tensors(images, torch.arange(24) % 3), []
    torch.manual_seed(0)
    net = config.supernet(1, 3)
    for recursive in (False, True):
        strategy = BayesNAS(recursive=recursive)
        s = strategy.init(Setup(net, task, config.space))
        s.extra["scales"][0, 0, 0] = 0.0
        for _ in range(2):
            strategy._scale_step(s, task.batches("val", 4)[0], measures=True)
        found.append(s.extra["curvature_sum"][: s.extra["scales"].numel()])
    assert torch.equal(found[0] > 0, found[1] > 0)
    assert bool((found[0] > 0).any()) and not torch.allclose(found[0], found[1], rtol=0.1)


def test_a_network_without_rules_for_the_recursion_is_refused_by_name(cell):
    with pytest.raises(UserError, match="' has no rule for the curvature of the thesis: take the default"):
        cell(BayesNAS(recursive=True))
