"""The FBNet chain against counts that are written out a second time."""

import numpy as np
import pytest

from renascent.core.errors import UserError
from renascent.costs import cost_of
from renascent.nets.cells.fbnet import KINDS, FBNet

PLACES = [(16, 16, 1), (16, 24, 1), *[(24, 24, 1)] * 3, (24, 32, 2), *[(32, 32, 1)] * 3, (32, 64, 2)]
PLACES += [*[(64, 64, 1)] * 3, (64, 112, 1), *[(112, 112, 1)] * 3, (112, 184, 2), *[(184, 184, 1)] * 3, (184, 352, 1)]
"""Channels in and out, and stride, of the 22 places."""


def counted(names):
    """Return multiply-accumulates and parameters on 3 x 32 x 32 and 100 classes, by the formulas of convolutions."""
    side, macs, params = 32, 27 * 16 * 32**2, 27 * 16 + 2 * 16
    for name, (before, after, stride) in zip(names, PLACES, strict=True):
        out = side // stride
        if name == "skip":
            if (before, stride) != (after, 1):
                macs, params = macs + before * after * out**2, params + before * after + 2 * after
        else:
            words = {word[0]: int(word[1:]) for word in name.split("_")}
            middle, kernel, groups = before * words["e"], words["k"], words.get("g", 1)
            first, deep, last = before * middle // groups, middle * kernel**2, middle * after // groups
            macs += first * side**2 + (deep + last) * out**2
            params += first + deep + last + 2 * (2 * middle + after)
        side = out
    return macs + 352 * 1984 * side**2 + 1984 * 100, params + 352 * 1984 + 2 * 1984 + 1984 * 100 + 100


def test_counts_of_random_architectures_are_those_of_the_formulas():
    config = FBNet()
    space, rng = config.space, np.random.default_rng(0)
    costs = [cost_of(name, config, (3, 32, 32), 100) for name in ("macs", "params")]
    archs = [config.reference, *(space.sample(rng) for _ in range(20))]
    for arch in archs:
        assert tuple(cost.exact(space.indices(arch)[None])[0] for cost in costs) == counted(list(arch.values()))
    assert space.size == 9**22
    assert all(space.options(name) == (*KINDS, "skip") for name in space.decisions)


def test_widths_are_multiples_of_eight():
    assert [FBNet(width=0.25).channels(n) for n in (16, 112, 184)] == [8, 24, 40]
    with pytest.raises(UserError, match="give 7 numbers"):
        FBNet(blocks=(1, 2))
