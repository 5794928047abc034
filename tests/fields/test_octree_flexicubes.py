"""FlexiCubes on an octree: those of a grid on equal leaves, sound on any, trained through, refined and saved."""

import pytest
import torch
from torch.func import functional_call

from onefield.errors import DataError, UsageError
from onefield.fields.flexicubes import FlexiCubesField, corner_points
from onefield.fields.octree_flexicubes import OctreeFlexiCubesField
from onefield.kernels.octree import balanced_octree, equal_leaves
from onefield.types import Bounds
from tests.fields.test_flexicubes import distance, mean_distance, on_faces
from tests.kernels.surfaces import assert_closed_manifold

BOX = Bounds((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))
SHAPES = ("deformation", "corner_weights", "edge_weights", "split_weights")


def random_field(seed, side=16, share=0.01, dtype=torch.float32):
    """Noise at the nodes of a random octree, outside at its border, all that shapes it drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    divided = [torch.rand((side >> level,) * 3, generator=generator) < share for level in (1, 2)]
    octree = balanced_octree((side,) * 3, divided)
    values = torch.rand(len(octree.nodes), generator=generator, dtype=dtype) - 0.5
    values = values + 0.1 * values.sign()
    border = ((octree.nodes == 0) | (octree.nodes == side)).any(1)
    field = OctreeFlexiCubesField(BOX, octree, torch.where(border, 0.5, values))
    with torch.no_grad():
        for name in SHAPES:
            parameter = getattr(field, name)
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=dtype))
    return field


def turned_box_field(leaves=8, levels=2):
    corners = corner_points(BOX, (leaves,) * 3)
    values = distance(corners.reshape(-1, 3)).reshape(corners.shape[:3])
    return OctreeFlexiCubesField.coarse(BOX, (leaves,) * 3, levels, values)


def sorted_triangles(surface):
    """Each from its least corner on, in order; places to a 4096th."""
    triangles = (surface.vertices[surface.faces] * 2**12).round().long().tolist()
    return torch.tensor(sorted(min(t[n:] + t[:n] for n in range(3)) for t in triangles))


def test_equal_leaves_give_the_surface_of_the_grid():
    domain = Bounds((-1.0, 0.0, 2.0), (1.0, 3.0, 3.0))
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand((6, 7, 8), generator=generator) - 0.5
    grid = FlexiCubesField(domain, torch.nn.functional.pad(noise[1:-1, 1:-1, 1:-1], (1,) * 6, value=0.5))
    octree = OctreeFlexiCubesField.coarse(domain, grid.cells, 1, grid.values.detach() * grid.cell_side)
    assert octree.cell_side == pytest.approx(grid.cell_side / 2)
    with torch.no_grad():
        for name in SHAPES:
            drawn = torch.randn(getattr(grid, name).shape, generator=generator)
            getattr(grid, name).copy_(drawn)
            getattr(octree, name).copy_(drawn.reshape(getattr(octree, name).shape))
    found, expected = (sorted_triangles(field.surface("center")) for field in (octree, grid))
    assert found.shape == expected.shape
    assert len(found) > 500
    assert int((found - expected).abs().max()) <= 1
    ends = [torch.stack(field.neighbouring_values()) * field.cell_side for field in (octree, grid)]
    torch.testing.assert_close(*(pairs.sum(0).sort().values for pairs in ends))
    asked = torch.rand((50, 3), generator=generator) * torch.tensor(domain.extent) + torch.tensor(domain.minimum)
    torch.testing.assert_close(octree.query(asked).distance, grid.query(asked).distance, atol=1e-5, rtol=1e-4)


def test_noise_on_random_octrees_gives_a_closed_manifold():
    for seed in range(3):
        field = random_field(seed)
        assert set(field.sizes.tolist()) == {1, 2, 4}
        for split in ("diagonal", "center"):
            surface = field.surface(split)
            assert_closed_manifold(surface.vertices, surface.faces)


def test_gradients_agree_with_finite_differences():
    field = random_field(5, side=8, share=0.03, dtype=torch.float64)
    drawn = torch.randn(3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    names = ("values", *SHAPES)

    class Measured(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.field = field

        def forward(self):
            surface = self.field.surface("center")
            return (surface.vertices.sin() @ drawn).sum() + surface.deviations.sum()

    def measure(*parameters):
        given = {f"field.{name}": value for name, value in zip(names, parameters, strict=True)}
        return functional_call(Measured(), given)

    inputs = tuple(getattr(field, name).detach().clone().requires_grad_() for name in names)
    assert torch.autograd.gradcheck(measure, inputs, fast_mode=True)
    assert all(float(gradient.abs().max()) > 0 for gradient in torch.autograd.grad(measure(*inputs), inputs))


def test_leaves_are_halved_where_the_surface_bends_and_the_surface_becomes_the_shape():
    field = turned_box_field()
    before = field.mesh()
    for _ in range(2):
        field.refine(distance)
    crossed = (field.values[field.corners] < 0).any(1) & (field.values[field.corners] >= 0).any(1)
    assert set(field.sizes[crossed].tolist()) == {1, 2, 4}
    surface = field.surface()
    assert_closed_manifold(surface.vertices, surface.faces)
    uniform = FlexiCubesField(BOX, distance(corner_points(BOX, (32,) * 3).reshape(-1, 3)).reshape(33, 33, 33)).surface()
    assert len(surface.faces) < 0.6 * len(uniform.faces)
    points = on_faces(2000, torch.Generator().manual_seed(0))
    assert mean_distance(points, surface) < 1.3 * mean_distance(points, uniform)
    assert mean_distance(points, surface) < 0.3 * mean_distance(points, before)


def test_what_is_learned_survives_in_a_state_of_another_octree():
    field = random_field(1, side=8)
    other = OctreeFlexiCubesField(BOX, equal_leaves((8, 8, 8), 2), torch.ones(27))
    other.load_state_dict(field.state_dict())
    assert torch.equal(other.mesh().vertices, field.mesh().vertices)
    damaged = {**field.state_dict(), "sizes": field.sizes * 0 + 1}
    with pytest.raises(DataError, match="do not fill its box once"):
        other.load_state_dict(damaged)


def test_corners_stay_in_order_whatever_is_learned():
    field = random_field(2)
    with torch.no_grad():
        field.deformation.copy_(50 * torch.randn(field.deformation.shape, generator=torch.Generator().manual_seed(3)))
        low, high = (field.corner_positions()[rows] for rows in field.edges.unbind(1))
    assert float((high - low).amax(1).min()) > 0


def test_values_of_another_octree_are_refused():
    with pytest.raises(UsageError, match="27 nodes need a 3-D domain and as many values"):
        OctreeFlexiCubesField(BOX, equal_leaves((4, 4, 4), 1), torch.ones(5))
    with pytest.raises(UsageError, match="can't be filled by leaves of side 4"):
        equal_leaves((4, 6, 4), 2)
