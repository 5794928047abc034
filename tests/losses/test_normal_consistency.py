from dataclasses import replace

import pytest
import torch

from onefield.cameras import Cameras, Picture
from onefield.fields.analytic import SphereField
from onefield.losses.normal_consistency import depth_normals, normal_consistency_term
from onefield.losses.term import Evidence
from onefield.types import Rendering, Splats

NORMAL = torch.nn.functional.normalize(torch.tensor([0.4, -0.3, -0.9]), dim=0)


def picture() -> Picture:
    turned = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64))[0]
    turned = turned * torch.linalg.det(turned).sign()
    pose = torch.cat([turned, torch.tensor([[1.0], [2.0], [3.0]])], dim=1)
    return Cameras.pinhole(pose[None], 12.0, [9.0, 3.0], 12, 9).image_rays(0)


def plane_distances(rays: Picture) -> tuple[torch.Tensor, torch.Tensor]:
    """Of a plane three units before the camera, and its normal towards it."""
    normal = rays.camera.camera_to_world[0, :, :3].float() @ NORMAL
    return -3 / (rays.directions @ normal), normal


def evidence(rays, normals, opacity, distances, **more) -> Evidence:
    color = torch.zeros(len(rays), 3)
    splats = Splats(torch.zeros(1, 2), torch.zeros(1, 2), torch.zeros(1, 2), rays.shape, torch.zeros(1, 3), normals)
    rendering = Rendering(color, distances, opacity, splats=splats)
    return Evidence(color, color, SphereField(), rendering=rendering, rays=rays, **more)


def test_the_depth_of_a_plane_has_its_normal():
    rays = picture()
    distances, normal = plane_distances(rays)
    torch.testing.assert_close(depth_normals(rays, distances), normal.expand(7, 10, 3), atol=1e-4, rtol=0)


def test_normals_that_agree_cost_nothing_and_others_one_less_the_cosine():
    rays = picture()
    distances, normal = plane_distances(rays)
    opacity = torch.full((len(rays),), 0.5)
    agreeing = evidence(rays, 0.5 * normal.expand(len(rays), 3), opacity, distances)
    assert float(normal_consistency_term().evaluate(agreeing)) == pytest.approx(0, abs=1e-5)
    # two halves that lean to either side do not agree, though their mean does
    leaning = evidence(rays, 0.5 * 0.6 * normal.expand(len(rays), 3), opacity, distances)
    assert float(normal_consistency_term().evaluate(leaning)) == pytest.approx(0.5 * 0.5 * (1 - 0.6), abs=1e-5)


def test_holes_break_nothing_and_give_no_gradient():
    rays = picture()
    distances, normal = plane_distances(rays)
    shows = torch.ones(9, 12)
    shows[:, ::2] = 0
    shows = shows.reshape(-1)
    distances = (distances * shows).requires_grad_(True)
    loss = normal_consistency_term().evaluate(
        evidence(rays, (shows[:, None] * normal).requires_grad_(True), shows, distances)
    )
    loss.backward()
    assert loss.item() == 0
    assert not distances.grad.any()


def test_gradients_turn_normals_and_move_depths():
    rays = picture()
    distances, normal = plane_distances(rays)
    distances = (distances + 0.1 * torch.rand(len(rays), generator=torch.Generator().manual_seed(0))).double()
    rays = replace(rays, origins=rays.origins.double(), directions=rays.directions.double())
    normals = normal.double().expand(len(rays), 3).clone()
    opacity = torch.full((len(rays),), 0.9).double()

    def loss(normals, distances):
        return normal_consistency_term().evaluate(evidence(rays, normals, opacity, distances))

    leaves = (normals.requires_grad_(True), distances.requires_grad_(True))
    assert torch.autograd.gradcheck(loss, leaves, fast_mode=True)
    assert all(slope.any() for slope in torch.autograd.grad(loss(*leaves), leaves))


def test_it_begins_late_and_needs_what_was_splatted():
    rays = picture()
    distances, _ = plane_distances(rays)
    opacity, normals = torch.ones(len(rays)), torch.zeros(len(rays), 3)
    term = normal_consistency_term(begin=0.3)
    assert term.evaluate(evidence(rays, normals, opacity, distances, progress=0.2)) == 0
    assert term.evaluate(evidence(rays, normals, opacity, distances, progress=0.3)) > 0
    color = torch.zeros(4, 3)
    assert term.evaluate(Evidence(color, color, SphereField())) == 0
    assert term.evaluate(evidence(rays, None, opacity, distances)) == 0
