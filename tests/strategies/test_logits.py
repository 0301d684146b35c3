"""Logits over decisions."""

from collections import Counter

import pytest
import torch
from scipy.stats import chisquare

from renascent.core.space import Arch, Choice, Integer, Kept, Space
from renascent.strategies._logits import Logits

UNEVEN = Space({"a": Choice(("x", "y", "z")), "b": Integer((8, 16))})
VALUES = torch.tensor([[0.5, -1.0, 1.5], [0.2, -0.6, 99.0]])  # the last one is padding


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def logits() -> Logits:
    policy = Logits(UNEVEN, rng())
    with torch.no_grad():
        policy.logits.copy_(VALUES)
    return policy


def test_padding_is_minus_infinity_and_never_learns():
    policy = logits()
    out = policy()
    assert out[1, 2] == -torch.inf
    assert torch.equal(out[0], VALUES[0])
    out.softmax(-1)[1, 0].backward()
    assert policy.logits.grad[1, 2] == 0
    assert torch.isfinite(policy.logits.grad).all()


def test_the_start_is_small_and_from_the_seed():
    one, two, other = Logits(UNEVEN, rng(1)), Logits(UNEVEN, rng(1)), Logits(UNEVEN, rng(2))
    assert torch.equal(one.logits, two.logits)
    assert not torch.equal(one.logits, other.logits)
    wide = Logits(Space({f"d{k}": Choice(tuple("abcdefgh")) for k in range(100)}), rng())
    assert float(wide.logits.detach().std()) == pytest.approx(1e-3, rel=0.1)


def test_the_mask_is_no_part_of_the_state():
    assert set(logits().state_dict()) == {"logits"}


def test_probabilities_and_the_best():
    policy = logits()
    found = policy.probabilities()
    torch.testing.assert_close(found["a"], VALUES[0].softmax(-1))
    torch.testing.assert_close(found["b"], VALUES[1, :2].softmax(-1))
    assert policy.best() == Arch({"a": "z", "b": 8})


def test_draw_is_by_the_softmax():
    policy, shared = logits(), rng(4)
    counts = Counter(policy.draw(shared) for _ in range(4000))
    p, q = (row.double() for row in policy.probabilities().values())
    wanted = {Arch({"a": a, "b": b}): float(p[i] * q[j]) for i, a in enumerate("xyz") for j, b in enumerate((8, 16))}
    scale = 4000 / sum(wanted.values())
    assert chisquare([counts[arch] for arch in wanted], [c * scale for c in wanted.values()]).pvalue > 1e-3


def test_log_probability_is_of_what_is_active():
    policy = logits()
    p, q = policy.probabilities().values()
    found = policy.log_probability(Arch({"a": "z", "b": 16}))
    torch.testing.assert_close(found, (p[2] * q[1]).log())
    found.backward()
    assert policy.logits.grad[1, 2] == 0
    conditional = Space({"a": Integer((1, 2)), "b": Integer((8, 16), when=("a", (2,)))})
    policy = Logits(conditional, rng(), std=1.0)
    torch.testing.assert_close(policy.log_probability(conditional.arch({"a": 1})), policy.probabilities()["a"][0].log())


def test_log_probability_of_what_a_rule_keeps_is_that_of_the_draw():
    """Sums to 1 over all legal architectures, and is how often each is drawn."""
    edges = {name: Choice(("none", "x", "y")) for name in ("0-3", "1-3", "2-3")}
    space = Space({**edges, "width": Integer((8, 16))}, rules=(Kept(tuple(edges), 2),))
    policy, shared = Logits(space, rng(1), std=1.0), rng(2)
    with torch.no_grad():
        chances = {arch: float(policy.log_probability(arch).exp()) for arch in space}
    assert len(chances) == 24 and sum(chances.values()) == pytest.approx(1, rel=1e-5)
    counts = Counter(policy.draw(shared) for _ in range(6000))
    wanted = [6000 * chance / sum(chances.values()) for chance in chances.values()]
    assert chisquare([counts[arch] for arch in chances], wanted).pvalue > 1e-3
    policy.log_probability(next(iter(space))).backward()
    assert policy.logits.grad.isfinite().all() and not policy.logits.grad[:3, 0].any()
