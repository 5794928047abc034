"""Surfaces shaded on pictures: where rays meet a ball, gradients of all that is learned, and what can't be drawn."""

import math
from dataclasses import replace

import pytest
import torch

from onefield.cameras import Cameras
from onefield.errors import UsageError
from onefield.fields.analytic import SphereField
from onefield.fields.encodings import DenseGridEncoding
from onefield.fields.flexicubes import FlexiCubesField, corner_points
from onefield.fields.shaded_surface import ShadedSurface
from onefield.renderers.background import White
from onefield.renderers.mesh import MeshRenderer
from onefield.types import Bounds

RADIUS, SIZE = 0.5, 32
# looks along +y from y = -3, z up
POSE = torch.tensor([[1.0, 0, 0, 0.05], [0, 0, 1, -3], [0, -1, 0, 0.1]], dtype=torch.float64)


def cameras(size=SIZE):
    return Cameras.pinhole(POSE[None], 2.2 * size, (size / 2, size / 2), size, size)


def ball(cells=24):
    box = Bounds.cube(0.7)
    grid = FlexiCubesField(box, corner_points(box, (cells,) * 3).norm(dim=-1) - RADIUS)
    return ShadedSurface(Bounds.cube(1.0), grid, DenseGridEncoding(3, 6, 2, initial_amplitude=0.5), 8, 1)


def met(rays):
    """Where rays meet the ball, and whether they do."""
    along = (rays.origins * rays.directions).sum(1)
    inner = along.square() - rays.origins.square().sum(1) + RADIUS**2
    distance = -along - inner.clamp(min=0).sqrt()
    return rays.origins + distance[:, None] * rays.directions, distance, inner


def test_pixels_show_the_colours_of_the_places_they_see():
    field, renderer = ball(), MeshRenderer(White())
    rays = cameras().image_rays(0)
    with torch.no_grad():
        shown = renderer.render(field, rays, normals=True)
        places, distance, inner = met(rays)
        inside, outside = inner > 0.04, inner < -0.02
        wanted = field.shade(places, places / RADIUS, rays.directions)
    assert inside.sum() > 100
    torch.testing.assert_close(shown.color[inside], wanted[inside], atol=0.05, rtol=0)
    torch.testing.assert_close(shown.depth[inside], distance[inside], atol=0.01, rtol=0)
    assert ((shown.normal * places / RADIUS).sum(1)[inside] > 0.99).all()
    assert (shown.opacity[inside] == 1).all()
    assert (shown.opacity[outside] == 0).all()
    assert (shown.color[outside] == 1).all()
    # the covered area of a ball's outline
    angle = math.asin(RADIUS / rays.origins[0].norm().item())
    assert shown.opacity.sum().item() == pytest.approx(math.pi * (2.2 * SIZE * math.tan(angle)) ** 2, rel=0.02)


def test_a_window_shows_the_same_as_the_whole():
    field, renderer = ball(), MeshRenderer(White())
    whole = renderer.render_image(field, cameras(), 0, background=torch.tensor([0.2, 0.4, 0.6]), normals=True)
    assert whole.color.shape == whole.normal.shape == (SIZE, SIZE, 3)
    torch.testing.assert_close(whole.color[0, 0], torch.tensor([0.2, 0.4, 0.6]))
    part = cameras().cropped(9, 6, 14, 11).image_rays(0)
    with torch.no_grad():
        shown = renderer.render(field, part, background=torch.tensor([0.2, 0.4, 0.6]).expand(len(part), 3))
    # outlines at the window's own edge lack their neighbours
    inner = shown.color.reshape(11, 14, 3)[1:-1, 1:-1]
    torch.testing.assert_close(inner, whole.color[7:16, 10:22], atol=1e-5, rtol=0)


def test_a_loss_reaches_surface_colours_and_camera():
    field, renderer = ball(8), MeshRenderer(White())
    pose = POSE.clone()[None].requires_grad_()
    rays = cameras(16).image_rays(0)
    rays = replace(rays, camera=replace(rays.camera, camera_to_world=pose))
    shown = renderer.render(field, rays)
    shown.color.square().sum().backward()
    assert pose.grad.abs().max() > 0
    names = {name for name, parameter in field.named_parameters() if parameter.grad is None}
    assert names == set()
    assert all(torch.isfinite(parameter.grad).all() for parameter in field.parameters())
    assert field.grid.values.grad.abs().max() > 0
    assert shown.surface is not None


def test_gradients_of_the_surface_agree_with_finite_differences():
    """One value of the grid, one of the colours, and where the camera stands, by the references in double precision."""
    field, renderer = ball(8).double(), MeshRenderer(White())
    rays = cameras(12).image_rays(0)
    rays = replace(rays, origins=rays.origins.double(), directions=rays.directions.double())
    corner = int((field.grid.values.detach().flatten().abs()).argmin())

    def loss(value, color, height):
        values = field.grid.values.detach().flatten().index_put((torch.tensor([corner]),), value).reshape(9, 9, 9)
        moved = POSE + torch.cat((torch.zeros(3, 3), torch.tensor([[0.0], [0.0], [1.0]])), dim=1).double() * height
        view = replace(rays, camera=replace(rays.camera, camera_to_world=moved[None]))
        table = field.encoding.grid.detach() + color
        replaced = {"grid.values": values, "encoding.grid": table}
        drawn = torch.func.functional_call(
            Drawing(field, renderer), {f"field.{k}": v for k, v in replaced.items()}, view
        )
        return (drawn * torch.linspace(0, 1, drawn.numel(), dtype=torch.float64).reshape(drawn.shape)).sum()

    start = (field.grid.values.detach().flatten()[corner : corner + 1].clone(), torch.zeros(1), torch.zeros(1))
    assert torch.autograd.gradcheck(loss, [tensor.double().requires_grad_() for tensor in start], eps=1e-6, atol=1e-4)


class Drawing(torch.nn.Module):
    """The colours of a picture as a function of a field's parameters."""

    def __init__(self, field, renderer):
        super().__init__()
        self.field, self.renderer = field, renderer

    def forward(self, picture):
        return self.renderer.render(self.field, picture).color


def test_what_cannot_be_drawn_is_told():
    renderer = MeshRenderer()
    with pytest.raises(UsageError, match="SphereField is none"):
        renderer.check(SphereField())
    with pytest.raises(UsageError, match="on whole pictures"):
        renderer.render(ball(), cameras().rays(torch.zeros(1, dtype=torch.int64), torch.ones(1, 2)))
    bent = replace(cameras(), distortion=torch.full((1, 8), 0.01, dtype=torch.float64))
    with pytest.raises(UsageError, match="without distortion"):
        renderer.render_image(ball(), bent, 0)
