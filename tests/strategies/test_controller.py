"""The controller: a distribution over all architectures, by enumeration."""

import itertools

import pytest
import torch
from scipy.stats import chisquare

from renascent.core.space import Choice, Integer, Kept, Space
from renascent.strategies._controller import Controller

SPACE = Space({"a": Choice(("x", "y", "z")), "b": Integer((8, 16)), "c": Choice(("p", "q"))})
ALL = torch.tensor(list(itertools.product(range(3), range(2), range(2))))


def controller(space=SPACE, seed=0) -> Controller:
    """Return a controller with weights large enough that decisions depend on each other."""
    rng = torch.Generator().manual_seed(seed)
    policy = Controller(space, rng, hidden=6, layers=2, tanh_constant=2.5, temperature=1.0).double()
    with torch.no_grad():
        for p in policy.parameters():
            p.mul_(15)
    return policy


def test_probabilities_sum_to_one_over_all_architectures():
    probability = controller()(picks=ALL).log_probability.exp()
    assert float(probability.sum().detach()) == pytest.approx(1, rel=1e-12)
    assert probability.max() > 2 * probability.min()


def test_decisions_depend_on_those_before():
    probabilities = controller()(picks=ALL).probabilities.detach()
    assert torch.equal(probabilities[0, 0], probabilities[-1, 0]), "the first has none before it"
    assert (probabilities[0, 2] - probabilities[-1, 2]).abs().max() > 1e-3


def test_the_log_probability_is_that_of_the_product():
    draw = controller()(picks=ALL)
    taken = draw.probabilities.gather(2, ALL[:, :, None])[:, :, 0]
    torch.testing.assert_close(draw.log_probability, taken.log().sum(1), rtol=1e-10, atol=1e-12)


def test_the_mean_entropy_is_that_of_the_distribution():
    draw = controller()(picks=ALL)
    p = draw.log_probability.exp()
    torch.testing.assert_close((p * draw.entropy).sum(), -(p * draw.log_probability).sum(), rtol=1e-10, atol=1e-12)


def test_draws_are_by_those_probabilities():
    policy = controller()
    probabilities = policy(picks=ALL).log_probability.exp().detach()
    with torch.no_grad():
        picks = policy(5000, torch.Generator().manual_seed(1)).picks
    index = (picks * torch.tensor([4, 2, 1])).sum(1)
    assert chisquare(torch.bincount(index, minlength=12).numpy(), (probabilities * 5000).numpy()).pvalue > 1e-3


def test_reading_a_draw_off_again_gives_the_same_numbers():
    policy = controller()
    draw = policy(20, torch.Generator().manual_seed(2))
    again = policy(picks=draw.picks)
    for one, two in zip(draw, again, strict=True):
        torch.testing.assert_close(one, two)


def test_marginals_are_those_of_the_enumeration():
    policy = controller()
    probabilities = policy(picks=ALL).log_probability.exp().detach()
    found = policy.marginals(4000)
    assert list(found) == ["a", "b", "c"]
    for column, (row, count) in enumerate(zip(found.values(), (3, 2, 2), strict=True)):
        exact = [float(probabilities[ALL[:, column] == k].sum()) for k in range(count)]
        assert row.tolist() == pytest.approx(exact, abs=0.02)
        assert float(row.sum()) == pytest.approx(1)
    assert all(torch.equal(a, b) for a, b in zip(policy.marginals().values(), policy.marginals().values(), strict=True))


def test_the_logits_are_bounded():
    policy = controller()
    with torch.no_grad():
        for p in policy.parameters():
            p.mul_(100)
    probabilities = policy(picks=ALL).probabilities[:, 0]
    assert float((probabilities.max() / probabilities.min()).log().detach()) <= 5.0 + 1e-9


def test_architectures():
    policy = controller()
    assert {policy.arch(row) for row in ALL} == set(SPACE)
    assert policy.arch(torch.tensor([2, 0, 1])) == SPACE.arch({"a": "z", "b": 8, "c": "q"})


def test_what_breaks_a_rule_is_made_legal_by_what_is_more_likely():
    """Edges are drawn among those that were picked, in proportion to the probability of what was picked of each."""
    edges = ("a", "b", "c")
    space = Space({name: Choice(("none", "x", "y")) for name in edges}, rules=(Kept(edges, 1),))
    policy = controller(space)
    rows = torch.tensor(list(itertools.product(range(3), repeat=3)))
    for row in rows:
        found = space.indices(policy.arch(row))
        assert policy.arch(row) == policy.arch(row)
        (kept,) = found.nonzero()[0]
        assert not row.any() or found[kept] == row[kept]
    counts = [0, 0, 0]
    many = Space(
        {f"{n}{k}": d for k in range(40) for n, d in space.decisions.items()},
        rules=tuple(Kept(tuple(f"{n}{k}" for n in edges), 1) for k in range(40)),
    )
    policy = controller(many)
    with torch.no_grad():
        for p in policy.parameters():
            p.zero_()  # all are equally likely: no edge is preferred for its place
    for seed in range(5):
        row = torch.randint(1, 3, (120,), generator=torch.Generator().manual_seed(seed))
        kept = many.indices(policy.arch(row)).reshape(40, 3).nonzero()[1]
        counts = [count + int((kept == k).sum()) for k, count in enumerate(counts)]
    assert sum(counts) == 200 and chisquare(counts).pvalue > 1e-3


def test_the_start_is_from_the_seed_and_small():
    shape = {"hidden": 32, "layers": 2, "tanh_constant": 2.5, "temperature": 5.0}
    one, two = (Controller(SPACE, torch.Generator().manual_seed(3), **shape) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert all(p.abs().max() <= 0.1 for p in one.parameters())


CONDITIONAL = Space(
    {
        "depth": Integer((1, 2, 3)),
        "inner": Integer((4, 8), when=("depth", (2, 3))),
        "op": Choice(("p", "q", "r"), when=("inner", (8,))),
        "last": Choice(("x", "y")),
    }
)
ARCHS = list(CONDITIONAL)
PICKS = torch.tensor([CONDITIONAL.indices(arch).tolist() for arch in ARCHS])


def test_controller_inactive_decisions_have_no_probability():
    """The probabilities of all different architectures sum to one, however the inactive decisions are filled in."""
    policy = controller(CONDITIONAL)
    draw = policy(picks=PICKS)
    p = draw.log_probability.exp()
    assert float(p.sum().detach()) == pytest.approx(1, rel=1e-12)
    torch.testing.assert_close((p * draw.entropy).sum(), -(p * draw.log_probability).sum(), rtol=1e-10, atol=1e-12)
    for row, arch in zip(draw.active, ARCHS, strict=True):
        assert [n for n, on in zip(CONDITIONAL.decisions, row.tolist(), strict=True) if on] == list(
            CONDITIONAL.active(arch)
        )
    filled = PICKS + (~draw.active).long()
    again = policy(picks=filled)
    assert torch.equal(again.picks, PICKS)
    for one, two in zip(again, draw, strict=True):
        torch.testing.assert_close(one, two)


def test_draws_with_conditions_are_by_those_probabilities():
    policy = controller(CONDITIONAL)
    probabilities = policy(picks=PICKS).log_probability.exp().detach()
    with torch.no_grad():
        drawn = policy(4000, torch.Generator().manual_seed(1)).picks
    counts = [int((drawn == row).all(1).sum()) for row in PICKS]
    assert sum(counts) == 4000
    assert chisquare(counts, (probabilities / probabilities.sum() * 4000).numpy()).pvalue > 1e-3


def test_marginals_are_of_where_a_decision_is_active():
    policy = controller(CONDITIONAL)
    draw = policy(picks=PICKS)
    probabilities = draw.log_probability.exp().detach()
    found = policy.marginals(6000)
    deep = draw.active[:, 1]
    exact = [float(probabilities[deep & (draw.picks[:, 1] == k)].sum() / probabilities[deep].sum()) for k in range(2)]
    assert found["inner"].tolist() == pytest.approx(exact, abs=0.03)
