"""What size spaces state: their networks' published sizes, and what they refuse."""

import pytest
import torch
from torch import nn

from renascent.core.errors import UserError
from renascent.costs import macs, params
from renascent.nets import SPACES

PUBLISHED = {
    "resnet20": (32, 10, 40.81, 0.272, 20 + 2),
    "resnet32": (32, 10, 69.12, 0.467, 32 + 2),
    "resnet164": (32, 10, 247.65, 1.704, 164 + 3),
    "resnet18": (224, 1000, 1814, 11.690, 18 + 3),
    "resnet50": (224, 1000, 4089, 25.557, 50 + 4),
    "mobilenet-v1": (224, 1000, 568.7, 4.232, 28),
    "mobilenet-v2": (224, 1000, 300.8, 3.505, 53),
}
"""Side of an image, classes, millions of multiply-accumulates and of parameters, layers with the shortcuts' own.

TAS, arXiv:1905.09717, Table 2. MobileNets, arXiv:1704.04861, Table 4: 569M, 4.2M. MobileNetV2, arXiv:1801.04381,
Table 4: 300M, 3.4M (3.5M with all norms).
"""


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_references_have_the_published_size(name):
    side, classes, macs_m, params_m, layers = PUBLISHED[name]
    config = SPACES[name]()
    with torch.device("meta"):
        net = config.network(config.reference, 3, classes)
    assert config.reference.get("resolution", side) == side
    assert macs(net, (3, side, side)) / 1e6 == pytest.approx(macs_m, rel=1e-3)
    assert params(net) / 1e6 == pytest.approx(params_m, rel=2e-3)
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in net.modules()) == layers


@pytest.mark.parametrize(
    ("name", "about", "message"),
    [
        *(("resnet20", {"layers_count": count}, "give 6n") for count in (2, 19, 165)),
        ("resnet20", {"widths": False, "depths": False}, "leave one of them on"),
        ("resnet20", {"lowest": 40}, "give 1 <= lowest <= highest"),
        ("resnet50", {"layers_count": 20}, "give 18, 34, 50, 101"),
        ("resnet50", {"lowest": 230}, "give 1 <= lowest <= highest"),
        ("mobilenet-v1", {"width": 0}, "width is 0"),
        ("mobilenet-v2", {"lowest": 230}, "give 1 <= lowest <= highest"),
        ("mobilenet-v2", {"width": -1}, "width is -1"),
    ],
)
def test_settings_that_cannot_be_are_refused(name, about, message):
    with pytest.raises(UserError, match=message):
        SPACES[name](**about)
