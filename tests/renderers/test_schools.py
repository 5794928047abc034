"""Schools of splatting against a float64 sum over all Gaussians at every pixel, with each school's cuts written out."""

from __future__ import annotations

import math

import pytest
import torch

from onefield.cameras import Cameras
from onefield.fields.gaussians import GaussianField
from onefield.kernels import use
from onefield.renderers.schools import SCHOOLS
from onefield.renderers.splat import SplatRenderer
from onefield.types import Bounds, Gaussians

WIDTH, HEIGHT, FOCAL, CENTER = 56, 40, (50.0, 54.0), (20.0, 27.0)
# near plane, largest alpha, low-pass term, least compensation (None: classic), tiles of 3 deviations, clamp about axis
RULES = {
    "onefield": (0.01, 0.99, 0.3, None, False, False),
    "inria": (0.2, 0.99, 0.3, None, True, True),
    "gsplat": (0.01, 0.99, 0.3, None, False, False),
    "gsplat-1.5.3": (0.01, 0.999, 0.3, None, False, False),
    "mip-splatting": (0.2, 0.99, 0.1, 0.001, True, True),
}


def view() -> Cameras:
    return Cameras.pinhole(torch.eye(4)[None, :3].double(), FOCAL, CENTER, WIDTH, HEIGHT)


def field(dtype) -> GaussianField:
    """Some in the picture and beside it, some between near planes, some nearly opaque, some thinner than a pixel."""
    generator = torch.Generator().manual_seed(5)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    count = 90
    depths = torch.rand(count, generator=generator, dtype=torch.float64) * 4 + 1.5
    means = torch.cat([normal(count, 2) * 0.7, torch.ones(count, 1)], 1) * depths[:, None]
    means[0] = torch.tensor([0.01, 0.02, 0.15])
    scales = math.log(0.1) + 0.6 * normal(count, 3)
    scales[0] = math.log(0.004)
    scales[1:20] -= 3.5
    means[40:48, 0] = 0.95 * means[40:48, 2]
    scales[40:48] = math.log(0.5)
    opacities = 2 * normal(count)
    opacities[20:35] = 9.0
    colors = (normal(count, 1, 3),)
    given = (means, scales, normal(count, 4), opacities)
    return GaussianField(Bounds.cube(8.0), Gaussians(*(t.to(dtype) for t in given), tuple(c.to(dtype) for c in colors)))


def turned(quaternion):
    w, x, y, z = (quaternion / quaternion.norm()).tolist()
    v = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
    return torch.eye(3, dtype=torch.float64) + 2 * w * v + 2 * v @ v  # Rodrigues


def projected(mean, log_scale, quaternion, around_axis):
    x, y, z = mean.tolist()
    bounds = []
    for focal, center, size in zip(FOCAL, CENTER, (WIDTH, HEIGHT), strict=True):
        low, high = (-0.5 * size, 0.5 * size) if around_axis else (-center, size - center)
        bounds.append(((low - 0.15 * size) / focal, (high + 0.15 * size) / focal))
    u, v = (min(max(c / z, low), high) for c, (low, high) in zip((x, y), bounds, strict=True))
    rows = [[FOCAL[0] / z, 0, -FOCAL[0] * u / z], [0, FOCAL[1] / z, -FOCAL[1] * v / z]]
    axes = torch.tensor(rows, dtype=torch.float64) @ turned(quaternion) @ torch.diag(log_scale.exp())
    middle = torch.tensor([FOCAL[0] * x / z + CENTER[0], FOCAL[1] * y / z + CENTER[1]], dtype=torch.float64)
    return middle, axes @ axes.mT


def in_square_tiles(middle, covariance, centres):
    """Pixels in the tiles that a square of 3 deviations touches, its middle counted from pixels' centres."""
    (a, b), (_, c) = covariance.tolist()
    longest = (a + c) / 2 + math.sqrt(max(0.1, (a + c) ** 2 / 4 - (a * c - b * b)))
    radius = math.ceil(3 * math.sqrt(longest))
    first = torch.div(middle - 0.5 - radius, 16, rounding_mode="trunc").clamp(min=0)
    end = torch.div(middle - 0.5 + radius + 15, 16, rounding_mode="trunc")
    tiles = torch.div(centres, 16, rounding_mode="floor")
    return ((tiles >= first) & (tiles < end)).all(1)


@torch.no_grad()
def brute_force(rules):
    """The picture over black, and the pixels at which a cut lies within rounding."""
    near, most, low_pass, least, squares, around_axis = rules
    gaussians = field(torch.float64).gaussians()
    y, x = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    centres = torch.stack([x, y], -1).reshape(-1, 2).double()
    left, shown = torch.ones(len(centres)).double(), torch.zeros(len(centres), 3).double()
    ended, close = torch.zeros(len(centres), dtype=torch.bool), torch.zeros(len(centres), dtype=torch.bool)
    for i in gaussians.means[:, 2].argsort().tolist():
        if gaussians.means[i, 2] <= near:
            continue
        middle, sharp = projected(gaussians.means[i], gaussians.log_scales[i], gaussians.quaternions[i], around_axis)
        wide = sharp + low_pass * torch.eye(2).double()
        opacity = torch.sigmoid(gaussians.opacities[i])
        if least is not None:
            opacity = opacity * max(least, math.sqrt(max(0.0, float(sharp.det() / wide.det()))))
        offset = centres - middle
        full = opacity * torch.exp(-0.5 * (offset @ wide.inverse() * offset).sum(1))
        alpha = torch.where(full < 1 / 255, 0.0, full.clamp(max=most))
        if squares:
            alpha = torch.where(in_square_tiles(middle, wide, centres), alpha, 0.0)
        close |= (full * 255 - 1).abs() < 1e-3
        close |= (left * (1 - alpha) / 1e-4 - 1).abs() < 1e-2
        ended |= left * (1 - alpha) < 1e-4
        alpha = torch.where(ended, 0.0, alpha)
        color = (gaussians.harmonics[0][i, 0] * 0.28209479177387814 + 0.5).clamp(min=0)
        shown += (left * alpha)[:, None] * color
        left = left * (1 - alpha)
    return shown.reshape(HEIGHT, WIDTH, 3), close.reshape(HEIGHT, WIDTH)


def drawn(name, dtype):
    return SplatRenderer(school=SCHOOLS[name]).render_image(field(dtype), view(), 0).color.double()


@pytest.mark.parametrize("name", RULES)
def test_pictures_are_those_of_the_schools_own_cuts(name):
    truth, close = brute_force(RULES[name])
    assert float((drawn(name, torch.float64) - truth).abs().max()) < 1e-9
    fast = drawn(name, torch.float32)
    assert float((fast - truth)[~close].abs().max()) < 1e-5
    assert float(close.double().mean()) < 0.05


@pytest.mark.parametrize("name", ["inria", "gsplat-1.5.3", "mip-splatting"])
def test_kernels_learn_what_the_references_do(name):
    answers = []
    for mode in ("fast", "reference"):
        some = field(torch.float32)
        with use(mode):
            shown = SplatRenderer(school=SCHOOLS[name]).render(some, view().image_rays(0)).color
            (shown * torch.linspace(-1, 1, len(shown))[:, None]).sum().backward()
        answers.append([p.grad for p in some.parameters()])
    for fast, reference in zip(*answers, strict=True):
        scale = max(1.0, float(reference.abs().max()))
        assert float((~torch.isclose(fast, reference, atol=2e-4 * scale, rtol=1e-2)).double().mean()) < 0.01


def test_every_number_shows():
    """Each rule changed alone changes the truth by much more than the tolerance."""
    inria = RULES["inria"]
    truth, _ = brute_force(inria)
    for place, other in enumerate((0.01, 0.999, 0.1, 0.001, False, False)):
        changed, _ = brute_force((*inria[:place], other, *inria[place + 1 :]))
        assert float((changed - truth).abs().max()) > 1e-3, place
    assert set(RULES) == set(SCHOOLS)
