"""A user's model as a space: from a factory or a module, what cannot be used, and what the coverage table says."""

import dataclasses
import functools
import json
import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils.checkpoint import checkpoint

from renascent.core.errors import UserError
from renascent.core.gates import one_hot
from renascent.nets.adapt import Adapted, adapt
from renascent.nets.adapt.trace import counted, trace

SHAPE = (3, 8, 8)

CODE = """
import torch
from torch import nn

def small():
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.Flatten(), nn.Linear(1024, 5))

def fails():
    raise ValueError("no such thing\\nat all")

def needs(width):
    return small()

def number():
    return 3

class Makers:
    make = staticmethod(small)

MODEL = small()
WIDTH = 4
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Work in a folder that holds the module `mine`."""
    (tmp_path / "mine.py").write_text(CODE)
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in ("mine", "broken"):
        sys.modules.pop(name, None)


class Looks(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 16, 3), nn.Linear(16, 5)

    def forward(self, x):
        x = self.conv(x)
        if x.mean() > 0:
            x = -x
        return self.fc(x.mean((2, 3)))


def test_a_factory_and_its_settings_survive_json(folder):
    space = Adapted(factory="mine:small", shape=("3", "8", "8"), multiple=4)
    assert space.shape == SHAPE
    held = json.loads(json.dumps(dataclasses.asdict(space)))
    again = Adapted(**{key: tuple(v) if isinstance(v, list) else v for key, v in held.items()})
    assert again == space
    assert again.space == space.space
    assert space.space.parse(space.space.format(space.reference)) == space.reference
    a, b = (s.supernet(3, 5).state_dict() for s in (space, again))
    assert all(torch.equal(a[key], b[key]) for key in a), "a factory draws the same numbers each time"
    a, b = (Adapted(shape=SHAPE, model=own).supernet(3, 5).state_dict() for _ in range(2))
    assert all(torch.equal(a[key], b[key]) for key in a), "so does a function"
    assert Adapted(factory="mine:Makers.make", shape=SHAPE).space == Adapted(factory="mine:MODEL", shape=SHAPE).space


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("", "no model is given: give factory=package.module:function"),
        ("mine", "factory 'mine' is no function: write package.module:function"),
        (":small", "factory ':small' is no function"),
        ("absent:small", r"module 'absent' .* cannot be imported \(ModuleNotFoundError"),
        ("broken:small", r"module 'broken' .* cannot be imported \(ModuleNotFoundError: No module named 'nothing_of"),
        ("mine:absent", "module 'mine' has no 'absent'"),
        ("mine:WIDTH", "'mine:WIDTH' cannot be called"),
        ("mine:fails", r"factory 'mine:fails' fails \(ValueError: no such thing\): give one that runs without"),
        ("mine:needs", r"factory 'mine:needs' fails \(TypeError"),
        ("mine:number", "factory 'mine:number' makes int: give a function that returns a torch.nn.Module"),
    ],
)
def test_a_factory_that_cannot_be_used_is_one_line(folder, factory, message):
    with pytest.raises(UserError, match=message) as caught:
        _ = Adapted(factory=factory, shape=SHAPE).space
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shape": ("3", "8")}, "shape is 3,8: give channels,height,width"),
        ({"shape": ("3", "x", "8")}, "shape is .* give whole numbers of at least 1"),
        ({"shape": (3, 8, 0)}, "give whole numbers of at least 1"),
        ({"multiple": 0}, "multiple is 0"),
        ({"least": 1.5}, "least is 1.5"),
        ({"order": "random"}, "unknown order 'random': known: magnitude, given"),
        ({"resolutions": ("a",)}, "resolutions is"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        Adapted(factory="mine:small", **settings)


def test_an_input_that_does_not_fit_is_one_line(folder):
    with pytest.raises(UserError, match=r"the model fails on inputs of shape \(2, 1, 8, 8\) .*: give the shape") as e:
        _ = Adapted(factory="mine:small", shape=(1, 8, 8)).space
    assert "\n" not in str(e.value)


def test_data_that_do_not_fit_are_refused(folder):
    space = Adapted(factory="mine:small", shape=SHAPE)
    message = "the data have 1 channels and 10 classes, the model takes 3 channels and returns 5 numbers"
    for make in (lambda: space.supernet(1, 10), lambda: space.network(space.reference, 1, 10)):
        with pytest.raises(UserError, match=message):
            make()


def test_trained_weights_are_where_the_search_starts(folder):
    trained = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.Flatten(), nn.Linear(1024, 5))
    x = torch.randn(2, *SHAPE)
    save_file(trained.state_dict(), "trained.safetensors")
    space = Adapted(factory="mine:small", shape=SHAPE, weights="trained.safetensors")
    torch.testing.assert_close(space.supernet(3, 5).model.eval()(x), trained.eval()(x))

    save_file({k: v for k, v in trained.state_dict().items() if k != "0.bias"}, "less.safetensors")
    save_file({**trained.state_dict(), "0.bias": torch.zeros(4)}, "other.safetensors")
    (folder / "no.safetensors").write_text("no")
    for name, message in {
        "absent.safetensors": "cannot be read",
        "no.safetensors": "cannot be read",
        "mine.py": "give a .safetensors file",
        "less.safetensors": "have no '0.bias'",
        "other.safetensors": r"'0.bias' in weights .* is \[4\], the model's is \[16\]",
    }.items():
        with pytest.raises(UserError, match=message):
            _ = Adapted(factory="mine:small", shape=SHAPE, weights=name).source


# --- what cannot be searched


def test_a_model_that_looks_at_values_has_a_coverage_table_and_is_refused():
    space = adapt(Looks(), SHAPE)
    refusal = "the model looks at values while it runs .*bool.*: give a model that computes the same operations"
    with pytest.raises(UserError, match=refusal):
        _ = space.space
    assert [row.name for row in space.coverage.rows] == ["conv", "fc"]
    assert not any(row.searchable for row in space.coverage.rows)
    text = str(space.coverage)
    assert "cannot be searched: the model looks at values" in text
    assert text.splitlines()[0].split("  ")[0] == "decision"


class Tuple(nn.Module):
    def forward(self, x):
        return x.mean((2, 3)), x


class OnlyWhileTraining(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 16, 3), nn.Linear(16, 5)

    def forward(self, x):
        out = self.fc(self.conv(x).mean((2, 3)))
        return (out, out) if self.training else out


def own():
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.Flatten(), nn.Linear(16 * 36, 5))


class Recomputes(nn.Module):
    """Keeps no maps for the backward pass, and computes them again there."""

    def __init__(self, reentrant):
        super().__init__()
        self.reentrant, self.stem, self.fc = reentrant, nn.Conv2d(3, 16, 3), nn.Linear(16, 5)
        self.blocks = nn.ModuleList(Grown(16, 16) for _ in range(2))

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=self.reentrant)
        return self.fc(x.mean((2, 3)))


class Grown(nn.Module):
    def __init__(self, channels, inside):
        super().__init__()
        self.a, self.b = nn.Conv2d(channels, inside, 3, padding=1), nn.Conv2d(inside, channels, 3, padding=1)

    def forward(self, x):
        return x + self.b(self.a(x).relu())


class FrozenStatistics(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.Flatten(), nn.Linear(16 * 36, 5))

    def train(self, mode=True):
        super().train(mode)
        self[1].eval()
        return self


def infinite():
    net = own()
    nn.init.constant_(net[2].bias, torch.inf)
    return net


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # of a model that computes again
@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Tuple, "the model returns a tuple"),
        (lambda: nn.Conv2d(3, 16, 3), r"the model returns a tensor \[2, 16, 6, 6\]"),
        (OnlyWhileTraining, "the model returns something else while training"),
        (infinite, "numbers that are not finite"),
        (FrozenStatistics, "'1' stays in evaluation mode while the model trains, let it train"),
        *((functools.partial(Recomputes, how), r"torch.utils.checkpoint\), switch that off") for how in (False, True)),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 5)), "no part of the model can change"),
    ],
)
def test_adapt_unsearchable_model_gives_a_one_line_reason(model, message):
    space = adapt(model(), SHAPE)
    with pytest.raises(UserError, match=message) as caught:
        _ = space.space
    assert "\n" not in str(caught.value)
    assert space.coverage.refused


def test_adapt_non_module_is_refused():
    with pytest.raises(UserError, match=r"the model is int: give a torch\.nn\.Module"):
        adapt(3, SHAPE)


def test_the_model_given_is_left_as_it_is():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.Dropout(0.5), nn.Flatten(), nn.Linear(576, 5))
    model.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    random = torch.get_rng_state()
    space = adapt(model, SHAPE)
    net = space.supernet(3, 5)
    assert torch.equal(torch.get_rng_state(), random)
    net(torch.randn(4, *SHAPE), one_hot(space.space, space.reference)).sum().backward()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(module.training and not module._forward_hooks for module in model.modules())
    assert all(p.grad is None for p in model.parameters())


def test_a_drawing_names_every_decision():
    space = adapt(nn.Sequential(nn.Conv2d(3, 16, 3), nn.Flatten(), nn.Linear(576, 5)), SHAPE)
    assert space.draw(space.space.arch({"0": 8})) == "0  8 of 16"


# --- the trace


def test_a_trace_has_every_operation_its_shapes_and_its_module():
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(576, 5))
    graph = counted(model, SHAPE)
    assert [(node.name, graph.shapes[node.result.value]) for node in graph.nodes] == [
        ("conv2d", (2, 16, 6, 6)),
        ("relu", (2, 16, 6, 6)),
        ("flatten", (2, 576)),
        ("linear", (2, 5)),
    ]
    assert [node.module for node in graph.nodes] == ["0", "1", "2", "3"]
    assert [node.macs for node in graph.nodes] == [16 * 27 * 36, 0, 0, 576 * 5]
    assert {graph.named[v] for v in graph.named} == {"0.weight", "0.bias", "3.weight", "3.bias"}
    assert [(call.module, call.start, call.end) for call in graph.calls][-1] == ("", 0, 4)


@pytest.mark.parametrize("how", [float, int, bool, lambda t: t.item(), lambda t: t.tolist(), lambda t: t.numpy()])
def test_every_way_of_looking_at_values_is_seen(how):
    class Peek(nn.Module):
        def forward(self, x):
            how(x.sum())
            return x

    with pytest.raises(UserError, match="looks at values"):
        trace(Peek(), SHAPE)


@pytest.mark.parametrize(
    ("asked", "sizes"), [(True, (16, 20, 24, 28, 32)), ([24], (24, 32)), (False, ()), ((), ())], ids=str
)
def test_adapt_takes_smaller_inputs_of_a_model_in_memory(asked, sizes):
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))
    space = adapt(net, (3, 32, 32), resolutions=asked)
    assert space.resolutions == sizes
    assert ("resolution" in space.space.decisions) == bool(sizes)
    if sizes:
        arch = space.space.arch(dict(space.reference) | {"resolution": sizes[0]})
        assert space.network(arch, 3, 5)(torch.zeros(2, 3, sizes[0], sizes[0])).shape == (2, 5)


def test_adapt_without_a_smaller_input_is_one_line():
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, 5))
    with pytest.raises(
        UserError, match=r"resolutions is True: the model takes no smaller inputs than 8 x 8: leave it out"
    ):
        adapt(net, (3, 8, 8), resolutions=True)
