"""Published models, where the packages that hold them are installed and fit PyTorch."""

import importlib
from typing import Any

import numpy as np
import pytest
import torch

from renascent.nets.adapt import adapt

SHAPE = (3, 64, 64)


def package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError) as e:  # RuntimeError: built for another PyTorch
        return pytest.skip(f"{name} cannot be imported ({e}): install the one that fits this PyTorch")


@pytest.fixture
def check_model(check):
    """Verify that a model has at least so many decisions, which change most of it."""

    def run(model, least_decisions):
        space = adapt(model.double(), SHAPE)
        assert len(space.space.decisions) >= least_decisions
        assert space.coverage.share > 0.9
        check(space, [space.space.sample(np.random.default_rng(0))], 1e-7)

    return run


@pytest.mark.parametrize(
    ("name", "decisions"),
    [("resnet18", 14), ("resnext50_32x4d", 40), ("mobilenet_v2", 28), ("densenet121", 100), ("convnext_tiny", 24)],
)
def test_models_of_torchvision(check_model, name, decisions):
    models = package("torchvision.models")
    torch.manual_seed(0)
    check_model(getattr(models, name)(weights=None), decisions)


@pytest.mark.parametrize(
    ("name", "decisions"), [("vit_tiny_patch16_224", 25), ("mobilenetv3_small_100", 28), ("ghostnet_100", 30)]
)
def test_models_of_timm(check_model, name, decisions):
    timm = package("timm")
    torch.manual_seed(0)
    size = {"img_size": 64} if name.startswith("vit") else {}
    check_model(timm.create_model(name, pretrained=False, **size), decisions)
