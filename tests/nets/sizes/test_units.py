"""The plain modules: what each computes."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from renascent.core.errors import UserError
from renascent.nets.sizes.resolution import resolutions
from renascent.nets.sizes.units import Classifier, Norm, Skip, Stage, Unit
from renascent.nets.sizes.widths import width_decision


def test_a_unit_is_convolution_normalisation_activation():
    unit, x = Unit(3, 4, 3, 2, activation="relu6"), torch.randn(5, 3, 7, 6) * 9
    out = functional.conv2d(x, unit.conv.weight, None, 2, 1)
    wanted = functional.batch_norm(out, None, None, training=True).clamp(0, 6)
    torch.testing.assert_close(unit(x), wanted)
    bare = Unit(3, 4, activation="none", norm=False)
    torch.testing.assert_close(bare(x), functional.conv2d(x, bare.conv.weight))
    assert Unit(6, 6, 3, depthwise=True).conv.weight.shape == (6, 1, 3, 3)


def test_a_skip_has_weights_where_widths_differ_or_may():
    x = torch.randn(2, 4, 3, 3)
    assert Skip(4, 4, "a", "b")(x) is x
    assert Skip(4, 5, "a", "b")(x).shape[1] == 5
    assert len(list(Skip(4, 4, "a", "b", forced=True).parameters())) == 3


def test_stages_classifiers_and_norms():
    x = torch.randn(2, 4, 3, 3)
    assert torch.equal(Stage([nn.ReLU(), nn.Identity()])(x), x.relu())
    classifier = Classifier(4, 2)
    torch.testing.assert_close(classifier(x), classifier.linear(x.flatten(2).mean(2)))
    torch.testing.assert_close(Norm(4)(x), functional.batch_norm(x, None, None, training=True).relu())


@pytest.mark.parametrize("wrong", [(0, 8, 1), (9, 8, 1), (4, 8, 0)])
def test_an_empty_range_of_resolutions_is_refused(wrong):
    with pytest.raises(UserError, match="give 1 <= lowest <= highest and a step of at least 1"):
        resolutions(*wrong)


def test_widths_are_rounded_down_to_one_at_least():
    assert width_decision(3, (0.1, 0.5, 1.0, 1.1)).options == (1, 3)
