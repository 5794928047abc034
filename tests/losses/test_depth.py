import pytest
import torch

from onefield.losses.depth import depth_error


def test_unknown_depths_count_for_nothing():
    depth = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    error = depth_error(depth, torch.tensor([1.5, float("nan"), 2.0]))
    assert error.item() == pytest.approx(0.75)
    error.backward()
    torch.testing.assert_close(depth.grad, torch.tensor([-0.5, 0.0, 0.5]))
    assert depth_error(depth, torch.full((3,), float("nan"))).item() == 0
