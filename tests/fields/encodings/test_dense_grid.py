"""Dense grid encoding: axis order, borders, growing."""

import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.encodings import DenseGridEncoding


@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
def test_vertices_answer_their_own_values_first_axis_first(interpolation):
    encoding = DenseGridEncoding(3, (3, 4, 6), 2, interpolation, initial_amplitude=1.0)
    for vertex in [(0, 0, 0), (2, 3, 5), (1, 2, 4), (2, 0, 3)]:
        point = torch.tensor([[vertex[0] / 2, vertex[1] / 3, vertex[2] / 5]])
        torch.testing.assert_close(encoding(point)[0], encoding.grid[vertex], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
def test_upsampling_keeps_linear_functions_and_vertices(interpolation):
    coarse = DenseGridEncoding(2, (4, 5), 1, interpolation, initial_amplitude=1.0)
    fine = coarse.upsampled((7, 9))
    assert fine.resolution == (7, 9)
    torch.testing.assert_close(fine.grid[::2, ::2], coarse.grid)
    points = torch.rand(200, 2, generator=torch.Generator().manual_seed(0))
    if interpolation == "linear":
        torch.testing.assert_close(fine(points), coarse(points))
    assert fine.grid.requires_grad
    assert fine.grid is not coarse.grid


def test_trains_by_descent():
    torch.manual_seed(0)
    encoding = DenseGridEncoding(1, 17, 1, "cubic")
    optimizer = torch.optim.Adam(encoding.parameters(), lr=0.05)
    points = torch.rand(400, 1)
    for _ in range(150):
        loss = (encoding(points) - torch.sin(6 * points)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 1e-4


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"dimension": 5}, "5"),
        ({"resolution": (4, 4)}, "4, 4"),
        ({"resolution": 1}, "1"),
        ({"features": 0}, "0"),
        ({"interpolation": "cubik"}, "did you mean 'cubic'"),
    ],
)
def test_meaningless_arguments_are_refused(wrong, named):
    with pytest.raises(UsageError, match=named):
        DenseGridEncoding(**wrong)
