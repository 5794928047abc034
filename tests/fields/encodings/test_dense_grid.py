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


def descended(encoding, points, values, steps):
    """Mean square error after full batches of Adam at 0.1."""
    optimizer = torch.optim.Adam(encoding.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        error = (encoding(points) - values).square().mean()
        error.backward()
        optimizer.step()
    return error.item()


def pixels(side):
    axis = torch.linspace(0, 1, side)
    return torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)


@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
def test_training_reaches_the_least_squares_optimum(interpolation):
    torch.manual_seed(0)
    points, values = pixels(24), torch.rand(24 * 24, 1)
    # one feature a vertex: their values at points are the matrix that takes a grid to its answers
    basis = DenseGridEncoding(2, 9, 81, interpolation)
    with torch.no_grad():
        basis.grid.copy_(torch.eye(81).reshape(9, 9, 81))
    matrix, wanted = basis(points).detach().double(), values.double()
    optimum = (matrix @ torch.linalg.lstsq(matrix, wanted).solution - wanted).square().mean().item()
    reached = descended(DenseGridEncoding(2, 9, 1, interpolation), points, values, 300)
    # 0.1 dB
    assert optimum * (1 - 1e-5) < reached < 1.023 * optimum


def test_a_vertex_a_pixel_is_learned_to_rounding():
    """100 dB in 300 steps: the grid at the resolution of its samples."""
    torch.manual_seed(0)
    assert descended(DenseGridEncoding(2, 64, 1, "cubic"), pixels(64), torch.rand(64 * 64, 1), 300) < 1e-10


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
