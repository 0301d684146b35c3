"""ProxylessNAS by gradient: Eq. 4 through the real network against autograd, and what an update leaves alone."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from renascent.core.errors import UserError
from renascent.core.gates import Gate, all_paths, one_hot, soft, two_paths
from renascent.core.protocols import Goal, Progress, Setup, State, Supernet, WeightRule
from renascent.core.space import Choice, Integer, Space, Subset
from renascent.costs.counts import Additive, cost_of
from renascent.loops.run import CLOCK_FIELDS, Run, read_events
from renascent.loops.share import begin, share
from renascent.nets.cells.mixed import MixedOp
from renascent.nets.toy import ToySpace
from renascent.strategies._bilevel import Logits, arch_step
from renascent.strategies._goals import expected_usage
from renascent.strategies.proxyless import Proxyless
from renascent.strategies.proxyless_reinforce import ProxylessReinforce
from renascent.tasks.toy import ToyTask

LOGITS = (Proxyless(), Proxyless(paths=0))
"""Both forms of the update by gradient."""


def goals_of(cell, limit: float) -> tuple[Goal, ...]:
    """Return a bound on multiply-accumulates, so small that its term has something to say."""
    cost = cost_of("macs", cell.state.net.config, (1, 8, 8), 3)
    return (Goal("macs", limit, cost, cost.exact),)


def table_of(goal: Goal) -> torch.Tensor:
    return torch.from_numpy(goal.cost.table)


def slopes_of_gates(cell, gates) -> torch.Tensor:
    """Return dL/dg_j (decisions, options), with every option of nonzero or probed weight computed outright."""
    s, weights = cell.state, torch.stack([g.weight.detach() for g in gates.values()]).requires_grad_()
    taking = [tuple(sorted((*g.active, *g.probe))) for g in gates.values()]
    whole = {name: Gate(row, active) for name, row, active in zip(gates, weights, taking, strict=True)}
    return torch.autograd.grad(s.setup.task.loss(s.net, cell.val, whole).loss, weights)[0]


@pytest.mark.parametrize("weight", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_two_paths_learn_as_a_softmax_of_two_whose_outputs_are_both_computed(cell, seed, weight):
    """DL/dalpha_a = q_a q_b (g_a - g_b + weight (F_a - F_b) / limit), minus that for b, and 0 for all others."""
    strategy = Proxyless(cost_weight=weight)
    held = cell(strategy)
    s = held.state
    goals = goals_of(held, 40_000.0) if weight else ()
    s.setup = dataclasses.replace(s.setup, goals=goals)
    logits = s.policy.logits.detach().clone()
    gates = two_paths(s.space, logits, torch.Generator().manual_seed(seed))
    g = slopes_of_gates(held, gates)
    if goals:
        g = g + weight * table_of(goals[0]) / goals[0].limit
    wanted = torch.zeros_like(logits)
    for row, gate in enumerate(gates.values()):
        a, b = *gate.active, *gate.probe
        ratio = float(torch.exp(logits[row, a] - logits[row, b]))
        q = ratio / (1 + ratio)
        wanted[row, a] = q * (1 - q) * (g[row, a] - g[row, b])
        wanted[row, b] = -wanted[row, a]
    s.rng.manual_seed(seed)
    metrics = strategy._arch_step(s, held.val)
    torch.testing.assert_close(s.policy.logits.grad, wanted, rtol=1e-12, atol=1e-12)
    assert wanted.abs().max() > 1e-4
    assert (s.policy.logits.grad != 0).sum(1).max() <= 2
    assert set(metrics) == {"val_loss", "val_score", *(["cost_macs"] if goals else [])}


@pytest.mark.parametrize("weight", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_the_exact_form_learns_from_all_gates_and_rescales_nothing(cell, seed, weight):
    """Sum over j of (g_j + weight F_j / limit) p_j (delta_ij - p_i), every g_j computed outright: Eqs 4, 7 and 9."""
    strategy = Proxyless(paths=0, cost_weight=weight, arch_lr=0.02)
    held = cell(strategy)
    s = held.state
    goals = goals_of(held, 40_000.0) if weight else ()
    s.setup = dataclasses.replace(s.setup, goals=goals)
    logits = s.policy.logits.detach().clone()
    gates = all_paths(s.space, logits, torch.Generator().manual_seed(seed))
    g = slopes_of_gates(held, gates)
    if goals:
        g = g + weight * table_of(goals[0]) / goals[0].limit
    p = logits.softmax(-1)
    wanted = torch.stack([sum(g[:, j] * p[:, j] * (float(i == j) - p[:, i]) for j in range(5)) for i in range(5)], 1)
    s.rng.manual_seed(seed)
    strategy._arch_step(s, held.val)
    torch.testing.assert_close(s.policy.logits.grad, wanted, rtol=1e-8, atol=1e-12)
    # the first step of Adam without momentum is one learning rate along the sign, and nothing is added to it
    large = wanted.abs() > 1e-5
    torch.testing.assert_close(
        s.policy.logits.detach()[large], (logits - 0.02 * wanted.sign())[large], rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("strategy", LOGITS, ids=["two", "all"])
def test_the_architecture_step_has_the_loss_and_the_seeds_gates_of_one_path(cell, strategy):
    held = cell(strategy)
    s = held.state
    s.rng.manual_seed(7)
    gates = (two_paths if strategy.paths else all_paths)(s.space, s.policy(), s.rng)
    arch = s.space.arch({name: s.space.options(name)[gate.active[0]] for name, gate in gates.items()})
    wanted = s.setup.task.loss(s.net, held.val, one_hot(s.space, arch)).loss.detach()
    s.rng.manual_seed(7)
    before = [p.detach().clone() for p in s.net.parameters()]
    torch.testing.assert_close(strategy._arch_step(s, held.val)["val_loss"], wanted, rtol=1e-12, atol=1e-12)
    assert all(torch.equal(p, old) for p, old in zip(s.net.parameters(), before, strict=True))
    assert all(p.requires_grad for p in s.net.parameters())


# --- what a step leaves alone

UNEVEN = Space({"a": Choice(tuple("vwxyz")), "b": Choice(("p", "q")), "c": Choice(("one",)), "d": Choice(tuple("stu"))})


class Given(Supernet):
    """A network whose loss has the slopes that a test gives its gates."""

    space = UNEVEN

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.slopes = {}

    def forward(self, x, gates):
        parts = [(gate.weight * self.slopes[name]).sum() for name, gate in gates.items()]
        return x * (self.weight + torch.stack(parts).sum())

    def extract(self, arch):
        raise NotImplementedError


class Straight(ToyTask):
    """A task whose loss is what the network returns."""

    def loss(self, net, batch, gates=None, *, smoothing=0.0):
        out = net(torch.ones((), dtype=torch.float64), gates)
        return super().loss(lambda x, g: torch.zeros(len(x), 4), batch, gates)._replace(loss=out)


def given(strategy, goals=()) -> State[Logits]:
    s = strategy.init(Setup(Given(), Straight(count_each=4), UNEVEN, seed=1, goals=goals))
    s.policy.double()
    with torch.no_grad():
        s.policy.logits.normal_(generator=torch.Generator().manual_seed(2))
    return s


def test_in_100_steps_what_was_not_drawn_keeps_its_probability():
    """Losses and costs from a seed: each step moves an undrawn probability by 1e-12 at most, and rows sum to one."""
    strategy, rng = Proxyless(arch_lr=0.05), torch.Generator().manual_seed(0)
    costs = torch.rand(4, 5, generator=rng, dtype=torch.float64).numpy() * 10
    cost = Additive(UNEVEN, 3.0, costs)
    s = given(strategy, goals=(Goal("latency_ms", 7.0, cost, cost.exact),))
    batch = s.setup.task.batches("val", 4)[0]
    moved = 0.0
    for _ in range(100):
        s.net.slopes = {
            n: torch.randn(k, generator=rng, dtype=torch.float64)
            for n, k in zip(UNEVEN.decisions, UNEVEN.counts, strict=True)
        }
        before, drawn = s.policy().detach().softmax(-1), s.rng.get_state()
        strategy._arch_step(s, batch)
        after = s.policy().detach().softmax(-1)
        s.rng.set_state(drawn)
        logits = before.log()
        for row, gate in enumerate(two_paths(UNEVEN, logits, s.rng).values()):
            pair = [*gate.active, *gate.probe]
            others = [k for k in range(5) if k not in pair]
            assert (after[row] - before[row])[others].abs().max() <= 1e-12
            assert abs(float(after[row].sum()) - 1) <= 1e-12
            assert abs(float((after - before)[row, pair].sum())) <= 1e-12
            if len(pair) == 2:
                moved = max(moved, float((after - before)[row, pair].abs().max()))
    assert moved > 1e-3
    assert after[2].tolist() == [1, 0, 0, 0, 0]


def test_with_momentum_they_would_not():
    """So beta1 is 0: the check above sees what it is there to see."""
    strategy, rng = Proxyless(arch_lr=0.05), torch.Generator().manual_seed(0)
    s = given(strategy)
    assert s.policy_optimiser.defaults["betas"] == (0.0, 0.999)
    assert s.policy_optimiser.defaults["weight_decay"] == 0
    s.policy_optimiser.param_groups[0]["betas"] = (0.9, 0.999)
    batch, most = s.setup.task.batches("val", 4)[0], 0.0
    for _ in range(20):
        s.net.slopes = {
            n: torch.randn(k, generator=rng, dtype=torch.float64)
            for n, k in zip(UNEVEN.decisions, UNEVEN.counts, strict=True)
        }
        before, drawn = s.policy().detach(), s.rng.get_state()
        strategy._arch_step(s, batch)
        after = s.policy().detach().softmax(-1)
        s.rng.set_state(drawn)
        gate = two_paths(UNEVEN, before, s.rng)["a"]
        others = [k for k in range(5) if k not in (*gate.active, *gate.probe)]
        most = max(most, float((after - before.softmax(-1))[0, others].abs().max()))
    assert most > 1e-5


@pytest.mark.parametrize("strategy", LOGITS, ids=["two", "all"])
def test_expected_cost_of_a_step_is_by_its_definition(strategy):
    """E = base + sum_i sum_j p_j F(o_j), of all p or of the pair's; dE/dp_j is the table's entry; exact if one-hot."""
    table = torch.rand(4, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64).numpy()
    cost = Additive(UNEVEN, 2.0, table)
    goal = Goal("latency_ms", 4.0, cost, cost.exact)
    s = given(strategy, goals=(goal,))
    s.net.slopes = {
        name: torch.zeros(k, dtype=torch.float64) for name, k in zip(UNEVEN.decisions, UNEVEN.counts, strict=True)
    }
    logits, drawn = s.policy().detach(), s.rng.get_state()
    found = float(strategy._arch_step(s, s.setup.task.batches("val", 4)[0])["cost_latency_ms"])
    s.rng.set_state(drawn)
    wanted = 2.0
    gates = (two_paths if strategy.paths else all_paths)(UNEVEN, logits, s.rng)
    for row, gate in enumerate(gates.values()):
        taking = [*gate.active, *gate.probe]
        total = sum(float(logits[row, k].exp()) for k in taking)
        wanted += sum(float(logits[row, k].exp()) / total * table[row, k] for k in taking)
    assert found == pytest.approx(wanted, rel=1e-12)
    p = {name: row.requires_grad_() for name, row in s.policy.probabilities().items()}
    usage = expected_usage((goal,), {name: Gate(row, tuple(range(len(row)))) for name, row in p.items()})
    for (name, row), entries in zip(p.items(), table, strict=True):
        (slope,) = torch.autograd.grad(usage.sum() * goal.limit, row, retain_graph=True)
        assert slope.tolist() == pytest.approx(entries[: len(row)].tolist(), rel=1e-12), name
    arch = UNEVEN.sample(np.random.default_rng(0))
    assert float(expected_usage((goal,), one_hot(UNEVEN, arch))[0]) * 4.0 == pytest.approx(
        float(cost.exact(UNEVEN.indices(arch)[None])[0]), rel=1e-12
    )


# --- the schedule


@pytest.mark.parametrize("strategy", LOGITS, ids=["two", "all"])
def test_weight_steps_train_one_path_and_architecture_steps_open_one(watched, strategy):
    held = watched(strategy)
    data = held.data
    for k in range(12):
        strategy.step(held.state, data, Progress(k, 12, 8))
    assert all(len(option) == 1 for picks, _, _ in held.seen for option in picks)
    assert [frozen for _, frozen, _ in held.seen] == [False, True] * 12
    weights, archs = held.seen[::2], held.seen[1::2]
    assert any(w[0] != a[0] for w, a in zip(weights, archs, strict=True))


def test_a_weight_step_leaves_the_logits_and_the_closed_paths_alone(watched):
    strategy = Proxyless(policy_warmup=1.0)
    held = watched(strategy)
    logits = held.state.policy.logits.detach().clone()
    weights = {name: p.detach().clone() for name, p in held.state.net.named_parameters()}
    assert set(strategy.step(held.state, held.data, Progress(0, 12, 8))) == {"train_loss", "train_score"}
    assert torch.equal(held.state.policy.logits, logits)
    ((picks, _, _),) = held.seen
    changed = {name for name, p in held.state.net.named_parameters() if not torch.equal(p, weights[name])}
    assert changed
    assert {tuple(name.split(".")[1:4]) for name in changed} <= {
        (f"row{row}", "options", str(k)) for row, (k,) in enumerate(picks)
    }


def test_architecture_steps_come_every_so_many_after_the_warm_up(watched):
    strategy = Proxyless(policy_warmup=0.5, arch_every=2)
    held = watched(strategy)
    data = held.data
    learnt = ["val_loss" in strategy.step(held.state, data, Progress(k, 11, 8)) for k in range(11)]
    assert learnt == [False] * 5 + [True, False] * 3


def test_where_one_option_is_all_there_is_nothing_is_learnt():
    config, task = ToySpace(rows=2, channels=1), ToyTask(rows=2, channels=1, count_each=64)
    for strategy in LOGITS:
        s = strategy.init(Setup(config.supernet(1, task.classes), task, config.space, seed=3))
        before = s.policy.logits.detach().clone()
        strategy.step(s, task.streams(seed=0, batch=8), Progress(0, 4, 4))
        assert torch.equal(s.policy.logits, before)


# --- a network with statistics of its own


class Kept(Supernet):
    """Options with running statistics and dropout, as a user's own may have them."""

    space = Space({"op": Choice(("one", "two", "three"))})

    def __init__(self):
        super().__init__()
        options = [nn.Sequential(nn.Linear(48, 6), nn.BatchNorm1d(6), nn.Dropout(0.3)) for _ in range(3)]
        self.mixed, self.last = MixedOp(options), nn.Linear(6, 4)

    def forward(self, x, gates):
        return self.last(self.mixed(x.flatten(1), gates["op"]))

    def extract(self, arch):
        raise NotImplementedError


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("strategy", LOGITS, ids=["two", "all"])
def test_statistics_and_dropout_are_those_of_a_step_without_probes(strategy, training):
    torch.manual_seed(0)
    task = ToyTask(count_each=64)
    s = strategy.init(Setup(Kept(), task, Kept.space, seed=0))
    without = copy.deepcopy(s.net)
    batch, left = task.batches("val", 16)[0], []
    for net, probes in ((s.net, True), (without, False)):
        s.setup = dataclasses.replace(s.setup, net=net.train(training))
        s.rng.manual_seed(0)
        gates = (two_paths if strategy.paths else all_paths)(s.space, s.policy(), s.rng)
        torch.manual_seed(5)
        arch_step(s, batch, gates if probes else {n: dataclasses.replace(g, probe=()) for n, g in gates.items()})
        left.append((torch.get_rng_state(), dict(net.named_buffers())))
    assert torch.equal(left[0][0], left[1][0])
    assert any(value.any() for value in left[0][1].values())
    assert all(torch.equal(value, left[1][1][name]) for name, value in left[0][1].items())


# --- whole searches


def searched(strategy, folder, resume=False):
    torch.manual_seed(0)
    task, config = ToyTask(count_each=64), ToySpace()
    net = config.supernet(task.channels, task.classes)
    run = Run.start(folder, {}, resume=resume)
    return share(strategy, Setup(net, task, config.space, seed=0), epochs=3, batch=16, run=run)


class Killed(Exception):
    pass


def test_the_exact_form_killed_and_resumed_is_the_same(tmp_path, monkeypatch):
    """The conformance suite does this to the defaults of every strategy."""
    strategy = Proxyless(paths=0, arch_lr=0.1, policy_warmup=0.25)
    whole, step = searched(strategy, tmp_path / "whole"), Proxyless.step
    for at in sorted(np.random.default_rng(3).choice(12, 3, replace=False).tolist()):

        def dying(self, s, data, t, at=at):
            if t.step == at:
                raise Killed
            return step(self, s, data, t)

        monkeypatch.setattr(Proxyless, "step", dying)
        with pytest.raises(Killed):
            searched(strategy, tmp_path / "killed", resume=True)
    monkeypatch.setattr(Proxyless, "step", step)
    again = searched(strategy, tmp_path / "killed", resume=True)
    assert (again.arch, again.score) == (whole.arch, whole.score)
    events = [
        [{k: v for k, v in event.items() if k not in CLOCK_FIELDS} for event in read_events(tmp_path / name)]
        for name in ("whole", "killed")
    ]
    assert events[0] == events[1]
    assert torch.equal(again.state.policy.logits, whole.state.policy.logits)


def test_the_exact_form_finds_what_was_planted(tmp_path):
    torch.manual_seed(0)
    task, config = ToyTask(seed=0), ToySpace()
    setup = Setup(config.supernet(task.channels, task.classes), task, config.space, WeightRule(lr=0.1), seed=0)
    strategy = Proxyless(paths=0, arch_lr=0.1, policy_warmup=0.5)
    found = share(strategy, setup, epochs=10, batch=64, run=Run.start(tmp_path / "r", {}))
    assert found.arch == {f"row{row}": f"channel{k}" for row, k in enumerate(task.planted)}


def test_the_settings_of_the_paper_and_of_its_authors():
    assert Proxyless() == Proxyless(paths=2, arch_lr="auto", arch_every=1, policy_warmup=0.0, cost_weight=0.1)


@pytest.mark.parametrize(
    ("about", "line"),
    [
        ({"paths": 1}, "paths is 1, and one path has nothing to be compared with: give 2, or 0 for all"),
        ({"paths": 3}, "paths is 3: give a number from 0 to 2"),
        ({"paths": -1}, "paths is -1: give a number from 0 to 2"),
        ({"arch_every": 0}, "arch_every is 0: give a number of at least 1"),
        ({"cost_weight": -0.1}, "cost_weight is -0.1: give a number of at least 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(about, line):
    with pytest.raises(UserError) as caught:
        Proxyless(**about)
    assert str(caught.value) == line


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (Space({"a": Subset(("x", "y"))}), "decision 'a' is a Subset, and Proxyless(Reinforce)? takes one option"),
        (Space({"resolution": Integer((8, 16))}), "Proxyless(Reinforce)? does not search 'resolution'"),
    ],
)
@pytest.mark.parametrize("strategy", [Proxyless(), ProxylessReinforce()])
def test_spaces_it_cannot_search_are_refused(strategy, space, words):
    with pytest.raises(UserError, match=words):
        begin(strategy, Setup(Given(), ToyTask(count_each=4), space))


def test_soft_gates_of_masked_logits_are_those_of_the_pair_alone():
    logits = torch.tensor([[0.5, -torch.inf, 1.5]], requires_grad=True)
    (gate,) = soft(Space({"a": Choice(("x", "y", "z"))}), logits).values()
    (slope,) = torch.autograd.grad(gate.weight @ torch.tensor([1.0, 7.0, 0.0]), logits)
    q = torch.tensor([0.5, 1.5]).softmax(0)
    torch.testing.assert_close(slope, torch.tensor([[q[0] * q[1], 0.0, -q[0] * q[1]]]))
