"""Dense grid: closed forms, scipy, the reference, derivatives against finite differences."""

import math

import numba
import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from onefield.kernels import use
from onefield.kernels.cpu.dense_grid import grid_gradient
from onefield.kernels.dense_grid import dense_grid, dense_grid_gradient, dense_grid_point_gradient

CASES = [((5,), 1), ((6, 2), 3), ((11, 7, 3), 4), ((3, 2, 4, 2), 2)]
MODES = ["linear", "cubic"]


def random_case(shape, features, count=300, dtype=torch.float32, spread=0.1):
    generator = torch.Generator().manual_seed(len(shape))

    def normal(*size):
        return torch.randn(*size, generator=generator, dtype=dtype)

    points = torch.rand(count, len(shape), generator=generator, dtype=dtype) * (1 + 2 * spread) - spread
    return points, normal(count, len(shape)), normal(*shape, features), normal(count, features)


def test_linear_matches_scipy():
    points, _, grid, _ = random_case((5, 9, 7), 2, spread=0.0)
    scaled = points * torch.tensor([4.0, 8.0, 6.0])
    answer = dense_grid(points, None, grid, "linear")
    for feature in range(2):
        expected = map_coordinates(grid[..., feature].double().numpy(), scaled.double().numpy().T, order=1)
        np.testing.assert_allclose(answer[:, feature], expected, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_linear_functions_are_exact_up_to_the_border(mode):
    axes = [torch.linspace(0, 1, n) for n in (4, 2, 6)]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    grid = torch.stack([torch.ones_like(x), 1 + 2 * x - 3 * y + 0.5 * z], dim=-1)
    points = torch.rand(300, 3, generator=torch.Generator().manual_seed(0))
    points[:8] = points[:8].round()
    answer = dense_grid(points, None, grid, mode)
    torch.testing.assert_close(answer[:, 0], torch.ones(300))
    torch.testing.assert_close(answer[:, 1], 1 + points @ torch.tensor([2.0, -3.0, 0.5]))


def test_cubic_reproduces_quadratics_inside_and_has_continuous_slope():
    x = torch.linspace(0, 1, 9, dtype=torch.float64)
    points = torch.linspace(1 / 8, 7 / 8, 200, dtype=torch.float64)[1:-1, None]
    torch.testing.assert_close(dense_grid(points, None, (x * x)[:, None], "cubic"), points**2)
    grid = torch.randn(9, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    knots, along = x[1:-1, None], torch.ones(7, 1, dtype=torch.float64)
    before, after = (dense_grid(knots + step, along, grid, "cubic") for step in (-1e-9, 1e-9))
    torch.testing.assert_close(before, after, rtol=1e-6, atol=1e-6)
    central = (grid[2:] - grid[:-2]) / 2 * 8
    torch.testing.assert_close(after, central, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("case", "along"), [(CASES[0], False), *((c, a) for c in CASES[1:3] for a in (False, True)),
                                             (CASES[3], False)])  # fmt: skip
def test_kernels_agree_with_the_reference(case, along, mode):
    points, directions, grid, cotangents = random_case(*case)
    directions = directions if along else None
    calls = (
        (dense_grid, (points, directions, grid), ()),
        (dense_grid_gradient, (points, directions, cotangents), (case[0],)),
        (dense_grid_point_gradient, (points, directions, grid, cotangents), ()),
    )
    for operation, inputs, shape in calls:
        fast = operation(*inputs, *shape, mode)
        with use("reference"):
            slow = operation(*[None if t is None else t.double() for t in inputs], *shape, mode)
        torch.testing.assert_close(fast.double(), slow, rtol=1e-4, atol=1e-5 * slow.abs().max().item())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", CASES[1:3], ids=str)
def test_gradients_of_gradients_agree_with_autograd_on_the_reference(case, mode):
    results = []
    for kernels in ("fast", "reference"):
        points, directions, grid, cotangents = random_case(*case, count=80)
        leaves = [t.requires_grad_() for t in (points, grid, cotangents)]
        with use(kernels):
            answer = dense_grid(points, None, grid, mode)
            (slope,) = torch.autograd.grad((answer * cotangents).sum(), points, create_graph=True)
            ((slope * directions).sum() + slope.square().sum() * 0.01 + answer.square().sum()).backward()
        results.append([slope.detach(), *(leaf.grad for leaf in leaves)])
    for fast, slow in zip(*results, strict=True):
        torch.testing.assert_close(fast, slow, rtol=2e-4, atol=1e-5 * slow.abs().max().item())


@pytest.mark.parametrize("mode", MODES)
def test_reference_passes_finite_differences(mode):
    points, directions, grid, cotangents = random_case((4, 3), 2, count=4, dtype=torch.float64, spread=0.0)
    inputs = [t.requires_grad_() for t in (points, grid)]
    assert torch.autograd.gradcheck(lambda p, g: dense_grid(p, None, g, mode), inputs)
    assert torch.autograd.gradgradcheck(lambda p, g: dense_grid(p, None, g, mode), inputs)
    points = points.detach()
    along = dense_grid(points, directions, grid, mode)
    slope = dense_grid_point_gradient(points, None, grid, cotangents, mode)
    torch.testing.assert_close((slope * directions).sum(), (along * cotangents).sum())
    step = 1e-6
    ahead = dense_grid_point_gradient(points + step * directions, None, grid, cotangents, mode)
    behind = dense_grid_point_gradient(points - step * directions, None, grid, cotangents, mode)
    curve = dense_grid_point_gradient(points, directions, grid, cotangents, mode)
    torch.testing.assert_close((ahead - behind) / (2 * step), curve, rtol=1e-5, atol=1e-5)


def test_grid_gradient_does_not_depend_on_threads():
    points, _, _, cotangents = random_case((40, 6), 2, count=3000)
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
        many = grid_gradient(points, None, cotangents, [40, 6], "cubic")
        numba.set_num_threads(1)
        one = grid_gradient(points, None, cotangents, [40, 6], "cubic")
    finally:
        numba.set_num_threads(before)
    assert torch.equal(many, one)


@pytest.mark.parametrize("mode", MODES)
def test_points_outside_and_not_finite_are_safe(mode):
    _, _, grid, _ = random_case((6, 2), 3)
    outside, border = torch.tensor([[-3.0, 0.5], [1e30, 2.0]]), torch.tensor([[0.0, 0.5], [1.0, 1.0]])
    torch.testing.assert_close(
        dense_grid(outside, None, grid, mode), dense_grid(border, None, grid, mode), rtol=0, atol=0
    )
    slope = dense_grid_point_gradient(outside, None, grid, torch.ones(2, 3), mode)
    assert torch.equal(slope != 0, torch.tensor([[False, True], [False, False]]))
    broken = torch.tensor([[math.nan, 0.5], [0.5, 0.5]])
    answer = dense_grid(broken, None, grid, mode)
    assert answer[0].isnan().all()
    assert answer[1].isfinite().all()
    assert dense_grid_gradient(broken, None, torch.ones(2, 3), (6, 2), mode).isnan().any()
    assert dense_grid(torch.empty(0, 2), None, grid, mode).shape == (0, 3)


def test_third_derivatives_are_refused_in_words():
    points, directions, grid, _ = random_case((6, 5), 3, count=5)
    points.requires_grad_()
    (first,) = torch.autograd.grad(dense_grid(points, None, grid, "cubic").sum(), points, create_graph=True)
    (second,) = torch.autograd.grad((first * directions).sum(), points, create_graph=True)
    with pytest.raises(NotImplementedError, match="reference"):
        second.sum().backward()
