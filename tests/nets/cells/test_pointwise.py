"""The folded 1x1 convolution against convolving and normalising, values and both derivatives."""

import pytest
import torch
import torch.nn.functional as F

from renascent.nets.cells.pointwise import convolve_1x1, folded, matrix, pointwise


def made(layout=torch.contiguous_format):
    torch.manual_seed(0)
    x = F.relu(torch.randn(3, 4, 5, 6, dtype=torch.double)).contiguous(memory_format=layout).requires_grad_()
    kernel = torch.randn(6, 4, 1, 1, dtype=torch.double, requires_grad=True)
    scale = torch.rand(6, dtype=torch.double, requires_grad=True)
    return x, kernel, scale


def reference(x, kernel, scale):
    return F.batch_norm(F.conv2d(x, kernel), None, None, scale, None, True)


def test_equals_convolution_then_normalisation_with_its_gradients(assert_alike):
    for layout in (torch.contiguous_format, torch.channels_last):
        inputs = made(layout)
        assert_alike(convolve_1x1(inputs[0], *folded(*inputs)), reference(*inputs), inputs)


def test_no_scale_means_one():
    x, kernel, _ = made()
    torch.testing.assert_close(convolve_1x1(x, *folded(x, kernel)), reference(x, kernel, None), rtol=1e-10, atol=1e-10)


def test_second_derivative():
    x, kernel, scale = made()
    x = x.detach()[:2, :2, :2, :2].clone().requires_grad_()
    kernel = kernel.detach()[:3, :2].clone().requires_grad_()
    scale = scale.detach()[:3].clone().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda *v: convolve_1x1(v[0], *folded(*v)), (x, kernel, scale))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_pointwise_adds_to_a_map_in_place(assert_alike, layout):
    x, kernel, _ = made(layout)
    base = torch.randn(3, 6, 5, 6, dtype=torch.double).contiguous(memory_format=layout).requires_grad_()
    inputs, total = (x, kernel, base), base * 1
    found, expected = pointwise(x, kernel.flatten(1), total), base + F.conv2d(x, kernel)
    assert found.data_ptr() == total.data_ptr()
    assert_alike(found, expected, inputs, 1e-12)


def test_pointwise_differentiates_twice():
    x, kernel, _ = (v.detach()[:2, :2, :2, :2].clone().requires_grad_() for v in (*made()[:2], made()[0]))
    base = torch.randn(2, 2, 2, 2, dtype=torch.double, requires_grad=True)
    f = lambda x, kernel, base: pointwise(x, kernel.flatten(1), base * 1).square()  # noqa: E731
    assert torch.autograd.gradgradcheck(f, (x, kernel, base))


def test_a_map_is_seen_as_a_matrix_without_a_copy():
    x = made(torch.channels_last)[0]
    assert matrix(x).data_ptr() == x.data_ptr()


def test_in_single_precision_far_from_zero_mean():
    """A variance that is the difference of two squares would be lost here."""
    torch.manual_seed(1)
    x, kernel = F.relu(torch.randn(64, 16, 16, 16) + 300).float(), torch.randn(16, 16, 1, 1).float()
    exact = reference(x.double(), kernel.double(), None)
    torch.testing.assert_close(convolve_1x1(x, *folded(x, kernel)).double(), exact, rtol=1e-2, atol=1e-3)


def test_in_single_precision_the_variance_of_what_nearly_cancels_is_right():
    """Channels that are copies of each other but for a thousandth, as interpolation makes them, over many pixels."""
    torch.manual_seed(0)
    common, own = torch.randn(128, 1, 28, 28), torch.randn(128, 6, 28, 28)
    x = (common + 0.01 * own).float().to(memory_format=torch.channels_last)
    kernel = (torch.eye(6)[:5] - torch.eye(6)[1:]).float()  # differences of neighbours
    weights, shift = folded(x, kernel[:, :, None, None])
    rows = matrix(x).double()
    variance = (rows @ kernel.double().T).var(0, correction=0)
    found = (kernel.double() / weights.double())[kernel != 0].view(5, 2) ** 2 - 1e-5
    torch.testing.assert_close(found, variance[:, None].expand(5, 2), rtol=0, atol=5e-6)
    assert 1e-4 < variance.min() < 3e-4
    assert shift.isfinite().all()
