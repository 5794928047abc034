"""What a camera sees of a ball, against closed forms."""

import torch

from onefield.fields.analytic import SphereField
from onefield.meshing.level_sets import extract_mesh
from onefield.meshing.preview import orbit_camera
from onefield.meshing.visibility import LEAST_COSINE, seen_points

RADIUS = 0.6


def test_a_camera_sees_what_is_turned_to_it_with_so_many_pixels():
    mesh = extract_mesh(SphereField(RADIUS), resolution=48)
    random = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    outward = torch.nn.functional.normalize(random, dim=1)
    camera = orbit_camera(mesh, width=160, height=160)
    seen = seen_points(mesh, RADIUS * outward, outward, camera)
    towards = RADIUS * outward - camera.positions[0].double()
    distance = towards.norm(dim=1)
    cosine = -(towards * outward).sum(1) / distance
    # the picture holds all of the ball, and a convex shape hides nothing that is turned to the eye
    assert seen.indices.tolist() == (cosine > LEAST_COSINE).nonzero()[:, 0].tolist()
    assert 1000 < len(seen.indices) < 2000
    expected = (towards / distance[:, None])[seen.indices]
    torch.testing.assert_close(seen.directions, expected.float(), atol=1e-6, rtol=0)
    # a small triangle's picture; up to 17 degrees beside the middle, pixels show less of what lies around
    step = 1e-4
    across = torch.nn.functional.normalize(torch.linalg.cross(outward, outward.roll(1, 1)), dim=1)
    upward = torch.linalg.cross(outward, across)
    corners = [
        camera.project(torch.tensor(0), RADIUS * outward + step * side)[0] for side in (0 * across, across, upward)
    ]
    first, second = (corner[seen.indices] - seen.pixels for corner in corners[1:])
    torch.testing.assert_close(seen.pixels, corners[0][seen.indices])
    area = (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]).abs() / step**2
    torch.testing.assert_close(seen.density, area, rtol=0.16, atol=0)
