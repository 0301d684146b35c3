"""Models of users that do something unusual: searched, counted, saved and shrunk like any other."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from renascent.core.errors import UserError
from renascent.core.gates import one_hot, soft
from renascent.costs import cost_of
from renascent.experiment.search import search
from renascent.loops.weightsfile import load_weights, save_weights
from renascent.nets.adapt import adapt
from renascent.nets.sizes.counted import params_in
from renascent.nets.sizes.layers import spreads
from renascent.strategies.darts import DARTSSecondOrder
from renascent.strategies.nes import NES
from renascent.strategies.rsps import RSPS
from renascent.tasks.images import ImageTask

SHAPE = (3, 8, 8)


class Plain(nn.Module):
    """Two convolutions and a classifier; subclasses change one thing."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.c = nn.Conv2d(16, 16, 3, padding=1)
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        x = F.relu(self.b(F.relu(self.a(x))))
        return self.fc(F.relu(self.c(x)).mean((2, 3)))


class OwnTensors(Plain):
    """Normalises by numbers that are no buffers."""

    def forward(self, x):
        return super().forward(x - torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1))


class Tied(Plain):
    """Two layers with one weight, which does not learn."""

    def __init__(self):
        super().__init__()
        self.c.weight = self.b.weight
        self.b.weight.requires_grad_(False)


class Twice(Plain):
    """One layer with two names, used once by each."""

    def __init__(self):
        super().__init__()
        self.c = self.b


class ByName(Plain):
    """Calls operations with every argument by its name."""

    def forward(self, x):
        x = F.conv2d(input=x, weight=self.a.weight, bias=self.a.bias, padding=1)
        x = torch.add(input=x, other=F.conv2d(weight=self.b.weight, input=x, padding=1))
        x = F.max_pool2d(input=F.relu(x), kernel_size=2)
        return F.linear(input=F.relu(self.c(x)).mean((2, 3)), weight=self.fc.weight)


class Frozen(Plain):
    """Its first layer is not to learn."""

    def __init__(self):
        super().__init__()
        self.a.requires_grad_(False)


class Grouped(Plain):
    def __init__(self):
        super().__init__()
        self.b = nn.Conv2d(16, 16, 3, padding=1, groups=4)


class Attention(nn.Module):
    """A transformer that makes a tensor of its own, so that it cannot be counted on the meta device."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 4, 4)
        self.query, self.key, self.value = (nn.Linear(16, 16) for _ in range(3))
        self.out, self.fc = nn.Linear(16, 16), nn.Linear(16, 5)

    def forward(self, x):
        x = self.patch(x - torch.tensor(0.5)).flatten(2).transpose(1, 2)
        parts = (layer(x).unflatten(-1, (2, 8)).transpose(1, 2) for layer in (self.query, self.key, self.value))
        y = F.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)
        return self.fc((x + self.out(y)).mean(1))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(16, 16, 3, padding=1)

    def forward(self, x):
        return x + F.relu(self.conv(x))


class TiedToBlock(Plain):
    """The last layer has the weight of a block that can be left out."""

    def __init__(self):
        super().__init__()
        self.b = nn.Sequential(Block(), Block())
        self.c.weight = self.b[1].conv.weight


class InBlock(TiedToBlock):
    """And here it is that block's layer itself."""

    def __init__(self):
        super().__init__()
        self.c = self.b[1].conv


class BlocksTwice(Plain):
    """The row of blocks has a second name."""

    def __init__(self):
        super().__init__()
        inner = nn.Module()
        inner.layers = nn.Sequential(Block(), Block(), Block())
        self.inner = inner
        self.b = inner.layers


class BlockTwice(Plain):
    """A block has a second name, by which it stays where its row no longer has it."""

    def __init__(self):
        super().__init__()
        self.b = nn.Sequential(Block(), Block(), Block())
        self.last = self.b[2]
        self.every = nn.ModuleList(self.b[:2])


class NormInBlock(Plain):
    """A normalisation that says its size itself is that of a block that can be left out."""

    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(16, 16, 3, padding=1), nn.GroupNorm(16, 16)

        def forward(self, x):
            return x + self.norm(self.conv(x)).relu()

    def __init__(self):
        super().__init__()
        self.b = nn.Sequential(self.Normed(), self.Normed())
        self.norm = self.b[1].norm

    def forward(self, x):
        return self.fc(self.c(self.norm(self.b(self.a(x).relu())).relu()).mean((2, 3)))


class NotSaved(Plain):
    """Multiplies channels by numbers that no file of weights has: they stay, and so do these channels."""

    def __init__(self):
        super().__init__()
        self.register_buffer("gain", torch.linspace(0.5, 2, 16).view(1, 16, 1, 1), persistent=False)

    def forward(self, x):
        x = F.relu(self.b(F.relu(self.a(x))) * self.gain)
        return self.fc(F.relu(self.c(x)).mean((2, 3)))


class Lucky(Plain):
    """Leaves its last layer out by chance while it trains, by a generator that is not of PyTorch."""

    def forward(self, x):
        x = F.relu(self.a(x))
        for layer in (self.b, self.c):
            if not self.training or random.random() + np.random.rand() > 1:  # noqa: NPY002
                x = x + F.relu(layer(x))
        return self.fc(x.mean((2, 3)))


class SameNames(Plain):
    """Has a module whose name begins as those of decisions on depth do."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(Block(), Block())
        self.depth = nn.ModuleDict({"blocks": nn.Conv2d(16, 12, 3)})
        self.c = nn.Conv2d(12, 16, 3)

    def forward(self, x):
        x = F.relu(self.depth["blocks"](self.blocks(F.relu(self.a(x)))))
        return self.fc(self.c(x).mean((2, 3)))


BLOCKS = (TiedToBlock, InBlock, NormInBlock, SameNames)
MODELS = (OwnTensors, Tied, Twice, ByName, Frozen, Grouped, Attention, NotSaved, Lucky, *BLOCKS)


@pytest.fixture(params=MODELS, ids=lambda kind: kind.__name__)
def space(request):
    torch.manual_seed(0)
    return adapt(request.param(), SHAPE, multiple=4)


def some(space, count=3):
    rng = np.random.default_rng(0)
    return [space.reference, *(space.space.sample(rng) for _ in range(count))]


def test_extract_is_the_supernet_and_costs_are_those_of_the_network(space, check):
    check(space, some(space))


def test_weights_are_saved_and_read_again(space, tmp_path):
    net, x = space.supernet(3, 5).extract(some(space)[1]).eval(), torch.randn(2, *SHAPE)
    save_weights(tmp_path / "w.safetensors", net)
    again = space.network(some(space)[1], 3, 5).eval()
    assert not torch.equal(again(x), net(x))
    load_weights(again, tmp_path / "w.safetensors")
    torch.testing.assert_close(again(x), net(x))


@pytest.mark.parametrize("kind", [Frozen, Tied])
def test_frozen_weights_are_in_a_fresh_network_what_the_search_kept_of_them(kind):
    space = adapt(kind(), SHAPE, multiple=4)
    for arch in some(space):
        net, kept = space.network(arch, 3, 5), space.supernet(3, 5).extract(arch)
        for (name, p), q in zip(net.named_parameters(), kept.parameters(), strict=True):
            assert torch.equal(p, q) is not p.requires_grad, name


def test_second_order_darts_learns_beside_a_frozen_layer(tmp_path):
    torch.set_default_dtype(torch.float32)
    task = ImageTask.from_tensors(torch.rand(40, *SHAPE), torch.arange(40) % 5)
    space = adapt(Frozen(), SHAPE, multiple=8)
    result = search(space, DARTSSecondOrder(), task, epochs=1, batch=10, out=tmp_path / "r")
    assert space.space.arch(result.arch) == result.arch


def test_groups_of_a_convolution_count_in_what_latency_is_fitted_to():
    space = adapt(Grouped(), SHAPE, multiple=4)
    layers = space.layers(dict(space.reference), SHAPE, 5)
    (grouped,) = [layer for layer in layers if layer.name == "b"]
    assert params_in(grouped) == 16 * 4 * 9 + 2 * 16  # the normalisation that it has in spaces of ours


@pytest.mark.parametrize("name", ["memory_access_bytes", "activation_bytes"])
def test_bytes_that_are_not_counted_cannot_be_bounded(name):
    with pytest.raises(UserError, match=f"{name} is not counted for a model of your own: bound macs"):
        cost_of(name, adapt(Plain(), SHAPE), SHAPE, 5)


def test_height_and_width_of_an_undecided_input_are_one_draw():
    space = adapt(Plain(), (3, 16, 16), resolutions=(8,))
    gates = soft(space.space, torch.zeros(len(space.space.decisions), 4).masked_fill(_padding(space), -torch.inf))
    first = space.layers(spreads(space.space, gates), (3, 16, 16), 5)[0]
    assert first.size[0].probabilities is first.size[1].probabilities
    assert first.size[0].values.tolist() == [8, 16]


@pytest.mark.parametrize(
    ("model", "about", "says"),
    [
        (Plain().double(), {}, "weights of torch.float64: give a model in float32"),
        (Plain(), {"pretrained": Plain().state_dict()}, "a model of your own starts from its weights"),
    ],
)
def test_search_unsearchable_model_leaves_no_folder(model, about, says, tmp_path):
    task = ImageTask.from_tensors(torch.rand(40, *SHAPE), torch.arange(40) % 5)
    with pytest.raises(UserError, match=says):
        search(adapt(model, SHAPE), RSPS(), task, epochs=1, batch=8, out=tmp_path / "r", **about)
    assert not (tmp_path / "r").exists()


def test_a_whole_search_of_tied_weights_and_own_tensors_ends(tmp_path):
    torch.set_default_dtype(torch.float32)  # as images are; the fixture of this folder puts it back

    class Both(Tied, OwnTensors):
        pass

    task = ImageTask.from_tensors(torch.rand(40, *SHAPE), torch.arange(40) % 5)
    space = adapt(Both(), SHAPE, multiple=4)
    result = search(space, NES(), task, epochs=1, batch=8, out=tmp_path / "r", budget="macs<=0.5x")
    net = result.inherit()
    assert net.b.weight is net.c.weight
    assert result.facts["macs"] == space.macs.exact(space.space.indices(result.arch)[None])[0]


def _padding(space):
    counts = [len(d.options) for d in space.space.decisions.values()]
    return torch.arange(4) >= torch.tensor(counts)[:, None]


def test_blocks_that_have_a_second_name_are_left_out_under_both():
    torch.manual_seed(0)
    space, x = adapt(BlocksTwice(), SHAPE, multiple=4), torch.randn(4, *SHAPE)
    net = space.supernet(SHAPE[0], 5)
    for arch in some(space, 6):
        kept = sum(p.numel() for p in space.network(arch, SHAPE[0], 5).parameters())
        assert space.params.exact(space.space.indices(arch)[None])[0] == kept
        torch.testing.assert_close(net(x, one_hot(space.space, arch)), net.extract(arch).train()(x))


def test_a_block_that_has_a_second_name_is_counted_where_it_stays():
    torch.manual_seed(0)
    space = adapt(BlockTwice(), SHAPE, multiple=4)
    for arch in some(space, 12):
        kept = sum(p.numel() for p in space.network(arch, SHAPE[0], 5).parameters())
        assert space.params.exact(space.space.indices(arch)[None])[0] == kept


def test_channels_that_numbers_without_a_file_go_with_are_fixed_and_say_so():
    rows = {row.name: row for row in adapt(NotSaved(), SHAPE, multiple=4).coverage.rows}
    assert (rows["b"].options, rows["b"].about) == ((), "'gain' is not saved with the weights (persistent=False)")
    assert rows["a"].options == (4, 8, 12, 16)


def test_decisions_have_names_of_their_own():
    assert set(adapt(SameNames(), SHAPE, multiple=4).space.decisions) == {"depth.blocks", "a", "depth.blocks[2]", "c"}


class Recomputes(Plain):
    """Computes its blocks again in the backward pass, where all of them are there."""

    def __init__(self):
        super().__init__()
        self.b = nn.Sequential(Block(), Block(), Block())

    def forward(self, x):
        return self.fc(checkpoint(self.b, self.a(x), use_reentrant=True).mean((2, 3)))


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_blocks_that_are_computed_again_in_the_backward_pass_are_refused():
    with pytest.raises(UserError, match=r"has another gradient inside the search: .* switch that off"):
        _ = adapt(Recomputes(), SHAPE, multiple=16).space
