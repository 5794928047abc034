import math

import numpy as np
import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.matern_process import MaternProcess, products
from onefield.types import Bounds

DOMAIN = Bounds((1.0, -2.0), (5.0, 2.0))


def test_covariances_are_products_of_exponentials_away_from_the_walls():
    process, length = MaternProcess(DOMAIN, 1, 60), 0.4
    points = torch.tensor([[3.0, 0.1], [3.3, 0.1], [3.3, -0.4], [2.5, 0.6]]).double()
    basis = products(process.factors(points.unbind(1))) * process.deviations(length)
    found = basis @ basis.T
    apart = (points[:, None] - points).abs().sum(-1)
    # the cosines that are left out are a part of the variance at one place
    torch.testing.assert_close(found / found[0, 0], torch.exp(-apart / length), atol=0.05, rtol=0)


def test_the_mean_of_weights_at_points_and_on_grids():
    process = MaternProcess(DOMAIN, 2, 3).double()
    process.weights.copy_(torch.randn(2, 9, generator=torch.Generator().manual_seed(0)))
    x, y = torch.tensor([1.0, 2.5]).double(), torch.tensor([0.3, -1.0, 1.9]).double()
    expected = [
        [
            sum(
                process.weights[:, 3 * i + j].numpy()
                * math.cos(math.pi * i * (a - 1) / 4)
                * math.cos(math.pi * j * (b + 2) / 4)
                for i in range(3)
                for j in range(3)
            )
            for b in y.tolist()
        ]
        for a in x.tolist()
    ]
    np.testing.assert_allclose(process.on_grid([x, y]), np.array(expected), atol=1e-12)
    np.testing.assert_allclose(process(torch.cartesian_prod(x, y)), np.array(expected).reshape(6, 2), atol=1e-12)


def test_sizes_are_positive():
    with pytest.raises(UsageError, match="2 outputs and 0 modes"):
        MaternProcess(DOMAIN, 2, 0)
