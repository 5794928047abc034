import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.heads.closest_point import ClosestPointHead, UnsignedDistanceHead


def test_the_distance_is_that_of_the_closest_point():
    features, points = torch.randn(20, 5), torch.randn(20, 3)
    closest = ClosestPointHead(0.7)(features, None, points)
    torch.testing.assert_close(closest, points + 0.7 * features[:, :3])
    torch.testing.assert_close(UnsignedDistanceHead(0.7)(features), (closest - points).norm(dim=-1))


def test_on_the_surface_the_distance_has_a_finite_gradient():
    features = torch.zeros(2, 3, requires_grad=True)
    UnsignedDistanceHead()(features).sum().backward()
    assert torch.isfinite(features.grad).all()


def test_bad_input_is_refused():
    with pytest.raises(UsageError, match="pass points"):
        ClosestPointHead()(torch.zeros(2, 3))
    for head in (ClosestPointHead, UnsignedDistanceHead):
        with pytest.raises(UsageError, match="positive scale"):
            head(0.0)
