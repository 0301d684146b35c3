"""Published models, where the packages that hold them are installed and fit PyTorch."""

import importlib
from typing import Any

import numpy as np
import pytest
import torch

from renascent.core.gates import one_hot
from renascent.costs import macs, params
from renascent.nets.adapt import adapt

SHAPE = (3, 64, 64)


def package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError) as e:  # RuntimeError: built for another PyTorch
        return pytest.skip(f"{name} cannot be imported ({e}): install the one that fits this PyTorch")


def check(model, least_decisions):
    model = model.double()
    space = adapt(model, SHAPE)
    assert len(space.space.decisions) >= least_decisions
    assert space.coverage.share > 0.9
    net, x = space.supernet(3, space.plan.outputs), torch.randn(4, *SHAPE)
    torch.testing.assert_close(net.model.eval()(x), model.eval()(x), rtol=1e-8, atol=1e-8)
    arch = space.space.sample(np.random.default_rng(0))
    plain, index = net.extract(arch), space.space.indices(arch)[None]
    torch.manual_seed(0)
    wanted = plain.train()(x)
    torch.manual_seed(0)
    torch.testing.assert_close(net.train()(x, one_hot(space.space, arch)), wanted, rtol=1e-7, atol=1e-7)
    assert (macs(plain, SHAPE), params(plain)) == (space.macs.exact(index)[0], space.params.exact(index)[0])


@pytest.mark.parametrize(
    ("name", "decisions"),
    [("resnet18", 14), ("resnext50_32x4d", 40), ("mobilenet_v2", 28), ("densenet121", 100), ("convnext_tiny", 24)],
)
def test_models_of_torchvision(name, decisions):
    models = package("torchvision.models")
    torch.manual_seed(0)
    check(getattr(models, name)(weights=None), decisions)


@pytest.mark.parametrize(
    ("name", "decisions"), [("vit_tiny_patch16_224", 25), ("mobilenetv3_small_100", 28), ("ghostnet_100", 30)]
)
def test_models_of_timm(name, decisions):
    timm = package("timm")
    torch.manual_seed(0)
    size = {"img_size": 64} if name.startswith("vit") else {}
    check(timm.create_model(name, pretrained=False, **size), decisions)
