"""Layers read off a plain network: against the modules that really run, and against numbers recorded once."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from renascent.core.errors import UserError
from renascent.core.fields import settings
from renascent.core.space import Integer, Space
from renascent.nets import SPACES
from renascent.nets.sizes.counted import activations_in, macs_in, memory_access_in, params_in, peak, total
from renascent.nets.sizes.layers import columns
from renascent.nets.sizes.resolution import input_shape
from renascent.nets.sizes.space import SizedSpace
from renascent.nets.sizes.tracing import trace
from renascent.nets.sizes.units import Classifier, Norm, Stage, Unit

TABLE = """
nats-size 274399872 62820992 42201568  713674 198442 185466  11092048 4685264 3740368  1310720 655360 327680
resnet20 40813184 11547386 10401978  272474 101483 91179  3822224 1497016 1465272  196608 172032 143360
resnet32 69124736 15745018 11106938  466906 99893 67305  6205584 2382560 1580720  196608 172032 143360
resnet56 125747840 32535418 24729914  855770 343809 151706  10972304 4048912 2889588  196608 172032 143360
resnet110 253149824 80622074 45965050  1730714 846685 487155  21697424 8514944 5025752  196608 172032 143360
resnet164 247646720 72586240 44115008  1704154 711606 451979  57849744 22744832 13742676  786432 786432 786432
resnet18 91988907 17730625 19306017  28555994 5715608 5631440  115251844 23213740 22829236  130560 37888 29696
resnet50 207838615 62626580 56321247  60047763 18272757 23414219  245220908 75499628 95392324  314112 121728 86400
mobilenet-v1 1389928771 100930919 92225915  8153133 3158779 1807595  93461444 19321476 13162412  6723584 640000 614656
mobilenet-v2 650215488 51444390 49947594  4948522 1758438 1483895  104059856 17197116 15578644  9031680 835000 1452480
mobilenet-v2-cifar 50757504 14728599 6639413  1279138 469654 390689  15546800 6773360 3565272  958464 514304 192000
"""
"""MACs, parameters, bytes moved and peak bytes of three architectures on images of 32 x 32 pixels, ten classes.

From the lists of layers that were written by hand before they were traced.
"""

RECORDED = {
    name: np.reshape([int(n) for n in row], (4, 3)).tolist() for name, *row in map(str.split, TABLE.split("\n")[1:-1])
}


def recorded_rows(space):
    """Return the option indices (3, decisions): the largest, and two that go through the options in steps."""
    counts, places = np.array([len(d.options) for d in space.decisions.values()]), np.arange(len(space.decisions))
    return np.stack([counts - 1, (places * 7 + 3) % counts, (places * 5 + 1) % counts])


@pytest.mark.parametrize("name", RECORDED)
def test_costs_are_those_of_the_lists_written_by_hand(name):
    config = SPACES[name]()
    layers = config.layers(columns(config.space, recorded_rows(config.space)), (3, 32, 32), 10)
    costs = ((macs_in, total), (params_in, total), (memory_access_in, total), (activations_in, peak))
    for (of, together), wanted in zip(costs, RECORDED[name], strict=True):
        assert together([of(layer) for layer in layers]).tolist() == wanted


def run_modules(net, x):
    """Return (name, channels in and out, h and w of its input) of each layer with weights, in the order they run."""
    found = []

    def hook(name, module, inputs, out):
        height, width = (1, 1) if isinstance(module, Classifier) else inputs[0].shape[2:]
        found.append((name, inputs[0].shape[1], out.shape[1], height, width))

    for name, module in net.named_modules():
        if isinstance(module, Unit | Norm | Classifier):
            name = f"{name}.linear" if isinstance(module, Classifier) else name
            module.register_forward_hook(lambda m, i, o, name=name: hook(name, m, i, o))
    with torch.no_grad():
        net.eval()(x)
    return found


@pytest.mark.parametrize("name", [*RECORDED, "resnet20 of tied widths", "resnet20 of depths only"])
def test_the_layers_of_an_architecture_are_the_modules_that_run(name):
    about = {"resnet20 of tied widths": {"tied": True}, "resnet20 of depths only": {"widths": False}}
    config = SPACES[name.split()[0]](**about.get(name, {}))
    rng = np.random.default_rng(0)
    for _ in range(1 if name in ("resnet110", "resnet164", "resnet50") else 4):
        arch = config.space.sample(rng)
        values = {
            key: int(column[0]) for key, column in columns(config.space, np.array([config.space.indices(arch)])).items()
        }
        shape = input_shape(arch, (3, 24, 16))
        layers = [k for k in config.layers(values, (3, 24, 16), 5) if k.presence and k.kind not in ("add", "pool")]
        listed = [(k.name, k.inputs, k.outputs, *k.size) for k in layers]
        assert listed == run_modules(config.network(arch, 3, 5).float(), torch.zeros(1, *shape, dtype=torch.float32))


class Odd(nn.Module):
    """A network of a space of one's own, with a function that no layer stands for."""

    def __init__(self, width):
        super().__init__()
        self.stem = Unit(1, width, decision="width")

    def forward(self, x):
        return functional.softplus(self.stem(x))


def test_a_function_that_is_no_layer_is_refused_by_name():
    with pytest.raises(UserError, match="'softplus' in ''"):
        trace(Odd(3))


@settings
class Small(SizedSpace):
    """A space of one's own: a width, a depth, nothing else said."""

    @property
    def space(self):
        return Space({"width": Integer((2, 4)), "depth": Integer((0, 1, 2))}, name="small")

    def network(self, arch, channels_in, classes, *, prune=False):
        blocks = [Unit(arch["width"], arch["width"], 3, decision="width") for _ in range(arch["depth"])]
        stem = Unit(channels_in, arch["width"], decision="width")
        return nn.Sequential(stem, Stage(blocks, "depth", {0: 0, 1: 1, 2: 2}), Classifier(arch["width"], classes))


def test_a_space_of_ones_own_says_its_decisions_and_its_network():
    config = Small()
    layers = config.layers({"width": 4, "depth": np.array([0, 1, 2])}, (3, 8, 8), 7)
    assert [layer.name for layer in layers] == ["0", "1.blocks.0", "1.blocks.1", "2.linear"]
    assert [np.broadcast_to(layer.presence, 3).tolist() for layer in layers[1:3]] == [[0, 1, 1], [0, 0, 1]]
    assert config.space.format(config.reference) == config.space.format(config.space.arch({"width": 4, "depth": 2}))
    assert config.supernet(3, 7).extract(config.reference)(torch.zeros(2, 3, 8, 8)).shape == (2, 7)
