"""What the browser is told to draw."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch

from onefield.types import Gaussians
from onefield.viewing.objects import show_gaussians


def test_gaussians_come_in_a_unit_box_with_their_shapes_colours_and_opacities():
    told = {}
    server = SimpleNamespace(
        scene=SimpleNamespace(add_gaussian_splats=lambda name, **values: told.update(values)),
        initial_camera=SimpleNamespace(),
    )
    count = 101
    line = torch.linspace(0, 200, count)
    means = torch.stack([1e4 + line, line * 0, line * 0], dim=1)
    scales = torch.tensor([2.0, 4.0, 8.0]).log().expand(count, 3)
    quarter = torch.tensor([0.5**0.5, 0.0, 0.0, 0.5**0.5]).expand(count, 4)
    show_gaussians(server, Gaussians(means, scales, quarter, torch.zeros(count), (torch.ones(count, 1, 3),)))
    assert np.ptp(told["centers"][:, 0]) == np.float32(200 / 192)
    np.testing.assert_allclose(told["centers"][50], 0, atol=1e-6)
    # the quarter turn about z exchanges the first two axes
    expected = np.diag(np.square([4.0, 2.0, 8.0]) / 192**2)
    np.testing.assert_allclose(told["covariances"][7], expected, atol=1e-8)
    np.testing.assert_allclose(told["rgbs"][0], 0.5 + 0.28209479, rtol=1e-6)
    assert told["opacities"].shape == (count, 1)
    assert float(told["opacities"][3, 0]) == 0.5
    assert server.initial_camera.look_at == (0.0, 0.0, 0.0)
