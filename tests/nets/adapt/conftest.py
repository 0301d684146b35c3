"""What must hold of every adapted model."""

import copy

import numpy as np
import pytest
import torch

from renascent.core.gates import one_hot
from renascent.core.randomness import seeded
from renascent.costs import macs, params


@pytest.fixture
def check():
    """Verify that what is taken out of the supernet computes the same and costs what was said.

    And that code without renascent makes it. archs: eight random ones by default.
    """

    def verify(space, archs=None, tolerance=1e-9):
        rng = np.random.default_rng(0)
        archs = archs or [space.space.sample(rng) for _ in range(8)]
        net, x = space.supernet(space.shape[0], space.plan.outputs), torch.randn(4, *space.shape)
        held, about = [id(p) for p in net.parameters()], {"rtol": tolerance, "atol": tolerance}
        torch.testing.assert_close(net.model.eval()(x), space.source.eval()(x), **about)
        for arch in archs:
            plain, index, gates = net.extract(arch).train(), space.space.indices(arch)[None], one_hot(space.space, arch)
            found = []
            for run, given in ((net.train(), (x, gates)), (plain, (x,))):
                with seeded(0):  # for dropout
                    found.append(run(*given))
            torch.testing.assert_close(*found, **about)
            assert macs(plain, space.shape) == space.macs.exact(index)[0] == float(space.macs(gates))
            assert params(plain) == space.params.exact(index)[0] == float(space.params(gates))
            assert not [m for m in plain.modules() if type(m).__module__.startswith("renascent")]
        assert [id(p) for p in net.parameters()] == held, "all weights were put back"
        code, names = space.recipe(archs[-1]), {}
        assert "import renascent" not in code
        exec(code, names)
        small = names["shrink"](copy.deepcopy(space.source))
        small.load_state_dict(plain.state_dict())
        torch.testing.assert_close(small.eval()(x), plain.eval()(x), **about)
        both = [[(name, p.shape, p.requires_grad) for name, p in m.named_parameters()] for m in (small, plain)]
        assert both[0] == both[1], "tied weights are tied, frozen ones frozen"

    return verify
