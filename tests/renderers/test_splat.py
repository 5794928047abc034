"""Splatting against a float64 sum over all Gaussians at every pixel, finite differences, and closed forms."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from onefield.cameras import Cameras, Picture
from onefield.errors import UsageError
from onefield.fields.analytic import SphereField
from onefield.fields.gaussians import GaussianField
from onefield.kernels import use
from onefield.kernels.gaussian_blending import MAX_ALPHA, STOP
from onefield.kernels.gaussian_footprints import rotations
from onefield.kernels.gaussian_tiles import LEAST_ALPHA
from onefield.kernels.harmonic_colors import harmonic_basis
from onefield.renderers.background import White
from onefield.renderers.schools import ONEFIELD, School
from onefield.renderers.splat import SplatRenderer
from onefield.types import Bounds, Gaussians

BROWN = [0.12, -0.05, 0.002, -0.003, 0.01, 0.03, -0.02, 0.004]
FISHEYE = [0.03, -0.01, 0.004, -0.001, 0.0, 0.0, 0.0, 0.0]


def camera(width=40, height=30, lens="pinhole", back=3.0) -> Cameras:
    pose = torch.tensor([[[1.0, 0.0, 0.0, 0.1], [0.0, 0.8, -0.6, 0.6 * back], [0.0, 0.6, 0.8, -0.8 * back]]])
    plain = Cameras.pinhole(pose, [width * 1.1, width * 1.2], [width * 0.53, height * 0.45], width, height)
    if lens == "pinhole":
        return plain
    distortion = torch.tensor([BROWN if lens == "brown" else FISHEYE], dtype=torch.float64)
    return replace(plain, distortion=distortion, fisheye=torch.tensor([lens == "fisheye"]))


def random_field(count=60, degree=2, dtype=torch.float32, size=0.15) -> GaussianField:
    generator = torch.Generator().manual_seed(count)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    bands = tuple(0.4 * normal(count, 2 * band + 1, 3) for band in range(degree + 1))
    means = normal(count, 3) * 0.5
    scales = math.log(size) + 0.5 * normal(count, 3)
    return GaussianField(Bounds.cube(1.0), Gaussians(means, scales, normal(count, 4), normal(count), bands))


def brute_force(field: GaussianField, view: Cameras, antialiased: bool) -> torch.Tensor:
    """Colour over white, every Gaussian at every pixel, in float64; Jacobians by automatic differentiation."""
    gaussians = field.double().gaussians()
    picture = view.image_rays(0)
    height, width = picture.shape
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    centres = torch.stack([x, y], -1).reshape(-1, 2).double()

    def pixel(point):
        return view.project(torch.tensor([0]), point[None])[0][0]

    jacobians = torch.stack([torch.autograd.functional.jacobian(pixel, mean) for mean in gaussians.means.detach()])
    middles = torch.stack([pixel(mean) for mean in gaussians.means.detach()])
    axes = rotations(gaussians.quaternions) * gaussians.log_scales.exp()[:, None]
    sharp = jacobians @ axes @ axes.mT @ jacobians.mT
    wide = sharp + ONEFIELD.low_pass * torch.eye(2)
    opacities = torch.sigmoid(gaussians.opacities)
    if antialiased:
        opacities = opacities * (torch.linalg.det(sharp) / torch.linalg.det(wide)).sqrt()
    outward = torch.nn.functional.normalize(gaussians.means - view.positions[0], dim=-1)
    colors = (harmonic_basis(outward, gaussians.degree)[:, :, None] * torch.cat(gaussians.harmonics, 1)).sum(1) + 0.5
    local = (gaussians.means - view.positions[0]) @ view.camera_to_world[0, :, :3]
    depth = local.norm(dim=-1) if bool(view.fisheye) else local[:, 2]
    passing, shown = torch.ones(len(centres), dtype=torch.float64), torch.zeros(len(centres), 3, dtype=torch.float64)
    ended = torch.zeros(len(centres), dtype=torch.bool)
    for i in depth.argsort().tolist():
        offset = centres - middles[i]
        alpha = opacities[i] * torch.exp(-0.5 * (offset @ torch.linalg.inv(wide[i]) * offset).sum(-1))
        alpha = torch.where(alpha < LEAST_ALPHA, 0.0, alpha.clamp(max=MAX_ALPHA))
        ended |= passing * (1 - alpha) < STOP
        alpha = torch.where(ended, 0.0, alpha)
        shown = shown + (passing * alpha)[:, None] * colors[i].clamp(min=0)
        passing = passing * (1 - alpha)
    return (shown + passing[:, None]).reshape(height, width, 3).detach()


@pytest.mark.parametrize("antialiased", [False, True])
@pytest.mark.parametrize("lens", ["pinhole", "brown", "fisheye"])
def test_pictures_agree_with_every_gaussian_at_every_pixel(lens, antialiased):
    field, view = random_field(), camera(lens=lens)
    renderer = SplatRenderer(White(), school=School(antialiased=antialiased))
    fast = renderer.render_image(field, view, 0).color
    truth = brute_force(random_field(), view, antialiased)
    # a cut of 1/255 that rounding decides otherwise may move a pixel by as much
    off = (fast.double() - truth).abs().amax(-1)
    assert float((off > 1e-4).double().mean()) < 0.003
    assert float(off.max()) < 1.5 * LEAST_ALPHA
    assert float(truth.min()) < 0.6


def test_one_splat_has_its_opacity_and_colour_in_the_middle_and_the_size_of_its_projection():
    focal, distance, scale = 100.0, 4.0, 0.1
    pose = torch.eye(4)[None, :3].clone()
    view = Cameras.pinhole(pose, focal, [20.5, 20.5], 41, 41)
    one = Gaussians(
        torch.tensor([[0.0, 0.0, distance]]),
        torch.full((1, 3), math.log(scale)),
        torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
        torch.zeros(1),
        (torch.full((1, 1, 3), 0.8),),
    )
    image = SplatRenderer().render_image(GaussianField(Bounds.cube(5.0), one), view, 0)
    assert float(image.opacity[20, 20]) == pytest.approx(0.5, abs=1e-5)
    assert float(image.color[20, 20, 0]) == pytest.approx(0.5 * (0.8 * 0.28209479 + 0.5), abs=1e-5)
    assert float(image.depth[20, 20]) == pytest.approx(distance, abs=1e-4)
    variance = (focal * scale / distance) ** 2 + ONEFIELD.low_pass
    assert float(image.opacity[20, 23]) == pytest.approx(0.5 * math.exp(-4.5 / variance), abs=1e-5)
    # depth is along the ray, which leaves the middle at an angle
    assert float(image.depth[20, 23]) == pytest.approx(distance * math.hypot(1, 3 / focal), abs=1e-3)


@pytest.mark.parametrize("lens", ["pinhole", "brown", "fisheye"])
def test_every_parameter_pose_and_background_is_differentiated_right(lens):
    field = random_field(4, degree=1, dtype=torch.float64, size=0.4)
    view = camera(6, 5, lens)
    renderer = SplatRenderer(school=School(antialiased=True))
    names = [name for name, _ in field.named_parameters()]
    leaves = [p.detach().clone().requires_grad_(True) for p in field.parameters()]
    pose = view.camera_to_world.clone().requires_grad_(True)
    behind = torch.rand(30, 3, dtype=torch.float64, requires_grad=True)

    class Given(torch.nn.Module):
        def gaussians(self):
            return Gaussians(*leaves[:4], tuple(leaves[4:]))

        def __len__(self):
            return len(leaves[0])

    def pictured(pose, behind, *parameters):
        leaves[:] = parameters
        moved = replace(view, camera_to_world=pose)
        rays = view.image_rays(0)
        rays = replace(rays, directions=rays.directions.double(), origins=rays.origins.double(), camera=moved)
        drawn = renderer.render(Given(), rays, background=behind, normals=True)
        return drawn.color, drawn.opacity, drawn.distortion

    assert names[:4] == ["means", "log_scales", "quaternions", "opacities"]
    assert torch.autograd.gradcheck(pictured, (pose, behind, *leaves), atol=1e-5, fast_mode=True)


def test_kernels_and_references_give_the_same_gradients_through_the_whole_renderer():
    view, answers = camera(), []
    for mode in ("fast", "reference"):
        field = random_field(80)
        with use(mode):
            drawn = SplatRenderer(White()).render(field, view.image_rays(0), normals=True)
            loss = (drawn.color * torch.linspace(0, 1, 1200)[:, None]).sum() + drawn.depth.mean() + drawn.normal.mean()
            loss.backward()
        answers.append([drawn.color.detach(), *[p.grad for p in field.parameters()]])
    for fast, reference in zip(*answers, strict=True):
        scale = max(1.0, float(reference.abs().max()))
        assert float((~torch.isclose(fast, reference, atol=2e-4 * scale, rtol=1e-2)).double().mean()) < 0.01


def test_what_is_behind_or_near_the_camera_is_left_out_and_nothing_to_see_shows_the_background():
    field = random_field(20)
    away = camera()
    away = replace(away, camera_to_world=away.camera_to_world @ torch.diag(torch.tensor([-1.0, 1, -1, 1])).double())
    drawn = SplatRenderer(White()).render(field, away.image_rays(0))
    assert (drawn.color == 1).all()
    drawn.color.sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in field.parameters())
    near = SplatRenderer(White(), school=School(near=100.0)).render_image(field, camera(), 0)
    assert (near.color == 1).all()
    assert (near.depth == 0).all()


def test_a_gaussian_on_the_camera_plane_breaks_nothing():
    view = camera()
    field = random_field(10)
    with torch.no_grad():
        field.means[0] = view.positions[0].float()
        field.means[1] = (view.positions[0] + view.camera_to_world[0, :, 0]).float()
        field.log_scales[2] = 20.0
        field.log_scales[3] = -40.0
        field.quaternions[4] = 0.0
    drawn = SplatRenderer().render(field, view.image_rays(0))
    drawn.color.sum().backward()
    assert torch.isfinite(drawn.color).all()
    assert all(torch.isfinite(p.grad).all() for p in field.parameters())


def test_normals_of_a_disc_face_the_camera():
    disc = random_field(1)
    with torch.no_grad():
        disc.means[0] = 0.0
        disc.log_scales[0] = torch.tensor([0.5, 0.5, 1e-3]).log()
        disc.quaternions[0] = torch.tensor([1.0, 0.0, 0.0, 0.0])
        disc.opacities[0] = 4.0
    view = camera()
    image = SplatRenderer().render_image(disc, view, 0, normals=True)
    middle = image.normal[13, 21]
    assert float(middle @ view.forwards[0].float()) < 0
    torch.testing.assert_close(middle.abs(), torch.tensor([0.0, 0.0, 1.0]))


@pytest.mark.parametrize("lens", ["pinhole", "fisheye"])
def test_the_median_depth_is_the_first_opaque_gaussians_distance(lens):
    """A wall of dense Gaussians behind a veil: the mean lies between them, the median on the wall."""
    view = camera(lens=lens)
    position, forward = view.positions[0].float(), view.forwards[0].float()
    spread = torch.linspace(-1, 1, 25)
    across = torch.stack(torch.meshgrid(spread, spread, indexing="ij"), dim=-1).reshape(-1, 2)
    sides = torch.linalg.svd(forward[None])[2][1:]
    wall = position + 3 * forward + 2 * across @ sides
    veil = position + 1.5 * forward + across @ sides
    count = len(wall)
    scales = torch.cat([torch.full((count, 3), 0.12), torch.full((count, 3), 0.06)]).log()
    opacities = torch.logit(torch.cat([torch.full((count,), 0.98), torch.full((count,), 0.02)]))
    colors = (torch.zeros(2 * count, 1, 3),)
    quaternions = torch.tensor([1.0, 0, 0, 0]).expand(2 * count, 4)
    field = GaussianField(Bounds.cube(4.0), Gaussians(torch.cat([wall, veil]), scales, quaternions, opacities, colors))
    image = SplatRenderer().render_image(field, view, 0, quantiles=(0.5,))
    middle = image.quantiles[13:17, 18:22, 0]
    # distances along rays to the wall, within the size of a Gaussian
    rays = view.image_rays(0)
    expected = (3 / (rays.directions @ forward)).reshape(30, 40)[13:17, 18:22]
    if lens == "fisheye":
        torch.testing.assert_close(middle, expected, atol=0.15, rtol=0)
    else:
        torch.testing.assert_close(middle, expected, atol=1e-3, rtol=0)
    assert float((image.depth[13:17, 18:22] - expected).mean()) < -0.05


def test_it_says_what_it_cannot_draw():
    view = camera()
    with pytest.raises(UsageError, match="SphereField is no set of them"):
        SplatRenderer().check(SphereField())
    rays = view.image_rays(0)
    with pytest.raises(UsageError, match="whole pictures"):
        SplatRenderer().render(random_field(5), rays[3:8])
    assert isinstance(rays, Picture)
