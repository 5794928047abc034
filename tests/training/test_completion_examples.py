import pytest
import torch

from onefield.data.signals import Shape
from onefield.fields.analytic import SphereField
from onefield.meshing.level_sets import extract_mesh
from onefield.training.completion_examples import Solid, draw_example, is_closed
from onefield.types import Bounds, Mesh


def ball(radius: float = 2.0) -> Mesh:
    return extract_mesh(SphereField(radius, domain=Bounds.cube(1.2 * radius)), resolution=24)


def without_cap(mesh: Mesh, height: float) -> Mesh:
    return Mesh(mesh.vertices, mesh.faces[(mesh.vertices[mesh.faces.long()][..., 2] < height).all(1)])


def test_closed_is_what_tells_inside_from_outside():
    assert is_closed(Shape.of(ball()))
    assert is_closed(Shape.of(Mesh(ball().vertices, ball().faces.flip(1))))
    assert is_closed(Shape.of(without_cap(ball(), 1.995)))
    assert not is_closed(Shape.of(without_cap(ball(), 0.5)))


def test_points_lie_on_the_border_of_what_is_inside():
    """A ball stays an ellipsoid under all that is done to it, and the plane between points and queries is its own."""
    solid = Solid.of("ball", Shape.of(ball()), torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    shares, counts = [], []
    for _ in range(12):
        example = draw_example([solid], 400, generator)
        counts.append(len(example.points))
        assert example.queries.shape == (400, 3)
        assert ((example.queries >= 0) & (example.queries <= 1)).all()
        assert ((example.points > -0.1) & (example.points < 1.1)).all()
        shares.append(example.inside.float().mean().item())
        inside, outside = example.queries[example.inside], example.queries[~example.inside]
        # near the surface both kinds are about
        assert torch.cdist(example.points, inside).amin(1).median() < 0.1
        assert torch.cdist(example.points, outside).amin(1).median() < 0.1
        # an ellipsoid is convex: nothing outside lies midway between points inside
        pairs = inside[torch.randint(len(inside), (60, 2), generator=generator)].mean(1)
        near, which = torch.cdist(pairs, example.queries).min(1)
        assert example.inside[which][near < 0.005].all()
    assert min(counts) < 800 < max(counts)
    assert len(set(shares)) > 6


def test_the_stream_of_random_numbers_decides():
    solids = [Solid.of("ball", Shape.of(ball()), torch.Generator().manual_seed(0))]
    first, again, other = (draw_example(solids, 50, torch.Generator().manual_seed(seed)) for seed in (4, 4, 5))
    assert torch.equal(first.points, again.points)
    assert torch.equal(first.queries, again.queries)
    assert torch.equal(first.inside, again.inside)
    assert not torch.equal(first.queries, other.queries)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_the_unit_of_a_shape_does_not_matter(scale: float):
    mesh = ball()
    moved = Mesh(mesh.vertices * scale + 5 * scale, mesh.faces)
    pair = [Solid.of("ball", Shape.of(given), torch.Generator().manual_seed(0)) for given in (mesh, moved)]
    plain, scaled = (draw_example([solid], 200, torch.Generator().manual_seed(2)) for solid in pair)
    # a draw that falls on the border between two faces may go to either
    assert ((plain.points - scaled.points).abs() < 1e-4).float().mean() > 0.99
    assert (plain.inside == scaled.inside).float().mean() > 0.98
