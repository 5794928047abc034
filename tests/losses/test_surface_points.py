import math

import torch

from onefield.losses.surface_points import normal_alignment, off_surface


def test_empty_space_costs_less_the_farther_it_seems():
    loss = off_surface(torch.tensor([0.0, 0.02, -0.02]), 0.01)
    torch.testing.assert_close(loss, torch.tensor((1 + 2 * math.exp(-2)) / 3))


def test_alignment_is_one_less_the_cosine_whatever_the_slope():
    gradients = torch.tensor([[3.0, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, -2.0]])
    normals = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(normal_alignment(gradients, normals), torch.tensor((0.0 + 1.0 + 2.0) / 3))
