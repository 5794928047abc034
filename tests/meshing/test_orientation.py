from dataclasses import replace

import numpy as np
import torch
import trimesh

from onefield.meshing.orientation import turned_alike
from onefield.meshing.report import report_mesh
from onefield.types import Mesh


def mixed_up(mesh: Mesh) -> Mesh:
    faces = mesh.faces.clone()
    turned = torch.rand(len(faces), generator=torch.Generator().manual_seed(0)) < 0.5
    faces[turned] = faces[turned].flip(1)
    return replace(mesh, faces=faces)


def ball(center: float = 0.0) -> Mesh:
    shape = trimesh.creation.icosphere(subdivisions=2)
    return Mesh(torch.tensor(shape.vertices + center, dtype=torch.float32), torch.tensor(np.array(shape.faces)))


def test_each_piece_is_turned_outward():
    one, other = ball(), ball(5.0)
    both = Mesh(torch.cat([one.vertices, other.vertices]), torch.cat([one.faces, other.faces + len(one.vertices)]))
    assert not report_mesh(mixed_up(both)).consistent
    report = report_mesh(turned_alike(mixed_up(both)))
    assert report.watertight
    assert report.volume == report_mesh(both).volume > 0


def test_faces_that_agree_stay():
    assert torch.equal(turned_alike(ball()).faces, ball().faces)
    assert len(turned_alike(Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.long))).faces) == 0


def test_a_strip_with_one_side_keeps_a_seam():
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    across = 0.2 * np.stack(
        [np.cos(angle / 2) * np.cos(angle), np.cos(angle / 2) * np.sin(angle), np.sin(angle / 2)], 1
    )
    middle = np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)
    rails = np.arange(24).reshape(12, 2)
    following = np.roll(rails, -1, axis=0)
    following[-1] = following[-1, ::-1]  # the half turn
    faces = np.concatenate(
        [
            np.stack([rails[:, 0], rails[:, 1], following[:, 0]], 1),
            np.stack([rails[:, 1], following[:, 1], following[:, 0]], 1),
        ]
    )
    vertices = np.stack([middle + across, middle - across], 1).reshape(-1, 3)
    strip = Mesh(torch.tensor(vertices, dtype=torch.float32), torch.tensor(faces))
    report = report_mesh(turned_alike(mixed_up(strip)))
    assert not report.consistent
    assert report.faces == 24
