"""FlexiCubes on octrees: sound on random ones, FlexiCubes on equal leaves, gradients by finite differences."""

import pytest
import torch

from onefield.errors import DataError, UsageError
from onefield.kernels.flexicubes import FlexiCubesWeights, flexicubes
from onefield.kernels.octree import balanced_octree
from onefield.kernels.octree_flexicubes import octree_flexicubes, octree_weights_at_rest
from tests.kernels.surfaces import assert_closed_manifold, padded


def drawn_weights(rest, seed):
    generator = torch.Generator().manual_seed(seed)
    parts = (rest.alpha, rest.beta, rest.gamma)
    return FlexiCubesWeights(*(0.05 + 1.9 * torch.rand(p.shape, generator=generator, dtype=p.dtype) for p in parts))


def random_octree(seed, side=16, share=0.15):
    generator = torch.Generator().manual_seed(seed)
    divided = [torch.rand((side >> level,) * 3, generator=generator) < share for level in (1, 2, 3)]
    return balanced_octree((side,) * 3, divided)


def noise_on(octree, seed, dtype=torch.float32):
    """Outside at the box's faces, so that the surface closes."""
    values = torch.rand(len(octree.nodes), generator=torch.Generator().manual_seed(seed), dtype=dtype) - 0.5
    border = ((octree.nodes == 0) | (octree.nodes == octree.nodes.new_tensor(octree.cells))).any(1)
    return torch.where(border, 1.0, values)


@pytest.mark.parametrize("split", ["diagonal", "center"])
def test_noise_on_random_octrees_gives_a_closed_manifold(split):
    triangles = 0
    for seed in range(6):
        octree = random_octree(seed, share=0.02 * 2**seed if seed < 5 else 0.05)
        values = noise_on(octree, seed)
        weights = drawn_weights(octree_weights_at_rest(values, octree), seed)
        surface = octree_flexicubes(octree, values, octree.nodes.float(), weights, split=split)
        assert_closed_manifold(surface.vertices, surface.faces)
        triangles += len(surface.faces)
    assert triangles > 10_000


def test_equal_leaves_give_what_a_grid_gives():
    """Noise with joined faces and cells of several vertices, leaves of side 2 throughout."""
    noise = torch.rand((9, 8, 7), generator=torch.Generator().manual_seed(5)) - 0.5
    values = torch.nn.functional.pad(padded(noise), (0, 0, 0, 1, 0, 0), value=1.0)
    cells = tuple(2 * (size - 1) for size in values.shape)
    octree = balanced_octree(cells, [torch.zeros([count // 2 for count in cells], dtype=torch.bool)])
    weights = drawn_weights(FlexiCubesWeights.at_rest(values), 1)
    positions = octree.nodes / 2
    expected = flexicubes(values, positions.reshape(*values.shape, 3), weights)
    flat = FlexiCubesWeights(weights.alpha.flatten(0, 2), weights.beta.flatten(0, 2), weights.gamma.flatten())
    found = octree_flexicubes(octree, values.flatten(), positions, flat)

    def corners(surface):
        triangles = (surface.vertices[surface.faces] * 2**12).round().long()
        # each triangle from its least corner on, so that they can be sorted
        turned = [min(t[n:] + t[:n] for n in range(3)) for t in triangles.tolist()]
        return sorted(turned)

    assert len(found.vertices) == len(expected.vertices)
    found, expected = torch.tensor(corners(found)), torch.tensor(corners(expected))
    assert found.shape == expected.shape
    assert int((found - expected).abs().max()) <= 1
    assert len(found) > 1000


@pytest.mark.parametrize("split", ["diagonal", "center"])
def test_gradients_agree_with_finite_differences(split):
    octree = random_octree(3, side=8, share=0.1)
    values = noise_on(octree, 3, torch.float64)
    values = values + 0.1 * values.sign()
    jitter = torch.rand(octree.nodes.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    positions = octree.nodes + 0.2 * jitter
    weights = drawn_weights(octree_weights_at_rest(values, octree), 2)
    drawn = torch.randn(3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)

    def measure(values, positions, alpha, beta, gamma):
        surface = octree_flexicubes(octree, values, positions, FlexiCubesWeights(alpha, beta, gamma), split=split)
        return (surface.vertices.sin() @ drawn).sum(), surface.deviations.sum()

    inputs = (values, positions, weights.alpha, weights.beta, weights.gamma)
    inputs = tuple(given.detach().requires_grad_() for given in inputs)
    assert torch.autograd.gradcheck(measure, inputs, fast_mode=True)
    gradients = torch.autograd.grad(sum(measure(*inputs)), inputs, allow_unused=True)
    moved = gradients if split == "center" else gradients[:4]
    assert all(float(gradient.abs().max()) > 0 for gradient in moved)


def test_a_plane_across_leaves_of_two_sizes_stays_flat_and_whole():
    """Crossings of a linear function are exact, and so are means of them, whatever the sizes."""
    divided = torch.zeros(4, 4, 4, dtype=torch.bool)
    divided[:2, 1:3, :3] = True
    octree = balanced_octree((8, 8, 8), [divided])
    normal = torch.tensor([0.311, -0.217, 1.0], dtype=torch.float64)
    values = octree.nodes.double() @ normal - 3.237
    surface = octree_flexicubes(octree, values, octree.nodes.double(), octree_weights_at_rest(values, octree))
    assert float((surface.vertices @ normal - 3.237).abs().max()) < 1e-12
    a, b, c = surface.vertices[surface.faces].unbind(1)
    # seen from above no face is folded under another
    assert float(torch.linalg.cross(b - a, c - a)[:, 2].min()) > 0
    # a disc, without holes between sizes
    edges = surface.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).sort(dim=1).values.unique(dim=0)
    assert len(surface.vertices) - len(edges) + len(surface.faces) == 1


def test_what_does_not_fit_is_refused():
    octree = random_octree(0, side=8)
    values = noise_on(octree, 0)
    rest = octree_weights_at_rest(values, octree)
    positions = octree.nodes.float()
    with pytest.raises(UsageError, match=r"as many values, got a tensor of shape \(3,\)"):
        octree_flexicubes(octree, values[:3], positions, rest)
    with pytest.raises(UsageError, match="alpha of shape"):
        octree_flexicubes(octree, values, positions, FlexiCubesWeights(rest.beta, rest.beta, rest.gamma))
    with pytest.raises(UsageError, match="least gamma is 0"):
        octree_flexicubes(octree, values, positions, FlexiCubesWeights(rest.alpha, rest.beta, rest.gamma * 0))
    with pytest.raises(UsageError, match="did you mean 'center'"):
        octree_flexicubes(octree, values, positions, rest, split="centre")
    with pytest.raises(DataError, match="nan at node"):
        octree_flexicubes(octree, values * torch.nan, positions, rest)


def test_nothing_inside_gives_no_face():
    octree = random_octree(0, side=8)
    values = torch.ones(len(octree.nodes))
    surface = octree_flexicubes(octree, values, octree.nodes.float(), octree_weights_at_rest(values, octree))
    assert surface.vertices.shape == (0, 3)
    assert surface.faces.shape == (0, 3)
