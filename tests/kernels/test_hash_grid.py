"""Hash grid: indices against a scalar oracle, kernels against the reference, derivatives against finite differences."""

import math

import pytest
import torch

from onefield.errors import UsageError
from onefield.kernels import use
from onefield.kernels.cpu.hash_grid import sliced_table_gradient
from onefield.kernels.dense_grid import dense_grid
from onefield.kernels.hash_grid import (
    PRIMES,
    HashGridLayout,
    corner_indices,
    geometric_resolutions,
    hash_grid,
    hash_grid_point_gradient,
    hash_grid_table_gradient,
)

CASES = [(1, 1, (3, 40), 5), (2, 2, (4, 9, 33), 6), (3, 4, (2, 5, 19), 7), (3, 2, (4, 40), 9), (4, 8, (2, 7), 6)]


def oracle_row(point, corner, layout, level):
    """The paper's formula for one vertex, in Python integers."""
    cells = layout.resolutions[level]
    vertex = []
    for axis, x in enumerate(point):
        position = float(torch.tensor(min(max(x, 0.0), 1.0), dtype=torch.float32) * cells)
        vertex.append(min(math.floor(position), cells - 1) + (corner >> axis & 1))
    if (cells + 1) ** layout.dimension > 2**layout.log2_table_size:
        row = 0
        for axis, v in enumerate(vertex):
            row ^= v * PRIMES[axis] % 2**32
        row %= 2**layout.log2_table_size
    else:
        row = sum(v * (cells + 1) ** axis for axis, v in enumerate(vertex))
    return layout.offsets[level] + row


def random_case(dimension, features, resolutions, log2, count=400, dtype=torch.float32, spread=0.1):
    generator = torch.Generator().manual_seed(dimension * 10 + features)
    layout = HashGridLayout.plan(dimension, resolutions, log2)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    points = torch.rand(count, dimension, generator=generator, dtype=dtype) * (1 + 2 * spread) - spread
    return (
        layout,
        points,
        normal(count, dimension),
        normal(layout.entries, features),
        normal(count, len(resolutions) * features),
    )


@pytest.mark.parametrize(("dimension", "resolutions", "log2"), [(2, (16, 90, 700), 12), (3, (16, 40, 2048), 14)])
def test_rows_match_the_scalar_oracle_exactly(dimension, resolutions, log2):
    layout = HashGridLayout.plan(dimension, resolutions, log2)
    points = torch.rand(10_000, dimension, generator=torch.Generator().manual_seed(0))
    points[0], points[1] = 0.0, 1.0
    listed = points.tolist()
    for level in range(layout.levels):
        rows = corner_indices(points, layout, level).tolist()
        for corner in (0, 2**dimension - 1, 1):
            assert [row[corner] for row in rows] == [oracle_row(p, corner, layout, level) for p in listed]
    assert max(max(row) for row in rows) < layout.entries


def test_kernel_reads_the_rows_of_the_oracle():
    """A table that holds its own row numbers gives each vertex its row, when asked exactly at the vertices."""
    layout = HashGridLayout.plan(3, (8, 64), 12)
    table = torch.arange(layout.entries, dtype=torch.float32)[:, None]
    vertices = torch.randint(0, 65, (10_000, 3), generator=torch.Generator().manual_seed(1))
    answer = hash_grid(vertices / 64, None, table, (8, 64), 12)
    expected = [oracle_row(p, 0, layout, 1) for p in (vertices.clamp(max=63) / 64).tolist()]
    interior = (vertices < 64).all(-1)
    assert torch.equal(answer[interior, 1], torch.tensor(expected, dtype=torch.float32)[interior])


def test_a_level_that_fits_is_a_dense_grid():
    grid = torch.randn(10, 10, 10, 2, generator=torch.Generator().manual_seed(2))
    points = torch.rand(2000, 3, generator=torch.Generator().manual_seed(3)) * 1.2 - 0.1
    # the first coordinate is the fastest in the table, the last in a grid
    table = grid.permute(2, 1, 0, 3).reshape(1000, 2)
    answer = hash_grid(points, None, table, (9,), 10)
    torch.testing.assert_close(answer, dense_grid(points, None, grid, "linear"), atol=1e-6, rtol=0)


def test_vertices_that_collide_share_their_entry():
    layout = HashGridLayout.plan(3, (40,), 8)
    vertices = torch.stack(torch.meshgrid(*[torch.arange(40)] * 3, indexing="ij"), -1).reshape(-1, 3)
    rows = torch.tensor([v[0] ^ v[1] * PRIMES[1] % 2**32 ^ v[2] * PRIMES[2] % 2**32 for v in vertices.tolist()]) % 256
    table = torch.zeros(layout.entries, 1)
    table[77] = 1
    answer = hash_grid(vertices / 40, None, table, (40,), 8)[:, 0]
    assert int((rows == 77).sum()) > 200
    torch.testing.assert_close(answer, (rows == 77).float(), atol=1e-4, rtol=0)


def test_fourth_factor_and_all_others_are_odd_primes():
    for prime in PRIMES[1:]:
        assert all(prime % divisor for divisor in range(2, math.isqrt(prime) + 1))
    assert len(set(PRIMES)) == len(PRIMES)


def test_weights_sum_to_one_and_a_linear_function_is_reproduced():
    cells = 6
    layout = HashGridLayout.plan(3, (cells,), 10)
    axis = torch.arange(cells + 1) / cells
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    table = torch.zeros(layout.entries, 2)
    table[: (cells + 1) ** 3, 0] = 1
    table[: (cells + 1) ** 3, 1] = (1 + 2 * x - 3 * y + 0.5 * z).reshape(-1)
    points = torch.rand(500, 3, generator=torch.Generator().manual_seed(0))
    answer = hash_grid(points, None, table, (cells,), 10)
    torch.testing.assert_close(answer[:, 0], torch.ones(500))
    torch.testing.assert_close(answer[:, 1], 1 + points @ torch.tensor([2.0, -3.0, 0.5]))


@pytest.mark.parametrize(("case", "along"), [(CASES[0], False), *((c, a) for c in CASES[1:] for a in (False, True))])
def test_kernels_agree_with_the_reference(case, along):
    _, _, resolutions, log2 = case
    _, points, directions, table, cotangents = random_case(*case)
    directions = directions if along else None
    calls = (
        (hash_grid, (points, directions, table)),
        (hash_grid_table_gradient, (points, directions, cotangents)),
        (hash_grid_point_gradient, (points, directions, table, cotangents)),
    )
    for operation, inputs in calls:
        fast = operation(*inputs, resolutions, log2)
        with use("reference"):
            slow = operation(*[None if t is None else t.double() for t in inputs], resolutions, log2)
        scale = float(slow.abs().max())
        # float32 positions at the finest level lie within N_l * 2^-24 of the float64 ones
        torch.testing.assert_close(fast.double(), slow, rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("case", CASES[1:], ids=str)
def test_gradients_of_gradients_agree_with_autograd_on_the_reference(case):
    _, _, resolutions, log2 = case
    results = []
    for mode in ("fast", "reference"):
        _, points, directions, table, cotangents = random_case(*case, count=60)
        points.requires_grad_()
        table.requires_grad_()
        cotangents.requires_grad_()
        with use(mode):
            answer = hash_grid(points, None, table, resolutions, log2)
            (slope,) = torch.autograd.grad((answer * cotangents).sum(), points, create_graph=True)
            ((slope * directions).sum() + slope.square().sum() * 0.01 + answer.square().sum()).backward()
        results.append((slope.detach(), points.grad, table.grad, cotangents.grad))
    for fast, slow in zip(*results, strict=True):
        torch.testing.assert_close(fast, slow, rtol=2e-4, atol=1e-5 * float(slow.abs().max()))


@pytest.mark.parametrize(("dimension", "features", "resolutions", "log2"), [(2, 1, (3, 7), 5), (3, 2, (2, 5), 6)])
def test_reference_passes_finite_differences(dimension, features, resolutions, log2):
    _, points, directions, table, cotangents = random_case(
        dimension, features, resolutions, log2, count=4, dtype=torch.float64, spread=0.0
    )
    inputs = [t.requires_grad_() for t in (points, table)]
    assert torch.autograd.gradcheck(lambda p, t: hash_grid(p, None, t, resolutions, log2), inputs)
    assert torch.autograd.gradgradcheck(lambda p, t: hash_grid(p, None, t, resolutions, log2), inputs)
    points = points.detach()
    step = 1e-6
    ahead = hash_grid(points + step * directions, None, table, resolutions, log2)
    behind = hash_grid(points - step * directions, None, table, resolutions, log2)
    along = hash_grid(points, directions, table, resolutions, log2)
    torch.testing.assert_close((ahead - behind) / (2 * step), along, rtol=1e-5, atol=1e-6)
    slope = hash_grid_point_gradient(points, None, table, cotangents, resolutions, log2)
    torch.testing.assert_close((slope * directions).sum(), (along * cotangents).sum())


def test_table_gradient_is_the_transpose_and_does_not_depend_on_slots_or_slices():
    layout, points, directions, table, cotangents = random_case(3, 4, (4, 9, 21), 8, count=1500)
    forward = (hash_grid(points, None, table, (4, 9, 21), 8) * cotangents).sum()
    gradient = hash_grid_table_gradient(points, None, cotangents, (4, 9, 21), 8)
    torch.testing.assert_close((gradient * table).sum(), forward, rtol=1e-4, atol=1e-3)
    assert torch.equal(gradient, sliced_table_gradient(points, None, cotangents, layout, 3, 1))
    sliced = sliced_table_gradient(points, directions, cotangents, layout, 4, 5)
    whole = sliced_table_gradient(points, directions, cotangents, layout, 1, 1)
    torch.testing.assert_close(sliced, whole, rtol=1e-4, atol=1e-4)


def test_points_outside_and_not_finite_are_safe():
    _, _, _, table, _ = random_case(3, 2, (4, 40), 9)
    outside = torch.tensor([[-3.0, 0.5, 2.0], [1e30, -1e30, 0.5]])
    inside = torch.tensor([[0.0, 0.5, 1.0], [1.0, 0.0, 0.5]])
    torch.testing.assert_close(
        hash_grid(outside, None, table, (4, 40), 9), hash_grid(inside, None, table, (4, 40), 9), rtol=0, atol=0
    )
    slope = hash_grid_point_gradient(outside, None, table, torch.ones(2, 4), (4, 40), 9)
    assert torch.equal(slope != 0, torch.tensor([[False, True, False], [False, False, True]]))
    broken = hash_grid(torch.tensor([[math.nan, 0.5, 0.5], [0.5, 0.5, 0.5]]), None, table, (4, 40), 9)
    assert broken[0].isnan().all()
    assert broken[1].isfinite().all()
    assert hash_grid(torch.empty(0, 3), None, table, (4, 40), 9).shape == (0, 4)


def test_third_derivatives_are_refused_in_words():
    _, points, directions, table, _ = random_case(3, 2, (4, 9), 8, count=5)
    points.requires_grad_()
    answer = hash_grid(points, None, table, (4, 9), 8).sum()
    (first,) = torch.autograd.grad(answer, points, create_graph=True)
    (second,) = torch.autograd.grad((first * directions).sum(), points, create_graph=True)
    with pytest.raises(NotImplementedError, match="reference"):
        second.sum().backward()


def test_layout_is_contiguous_and_refuses_what_cannot_be_addressed():
    layout = HashGridLayout.plan(3, geometric_resolutions(16, 16, 2048), 19)
    assert layout.resolutions[0] == 16
    assert layout.resolutions[-1] == 2048
    assert layout.entries == layout.offsets[-1] + layout.sizes[-1]
    assert all(b == a + size for a, b, size in zip(layout.offsets, layout.offsets[1:], layout.sizes, strict=False))
    with pytest.raises(UsageError, match="5"):
        HashGridLayout.plan(5, (4,), 10)
    with pytest.raises(UsageError, match="2\\^31"):
        HashGridLayout.plan(3, (4096,) * 8, 30)
