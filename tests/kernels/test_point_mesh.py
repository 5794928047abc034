import math

import pytest
import torch
import trimesh

from onefield.errors import DataError
from onefield.kernels.dispatch import use
from onefield.kernels.point_mesh import LEAF, build_tree, closest_point, signed_distance, winding_number


def tree_of(mesh: trimesh.Trimesh):
    return build_tree(torch.tensor(mesh.vertices, dtype=torch.float32), torch.tensor(mesh.faces))


def random_points(count: int, reach: float = 1.0) -> torch.Tensor:
    return (torch.rand(count, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1) * reach


@pytest.mark.parametrize("mode", ["fast", "reference"])
def test_box_has_its_closed_form(mode):
    tree = tree_of(trimesh.creation.box((1.0, 0.6, 0.4)))
    points = random_points(300)
    beyond = points.abs() - torch.tensor([0.5, 0.3, 0.2])
    expected = beyond.clamp(min=0).norm(dim=-1) + beyond.amax(-1).clamp(max=0)
    with use(mode):
        torch.testing.assert_close(signed_distance(points, tree), expected, atol=1e-6, rtol=1e-5)


def test_kernels_equal_the_references_on_a_triangle_soup():
    generator = torch.Generator().manual_seed(1)
    vertices = torch.rand(60, 3, generator=generator) * 2 - 1
    faces = torch.randint(0, 60, (45, 3), generator=generator)
    faces[0] = torch.tensor([3, 3, 3])
    faces[1] = torch.tensor([4, 5, 4])
    tree = build_tree(vertices, faces)
    points = torch.cat([random_points(200, 2.0), vertices[:10], vertices[faces[2:12]].mean(1)])
    found, owners = closest_point(points, tree)
    with use("reference"):
        expected, _ = closest_point(points.double(), tree)
    gap, exact = (points - found).norm(dim=-1), (points.double() - expected).norm(dim=-1)
    torch.testing.assert_close(gap.double(), exact, atol=2e-6, rtol=1e-5)
    # the point found lies on the face that is named
    corners = vertices[faces[owners]]
    alone = torch.stack(
        [
            (p - closest_point(p[None], build_tree(c, torch.tensor([[0, 1, 2]])))[0][0]).norm()
            for p, c in zip(found[:50], corners[:50], strict=True)
        ]
    )
    assert alone.max() < 1e-5


@pytest.mark.parametrize("mode", ["fast", "reference"])
def test_winding_number_tells_inside_from_outside(mode):
    sphere = trimesh.creation.icosphere(subdivisions=3, radius=0.7)
    points = random_points(400)
    radius = points.norm(dim=-1)
    clear = (radius - 0.7).abs() > 0.02
    with use(mode):
        winding = winding_number(points, tree_of(sphere))[clear]
    torch.testing.assert_close(winding, (radius[clear] < 0.7).float(), atol=0.05, rtol=0)


def test_half_a_sphere_winds_by_half_at_its_centre_and_sign_survives_a_small_hole():
    sphere = trimesh.creation.icosphere(subdivisions=4)
    half = sphere.submesh([sphere.triangles_center[:, 2] > 0], append=True)
    assert winding_number(torch.zeros(1, 3), tree_of(half)).item() == pytest.approx(0.5, abs=0.03)
    holed = sphere.submesh([sphere.triangles_center[:, 2] < 0.95], append=True)
    points = random_points(200) * 0.8
    inside = points.norm(dim=-1) < 0.8
    assert (signed_distance(points[inside], tree_of(holed)) < 0).all()


def test_faces_turned_inside_out_keep_the_sign():
    sphere = trimesh.creation.icosphere(subdivisions=2)
    sphere.invert()
    distance = signed_distance(torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 2.0]]), tree_of(sphere))
    assert distance[0] == pytest.approx(-0.95, abs=0.06)
    assert distance[1] == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("count", [1, LEAF, LEAF + 1, 3 * LEAF])
def test_every_face_is_in_the_tree_once(count):
    generator = torch.Generator().manual_seed(2)
    tree = build_tree(torch.rand(9, 3, generator=generator), torch.randint(0, 9, (count, 3), generator=generator))
    assert sorted(tree.faces[tree.faces >= 0].tolist()) == list(range(count))
    assert len(tree.boxes) == 2 * len(tree.triangles) // LEAF - 1
    assert math.isfinite(tree.dipoles.sum().item())


def test_no_points_and_no_faces():
    tree = tree_of(trimesh.creation.box())
    assert signed_distance(torch.empty(0, 3), tree).shape == (0,)
    with pytest.raises(DataError, match="no faces"):
        build_tree(torch.rand(3, 3), torch.empty(0, 3, dtype=torch.long))
    with pytest.raises(DataError, match="NaN"):
        build_tree(torch.full((3, 3), float("nan")), torch.tensor([[0, 1, 2]]))
