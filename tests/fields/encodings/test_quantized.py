import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.encodings.fourier import FourierEncoding
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.fields.encodings.quantized import QuantizedEncoding


def test_points_of_a_cell_count_as_its_centre():
    fourier = FourierEncoding(1, frequencies=3)
    points = torch.tensor([[0.26], [0.3], [0.49], [0.0], [-0.1]], dtype=torch.float64)
    centers = torch.tensor([[0.375], [0.375], [0.375], [0.125], [-0.125]], dtype=torch.float64)
    torch.testing.assert_close(QuantizedEncoding(fourier, 4)(points), fourier(centers))


def test_snapping_twice_changes_nothing_and_once_half_a_cell_at_most():
    inner = IdentityEncoding(3)
    points = torch.rand(200, 3, dtype=torch.float64)
    unit = (QuantizedEncoding(inner, 10)(points) - inner(torch.zeros(1, 3, dtype=torch.float64))) / 2
    assert (unit - points).abs().max() <= 0.05 + 1e-9
    torch.testing.assert_close(QuantizedEncoding(inner, 10)(unit), QuantizedEncoding(inner, 10)(points))


def test_slopes_are_those_at_the_centre():
    fourier = FourierEncoding(2, frequencies=2)
    points = torch.rand(20, 2, dtype=torch.float64, requires_grad=True)
    centers = (((points.detach() * 5).floor() + 0.5) / 5).requires_grad_()
    (slope,) = torch.autograd.grad(QuantizedEncoding(fourier, 5)(points).pow(3).sum(), points, create_graph=True)
    (expected,) = torch.autograd.grad(fourier(centers).pow(3).sum(), centers, create_graph=True)
    torch.testing.assert_close(slope, expected)
    assert slope.abs().max() > 1
    (curvature,) = torch.autograd.grad(slope.sum(), points)
    (true,) = torch.autograd.grad(expected.sum(), centers)
    torch.testing.assert_close(curvature, true)


def test_one_cell_is_refused():
    with pytest.raises(UsageError, match="at least 2 cells"):
        QuantizedEncoding(IdentityEncoding(3), 1)
