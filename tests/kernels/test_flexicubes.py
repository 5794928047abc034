"""FlexiCubes: dual marching cubes at rest, gradients of everything that places a vertex, sound in noise."""

import numpy as np
import pytest
import torch

from onefield.errors import DataError, UsageError
from onefield.kernels.dual_marching_cubes import dual_connectivity, dual_marching_cubes
from onefield.kernels.flexicubes import FlexiCubesWeights, flexicubes
from tests.kernels.surfaces import assert_closed_manifold, edge_uses, euler, grid, padded


def index_positions(values):
    axes = [torch.arange(size, dtype=values.dtype) for size in values.shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


def random_weights(values, seed):
    generator = torch.Generator().manual_seed(seed)
    rest = FlexiCubesWeights.at_rest(values)

    def drawn(ones):
        return 0.05 + 1.9 * torch.rand(ones.shape, generator=generator, dtype=ones.dtype)

    return FlexiCubesWeights(drawn(rest.alpha), drawn(rest.beta), drawn(rest.gamma))


def noise(*shape, seed, dtype=torch.float32):
    values = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) - 0.5
    return padded(values)


def test_at_rest_the_vertices_are_those_of_dual_marching_cubes():
    values = grid(14).norm(dim=-1) - 0.7
    surface = flexicubes(values, index_positions(values), FlexiCubesWeights.at_rest(values))
    vertices, faces = dual_marching_cubes(values)
    assert torch.allclose(surface.vertices, vertices, atol=1e-5)
    assert torch.equal(surface.faces, faces)
    assert euler(surface.vertices, surface.faces) == 2


def test_weights_move_crossings_and_means_as_the_formulas_say():
    """One corner inside: the vertex of each of its eight cells is a mean of three crossings, worked out by hand."""
    values = torch.ones(3, 3, 3, dtype=torch.float64)
    values[1, 1, 1] = -0.5
    weights = random_weights(values, seed=0)
    positions = index_positions(values)
    surface = flexicubes(values, positions, weights)
    connectivity = dual_connectivity(values)
    for vertex, row in enumerate(connectivity.vertex_cells.tolist()):
        cell = connectivity.cells[row]
        own = [int(1 - c) for c in cell]  # the inside corner within the cell
        total, weight = torch.zeros(3, dtype=torch.float64), 0.0
        for axis in range(3):
            other = list(own)
            other[axis] = 1 - own[axis]
            alphas = [weights.alpha[(*cell, c[0] + 2 * c[1] + 4 * c[2])] for c in (own, other)]
            scaled = [-0.5 * alphas[0], 1.0 * alphas[1]]
            ends = [(cell + torch.tensor(c)).double() for c in (own, other)]
            crossing = (ends[1] * scaled[0] - ends[0] * scaled[1]) / (scaled[0] - scaled[1])
            start = [0 if n == axis else own[n] for n in range(3)]
            around = [n for n in range(3) if n != axis]
            edge = 4 * axis + start[around[0]] + 2 * start[around[1]]
            beta = weights.beta[(*cell, edge)]
            total, weight = total + beta * crossing, weight + beta
        torch.testing.assert_close(surface.vertices[vertex], total / weight)


@pytest.mark.parametrize("split", ["diagonal", "center"])
def test_gradients_agree_with_finite_differences(split):
    values = noise(2, 2, 2, seed=3, dtype=torch.float64)
    values += 0.1 * values.sign()
    positions = index_positions(values)
    positions += 0.2 * torch.rand(positions.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weights = random_weights(values, seed=2)
    drawn = torch.randn(3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)

    def measure(values, positions, alpha, beta, gamma):
        surface = flexicubes(values, positions, FlexiCubesWeights(alpha, beta, gamma), split=split)
        return (surface.vertices.sin() @ drawn).sum(), surface.deviations.sum()

    inputs = (values, positions, weights.alpha, weights.beta, weights.gamma)
    for given in inputs:
        given.requires_grad_()
    assert torch.autograd.gradcheck(measure, inputs, fast_mode=True)
    gradients = torch.autograd.grad(sum(measure(*inputs)), inputs, allow_unused=True)
    for name, gradient in zip(("values", "positions", "alpha", "beta"), gradients, strict=False):
        assert float(gradient.abs().max()) > 0, name
    assert (split == "center") == (gradients[4] is not None and float(gradients[4].abs().max()) > 0)


@pytest.mark.parametrize("split", ["diagonal", "center"])
def test_noise_gives_a_closed_manifold(split):
    values = noise(24, 24, 24, seed=0)
    surface = flexicubes(values, index_positions(values), random_weights(values, seed=1), split=split)
    edges, counts = edge_uses(surface.faces)
    assert (counts == 1).all()
    assert np.array_equal(edges, np.unique(edges[:, ::-1], axis=0))
    small = noise(7, 8, 9, seed=1)
    surface = flexicubes(small, index_positions(small), random_weights(small, seed=1), split=split)
    assert_closed_manifold(surface.vertices, surface.faces)


def test_a_value_of_zero_keeps_the_winding():
    """A box whose faces lie on the grid's planes: zeros all over its surface."""
    axis = torch.arange(8.0) - 3.0
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
    values = points.abs().amax(-1) - 2.0
    assert int((values == 0).sum()) > 90
    surface = flexicubes(values, points, FlexiCubesWeights.at_rest(values))
    assert_closed_manifold(surface.vertices, surface.faces)
    a, b, c = surface.vertices[surface.faces].unbind(1)
    # about a point within, every face looks away from it
    assert float((torch.linalg.cross(b - a, c - a) * (a + b + c)).sum(1).min()) > 0


def test_gamma_chooses_the_diagonal_and_moves_the_centre():
    """A plane of cells: the diagonal joins the cells of the larger gammas, and the centre goes towards it."""
    values = torch.linspace(-1, 1, 4)[None, None].expand(3, 3, 4).contiguous() + 0.1
    rest = FlexiCubesWeights.at_rest(values)
    positions = index_positions(values)
    positions[0, 0, :, 2] += 0.3
    (quad,) = dual_connectivity(values).quads.tolist()
    cells = dual_connectivity(values).cells
    for first in (True, False):
        gamma = rest.gamma.clone()
        for corner in (quad[0], quad[2]) if first else (quad[1], quad[3]):
            gamma[tuple(cells[corner])] = 3.0
        weights = FlexiCubesWeights(rest.alpha, rest.beta, gamma)
        surface = flexicubes(values, positions, weights)
        shared = set(surface.faces[0].tolist()) & set(surface.faces[1].tolist())
        assert shared == ({quad[0], quad[2]} if first else {quad[1], quad[3]})
        middles = (
            (surface.vertices[quad[0]] + surface.vertices[quad[2]]) / 2,
            (surface.vertices[quad[1]] + surface.vertices[quad[3]]) / 2,
        )
        center = flexicubes(values, positions, weights, split="center").vertices[-1]
        expected = torch.lerp(*middles, 0.1 if first else 0.9)
        torch.testing.assert_close(center, expected)


def test_deviations_vanish_where_crossings_lie_around_their_vertex():
    values = torch.ones(3, 3, 3)
    values[1, 1, 1] = -1.0
    surface = flexicubes(values, index_positions(values), FlexiCubesWeights.at_rest(values))
    assert float(surface.deviations.max()) < 1e-6
    moved = flexicubes(values, index_positions(values), random_weights(values, seed=0))
    assert float(moved.deviations.mean()) > 0.01


def test_what_does_not_fit_is_refused():
    values = torch.ones(3, 3, 3)
    values[1, 1, 1] = -1.0
    rest = FlexiCubesWeights.at_rest(values)
    positions = index_positions(values)
    with pytest.raises(UsageError, match=r"positions of shape \(3, 3, 3, 3\)"):
        flexicubes(values, positions[..., :2], rest)
    with pytest.raises(UsageError, match="least gamma is 0"):
        flexicubes(values, positions, FlexiCubesWeights(rest.alpha, rest.beta, rest.gamma * 0))
    with pytest.raises(UsageError, match="did you mean 'center'"):
        flexicubes(values, positions, rest, split="centre")
    with pytest.raises(DataError, match="nan at corner"):
        flexicubes(values * torch.nan, positions, rest)
