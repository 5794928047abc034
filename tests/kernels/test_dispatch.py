"""Which implementation an operation takes."""

import pytest
import torch

from onefield.kernels.composite import rendering_weights, weights_operation


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_numbers_that_kernels_do_not_take_run_the_reference(kind):
    density, starts = torch.tensor([0.5, 2.0, 1.0]), torch.tensor([0.0, 1.0, 1.5])
    offsets = torch.tensor([0, 2, 3])
    found = rendering_weights(density.to(kind), starts.to(kind), (starts + 0.5).to(kind), offsets)
    expected = rendering_weights(density, starts, starts + 0.5, offsets)
    torch.testing.assert_close(found, expected.to(kind), rtol=0.02, atol=0)
    name = str(kind).removeprefix("torch.")
    assert any(name in cause for cause in weights_operation.fallbacks)
