"""Losses on meshes: closed forms, hand-made hinges, finite differences."""

import math

import pytest
import torch

from onefield.losses.meshes import bending, developability, edge_lengths, enclosed_volume, face_areas, sign_changes

BOX = torch.tensor([[x, y, z] for x in (0.0, 2.0) for y in (0.0, 3.0) for z in (0.0, 4.0)], dtype=torch.float64)
BOX_FACES = torch.tensor(
    [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4],
     [1, 5, 7], [1, 7, 3]]
)  # fmt: skip


def fan(heights):
    """Six faces around a vertex at the origin, whose rim has these heights."""
    angles = torch.arange(6, dtype=torch.float64) * math.pi / 3
    rim = torch.stack((angles.cos(), angles.sin(), torch.tensor(heights, dtype=torch.float64)), dim=1)
    vertices = torch.cat((torch.zeros(1, 3, dtype=torch.float64), rim))
    return vertices, torch.tensor([[0, n + 1, (n + 1) % 6 + 1] for n in range(6)])


def test_volume_and_edges_of_a_box():
    assert enclosed_volume(BOX + 7, BOX_FACES).item() == pytest.approx(24)
    assert enclosed_volume(BOX, BOX_FACES.flip(1)).item() == pytest.approx(-24)
    assert face_areas(BOX, BOX_FACES).sum().item() == pytest.approx(52)
    lengths = edge_lengths(BOX, BOX_FACES)
    assert sorted(set(lengths.flatten().round(decimals=6).tolist())) == pytest.approx(
        [2, 3, math.sqrt(13), 4, math.sqrt(20), 5]
    )


def test_flat_and_hinged_surfaces_are_developable_and_cones_are_not():
    for heights in ([0.0] * 6, [0.0, 0.7, 0.7, 0.0, 0.9, 0.9]):
        assert developability(*fan(heights))[0].item() == pytest.approx(0, abs=1e-9)
    # a cone: normals (-s/2 cos, -s/2 sin, 1) around the axis, faces of equal angle
    vertices, faces = fan([0.5] * 6)
    a, b = vertices[1], vertices[2]
    angle = torch.acos(a @ b / (a @ a)).item()
    normal = torch.nn.functional.normalize(torch.linalg.cross(a, b), dim=0)
    across = 6 * angle * (1 - normal[2].item() ** 2) / 2
    assert developability(vertices, faces)[0].item() == pytest.approx(across)
    # corners of three faces may be sharp
    assert (developability(*fan([0.5] * 6))[1:] == 0).all()


def test_gradients_agree_with_finite_differences():
    noise = torch.randn(8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    vertices = (BOX + 0.1 * noise).requires_grad_()
    for loss in (edge_lengths, face_areas, enclosed_volume, developability, bending):
        assert torch.autograd.gradcheck(lambda v, of=loss: of(v, BOX_FACES), vertices)


@pytest.mark.parametrize("loss", [bending, developability])
def test_faces_without_area_pull_at_nothing(loss):
    # the middle of an edge of the box, and the sliver between it and the edge
    vertices = torch.cat((BOX, BOX[[0, 1]].mean(0, keepdim=True))).requires_grad_()
    for faces in (BOX_FACES, torch.cat((BOX_FACES, torch.tensor([[0, 8, 1]])))):
        (slope,) = torch.autograd.grad(loss(vertices, faces).sum(), vertices)
        assert float(slope.abs().max()) < 10


def test_only_changes_of_sign_cost():
    values = torch.tensor([-2.0, 1.0, 3.0], requires_grad=True)
    # -2 against outside, 1 against inside; 3 has no neighbour of another sign
    expected = (math.log1p(math.exp(2.0)) + math.log1p(math.exp(1.0))) / 2
    loss = sign_changes(values[:2], values[1:])
    assert loss.item() == pytest.approx(expected)
    (gradient,) = torch.autograd.grad(loss, values)
    assert (gradient != 0).tolist() == [True, True, False]
    assert gradient[0] < 0 < gradient[1]
    assert sign_changes(torch.ones(2), torch.ones(2)).item() == 0
