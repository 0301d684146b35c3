"""The normalisation against torch's own, and its two derivatives against finite differences."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from renascent.nets.cells.norm import BatchStatisticsNorm, scaled_norm

WITH = [(False, False), (True, False), (False, True), (True, True)]


def inputs(with_scale: bool, with_shift: bool, shape=(3, 2, 3, 2)):
    x = torch.randn(shape, requires_grad=True)
    scale = torch.randn(shape[1], requires_grad=True) if with_scale else None
    shift = torch.randn(shape[1], requires_grad=True) if with_shift else None
    return x, scale, shift


def reference(x, scale, shift):
    return F.batch_norm(x, None, None, scale, shift, training=True, eps=1e-5)


@pytest.mark.parametrize(("with_scale", "with_shift"), WITH)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_are_those_of_torch(assert_alike, with_scale, with_shift, layout):
    x, scale, shift = inputs(with_scale, with_shift, (4, 3, 5, 5))
    x = x.detach().contiguous(memory_format=layout).requires_grad_()
    leaves = [t for t in (x, scale, shift) if t is not None]
    assert_alike(scaled_norm(x, scale, shift), reference(x, scale, shift), leaves, 1e-11)


@pytest.mark.parametrize(("with_scale", "with_shift"), WITH)
def test_first_and_second_derivative_against_finite_differences(with_scale, with_shift):
    x, scale, shift = inputs(with_scale, with_shift)
    assert torch.autograd.gradcheck(scaled_norm, (x, scale, shift), atol=1e-6)
    assert torch.autograd.gradgradcheck(scaled_norm, (x, scale, shift), atol=1e-6)


def test_one_value_a_channel_with_a_large_mean():
    x = 1e4 + torch.randn(8, 2, 1, 1)
    torch.testing.assert_close(scaled_norm(x), reference(x, None, None), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("training", [True, False])
def test_the_module_always_uses_its_batch(training):
    ours, theirs = BatchStatisticsNorm(3), nn.BatchNorm2d(3, track_running_stats=False)
    with torch.no_grad():
        for ours_p, theirs_p in zip(ours.parameters(), theirs.parameters(), strict=True):
            theirs_p.copy_(ours_p.normal_())
    x = torch.randn(4, 3, 5, 5)
    torch.testing.assert_close(ours.train(training)(x), theirs.train(training)(x), rtol=1e-12, atol=1e-12)
    assert not list(ours.buffers())
