"""Sphere tracing: closed forms of spheres, gradients, shadows, and what is no surface."""

import math

import pytest
import torch

from onefield.cameras import Cameras
from onefield.errors import UsageError
from onefield.fields.analytic import BoxField, Material, SphereField
from onefield.fields.composed import ComposedField
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.fields.field import Field
from onefield.fields.heads.density import ExponentialDensity
from onefield.fields.networks.mlp import Mlp
from onefield.renderers.background import White
from onefield.renderers.sphere_tracing import Light, SphereTracingRenderer, first_surface
from onefield.types import Bounds, Rays, Sample
from tests.open_surfaces import HEIGHT, RADIUS, ClosestPoints, disc, half_sphere

RED = (0.8, 0.2, 0.1)


class Learned(Field):
    """A ball whose radius is a parameter and whose distances are off by a factor."""

    provides = frozenset({"distance"})

    def __init__(self, radius, steepness=1.0):
        super().__init__()
        self.domain = Bounds.cube(1.0)
        self.radius = torch.nn.Parameter(torch.tensor(radius, dtype=torch.float64))
        self.steepness = steepness

    def _evaluate(self, points, directions, time, want):
        return Sample(distance=self.steepness * (points.norm(dim=-1) - self.radius))


def rays_at(offsets):
    """Along +z from z = -3, at the given places across."""
    across = torch.tensor(offsets, dtype=torch.float64)
    origins = torch.cat([across, torch.full((len(across), 1), -3.0, dtype=torch.float64)], dim=1)
    return Rays(origins, torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand(len(across), 3))


def scattered(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(count, 2, generator=generator, dtype=torch.float64) * 1.6 - 0.8).tolist()


@pytest.mark.parametrize(("steepness", "sure"), [(0.4, 0.59), (1.0, 0.59), (2.5, 0.3)])
def test_a_sphere_is_met_where_it_is(steepness, sure):
    """Distances that say too little take more steps; those that say too much go through it, which is noticed inside."""
    rays = rays_at(scattered(400))
    across = rays.origins[:, :2].norm(dim=1)
    places, hit, looks = first_surface(Learned(0.6, steepness), rays)
    inner = across < sure
    assert hit[inner].all()
    assert not hit[across > 0.601].any()
    assert torch.allclose(places[inner], 3 - (0.36 - across[inner].square()).sqrt(), atol=2e-3)
    assert looks >= len(rays)


def test_normals_point_out_and_nothing_hit_is_background():
    rendering = SphereTracingRenderer(White()).render(
        SphereField(0.6, material=Material(color=RED)), _single(rays_at(scattered(200))), normals=True
    )
    hit = rendering.opacity > 0
    points = rays_at(scattered(200)).origins.float() + rendering.depth[:, None] * torch.tensor([0.0, 0.0, 1.0])
    assert torch.allclose(rendering.normal[hit], points[hit] / 0.6, atol=1e-3)
    assert torch.allclose(rendering.color[hit], torch.tensor(RED).expand(int(hit.sum()), 3))
    assert torch.equal(rendering.color[~hit], torch.ones(int((~hit).sum()), 3))
    assert not rendering.depth[~hit].any()
    assert not rendering.normal[~hit].any()


def test_depth_follows_the_field_and_the_rays():
    """By radius: -r / sqrt(r^2 - a^2); by the origin along the ray: -1; both as finite differences have them."""
    field, rays = Learned(0.6), rays_at([[0.1, 0.2], [0.3, -0.1]])
    origins = rays.origins.clone().requires_grad_(True)
    depth = SphereTracingRenderer(tolerance=1e-9).render(field, Rays(origins, rays.directions)).depth
    by_radius, by_origin = torch.autograd.grad(depth.sum(), [field.radius, origins])
    across = rays.origins[:, :2].norm(dim=1)
    rest = (0.36 - across.square()).sqrt()
    assert float(by_radius) == pytest.approx(float((-0.6 / rest).sum()), rel=1e-5)
    expected = torch.cat([rays.origins[:, :2] / rest[:, None], torch.full((2, 1), -1.0, dtype=torch.float64)], dim=1)
    assert torch.allclose(by_origin, expected, rtol=1e-5)


def test_light_follows_lambert_and_the_sky():
    light = Light(towards=(0.0, 0.0, -2.0), ambient=0.25, shadows=False)
    renderer = SphereTracingRenderer(light=light, paint=(1.0, 1.0, 1.0))
    rendering = renderer.render(SphereField(0.6), _single(rays_at([[0.0, 0.0], [0.3, 0.0]])))
    turned = torch.tensor([1.0, math.sqrt(1 - 0.25)])
    expected = 0.25 * (3 + turned) / 4 + 0.75 * turned
    assert torch.allclose(rendering.color, expected[:, None].expand(2, 3), atol=1e-3)


def test_what_stands_between_a_point_and_the_lamp_keeps_its_light_off():
    """A ball above a floor, the lamp straight above: only the floor under the ball is dark."""

    class Scene(Field):
        provides = frozenset({"distance"})
        domain = Bounds.cube(1.0)

        def _evaluate(self, points, directions, time, want):
            ball = (points - points.new_tensor([0.0, 0.0, 0.4])).norm(dim=-1) - 0.2
            return Sample(distance=torch.minimum(ball, points[:, 2] + 0.5))

    slanted = torch.nn.functional.normalize(torch.tensor([[0.0, 1.0, -1.0]]), dim=1).expand(2, 3)
    feet = torch.tensor([[0.05, 0.1, -0.5], [0.5, 0.1, -0.5]])
    rays = Rays(feet - 0.6 * slanted, slanted)
    renderer = SphereTracingRenderer(light=Light(towards=(0.0, 0.0, 1.0), ambient=0.2), paint=(1.0, 1.0, 1.0))
    shown = renderer.render(Scene(), rays)
    assert torch.allclose(shown.depth, torch.full((2,), 0.6), atol=1e-3)
    assert torch.allclose(shown.color[:, 0], torch.tensor([0.2, 1.0]), atol=1e-3)


def test_a_picture_is_its_rays():
    pose = torch.eye(3, 4, dtype=torch.float64)[None].clone()
    pose[0, 2, 3] = -3.0
    size = torch.tensor([24])
    cameras = Cameras.pinhole(pose, 30.0, (12.0, 12.0), size, size)
    renderer, field = SphereTracingRenderer(White(), light=Light()), BoxField((0.4, 0.3, 0.5))
    picture = renderer.render_image(field, cameras, 0, normals=True, quantiles=(0.5,), memory=2**16)
    with torch.no_grad():
        whole = renderer.render(field, cameras.image_rays(0), normals=True)
    assert torch.equal(picture.color.reshape(-1, 3), whole.color)
    assert torch.equal(picture.normal.reshape(-1, 3), whole.normal)
    hit = picture.opacity > 0
    assert 0 < int(hit.sum()) < 24 * 24
    assert torch.equal(picture.quantiles[..., 0][hit], picture.depth[hit])
    assert torch.isinf(picture.quantiles[~hit]).all()


def test_a_surface_that_leaves_the_domain_is_closed_there():
    field = SphereField(2.0, domain=Bounds.cube(0.5))
    places, hit, _ = first_surface(field, _single(rays_at([[0.1, 0.1]])))
    assert bool(hit.all())
    assert float(places[0]) == pytest.approx(2.5)


def test_an_empty_field_shows_the_background():
    rendering = SphereTracingRenderer().render(SphereField(0.1, center=(5.0, 0.0, 0.0)), _single(rays_at([[0.0, 0.0]])))
    assert not rendering.opacity.any()
    assert not rendering.color.any()


def test_a_field_without_distances_is_refused_in_a_sentence():
    field = ComposedField(Bounds.cube(1.0), IdentityEncoding(3), Mlp(3, 1, width=4), [ExponentialDensity()])
    with pytest.raises(UsageError, match="ComposedField provides only density"):
        SphereTracingRenderer().check(field)


@pytest.mark.parametrize("make", [lambda: Light(towards=(0.0, 0.0, 0.0)), lambda: Light(ambient=1.5)])
def test_lights_that_are_none_are_refused(make):
    with pytest.raises(UsageError):
        make()


def test_normals_move_with_the_surface():
    """Across the view a ball's normal is a / r where a ray passes its axis at a: by the radius, -a / r^2."""
    field = Learned(0.6)
    rays = rays_at([[0.3, 0.0]])
    normal = SphereTracingRenderer(tolerance=1e-9).render(field, rays, normals=True).normal
    (slope,) = torch.autograd.grad(normal[0, 0], field.radius)
    assert float(slope) == pytest.approx(-0.3 / 0.36, rel=1e-4)
    assert torch.allclose(normal[0, 0].detach(), torch.tensor(0.5, dtype=torch.float64), atol=1e-6)


def _single(rays):
    return Rays(rays.origins.float(), rays.directions.float())


def test_an_open_surface_is_seen_from_both_sides_and_past_its_rim():
    field, renderer = ClosestPoints(half_sphere), SphereTracingRenderer(tolerance=1e-3)
    down, up = torch.tensor([0.0, 0.0, -1.0]), torch.tensor([0.0, 0.0, 1.0])
    aside = torch.tensor([0.1, 0.2, 0.5, 0.7])
    starts = torch.stack([aside, torch.zeros(4), torch.full((4,), 2.0)], dim=1)
    height = (RADIUS**2 - aside[:3].square()).sqrt()
    for way, sign in ((down, 1.0), (up, -1.0)):
        seen = renderer.render(field, Rays(starts * torch.tensor([1.0, 1.0, sign]), way.expand(4, 3)), normals=True)
        assert seen.opacity.tolist() == [1, 1, 1, 0]
        torch.testing.assert_close(seen.depth[:3], 2 - sign * height, atol=2e-4, rtol=0)
        outward = torch.stack([aside[:3], torch.zeros(3), height], dim=1) / RADIUS
        torch.testing.assert_close(seen.normal[:3], sign * outward, atol=1e-2, rtol=0)


def test_the_depth_of_an_open_surface_moves_with_it():
    shift = torch.tensor(0.1, requires_grad=True)
    moved = ClosestPoints(lambda points: disc(points) + shift * torch.tensor([0.0, 0.0, 1.0]))
    start = torch.tensor([[0.1, 0.1, 1.0]], requires_grad=True)
    slanted = torch.nn.functional.normalize(torch.tensor([[0.2, 0.0, -1.0]]), dim=1)
    depth = SphereTracingRenderer(tolerance=1e-3).render(moved, Rays(start, slanted)).depth
    depth.sum().backward()
    steepness = float(slanted[0, 2])
    torch.testing.assert_close(depth[0], (1 - HEIGHT - shift.detach()) / -steepness)
    assert shift.grad.item() == pytest.approx(1 / steepness, rel=1e-3)
    assert start.grad[0, 2].item() == pytest.approx(-1 / steepness, rel=1e-3)
