"""Volume rendering against closed forms and against dense marching."""

from __future__ import annotations

import math

import pytest
import torch

from onefield.cameras import Cameras
from onefield.errors import UsageError
from onefield.fields.analytic import BoxField, Material, SphereField
from onefield.fields.field import Field
from onefield.fields.section_opacity import DistanceAsOpacity
from onefield.renderers.background import Random, White
from onefield.renderers.sampling.occupancy import OccupancySampler
from onefield.renderers.sampling.proposal import ProposalSampler
from onefield.renderers.sampling.uniform import UniformSampler
from onefield.renderers.volume import VolumeRenderer
from onefield.types import Bounds, Rays, Sample
from tests.catalog import radiance_field

RED = Material(density=3.0, color=(1.0, 0.0, 0.0))


class Counting(Field):
    """Passes questions on and counts the points."""

    def __init__(self, inner: Field) -> None:
        super().__init__()
        self.inner, self.domain, self.provides, self.points = inner, inner.domain, inner.provides, 0

    def _evaluate(self, points, directions, time, want) -> Sample:
        self.points += points.shape[0]
        return self.inner.query(points, want=want)


class Learnable(Field):
    """A ball whose density and colour are parameters."""

    provides = frozenset({"density", "color"})
    domain = Bounds.cube(1.0)

    def __init__(self) -> None:
        super().__init__()
        self.density = torch.nn.Parameter(torch.tensor(2.0))
        self.color = torch.nn.Parameter(torch.tensor([0.2, 0.5, 0.8]))

    def _evaluate(self, points, directions, time, want) -> Sample:
        inside = (points.norm(dim=-1) < 0.5).to(points.dtype)
        return Sample(density=inside * self.density, color=self.color.expand(len(points), 3))


def parallel_rays(count: int = 24, extent: float = 0.9) -> Rays:
    axis = torch.linspace(-extent, extent, count)
    y, z = torch.meshgrid(axis, axis, indexing="ij")
    origins = torch.stack([torch.full_like(y, -3.0), y, z], dim=-1).reshape(-1, 3)
    return Rays(origins, torch.tensor([1.0, 0.0, 0.0]).expand_as(origins))


def converged(sampler: OccupancySampler, field: Field, steps: int = 24) -> OccupancySampler:
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        sampler.update(field, step, generator)
    return sampler


def samplers(field: Field):
    occupancy = OccupancySampler(Bounds.cube(), 32, step=0.004, cells_per_update=2**14)
    return [UniformSampler(500), converged(occupancy, field), ProposalSampler([field], (256,), 200)]


@pytest.mark.parametrize("learning", [False, True])
def test_rays_of_double_precision_see_a_field_of_single(learning):
    field = radiance_field()
    rays = parallel_rays(4)
    doubled = Rays(rays.origins.double(), rays.directions.double())
    for sampler in (UniformSampler(16), OccupancySampler(Bounds.cube(), 8)):
        with torch.set_grad_enabled(learning):
            shown, expected = (VolumeRenderer(sampler).render(field, some, normals=True) for some in (doubled, rays))
        assert shown.color.dtype == torch.float64
        torch.testing.assert_close(shown.color.float(), expected.color, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("prefilter", [False, True])
def test_a_distance_takes_what_its_law_takes_on_the_way_to_the_nearest_point(prefilter):
    """NeuS: light of a ray falls as the logistic distribution of the distance, until the ray leads away again."""
    ball = DistanceAsOpacity(SphereField(0.6, material=RED), deviation=0.05)
    renderer = VolumeRenderer(UniformSampler(500), White(), prefilter=prefilter)
    rays = parallel_rays(8, 0.9)
    result = renderer.render(ball, rays)
    deepest = rays.origins[:, 1:].norm(dim=-1) - 0.6
    first = rays.origins[:, 1:].square().sum(-1).add(1).sqrt() - 0.6
    left = torch.sigmoid(deepest / 0.05) / torch.sigmoid(first / 0.05)
    torch.testing.assert_close(result.opacity, 1 - left, atol=0.01, rtol=0)
    front = deepest < -0.3
    faced = -(0.36 - rays.origins[front, 1:].square().sum(-1)).sqrt()
    torch.testing.assert_close(result.depth[front] - 3, faced, atol=0.03, rtol=0)
    with torch.no_grad():
        torch.testing.assert_close(renderer.render(ball, rays).color, result.color.detach(), atol=2e-3, rtol=0)


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("prefilter", [False, True])
def test_ball_absorbs_along_its_chords(number, prefilter):
    ball = SphereField(0.6, material=RED)
    renderer = VolumeRenderer(samplers(ball)[number], White(), prefilter=prefilter)
    rays = parallel_rays(8, 0.5)
    result = renderer.render(ball, rays)
    half_chord = (0.36 - rays.origins[:, 1:].square().sum(-1)).clamp(min=0).sqrt()
    opacity = 1 - torch.exp(-3 * 2 * half_chord)
    torch.testing.assert_close(result.opacity, opacity, atol=0.02, rtol=0)
    color = torch.stack([torch.ones_like(opacity), 1 - opacity, 1 - opacity], dim=-1)
    torch.testing.assert_close(result.color, color, atol=0.02, rtol=0)
    # mean of 3 exp(-3 s) over the chord, from where the ray enters
    mean = 1 / 3 - 2 * half_chord * torch.exp(-6 * half_chord) / opacity
    hit = opacity > 0.1
    torch.testing.assert_close(result.depth[hit], (3 - half_chord + mean)[hit], atol=0.02, rtol=0)


def test_constant_slab_is_exact():
    slab = BoxField((1.0, 1.0, 1.0), material=Material(density=0.8, color=(0, 1, 0)), domain=Bounds.cube(0.5))
    result = VolumeRenderer(UniformSampler(7), prefilter=False).render(slab, parallel_rays(4, 0.4))
    torch.testing.assert_close(result.opacity, torch.full((16,), 1 - math.exp(-0.8)))


def test_occupancy_grid_saves_three_quarters_of_the_samples():
    ball = Counting(SphereField(0.5, material=Material(density=40.0, softness=0.01)))
    rays = parallel_rays()
    step = 0.005
    dense = VolumeRenderer(UniformSampler(round(2 / step)), White(), prefilter=False)
    truth = dense.render(ball, rays)
    sampler = OccupancySampler(Bounds.cube(), 32, step=step, cells_per_update=2**15, threshold=1e-5)
    grid = converged(sampler, ball.inner, 60)
    every, ball.points = ball.points, 0
    result = VolumeRenderer(grid, White(), prefilter=False).render(ball, rays)
    assert ball.points <= every / 4
    assert (result.color - truth.color).abs().max() < 1e-3


def test_prefilter_asks_for_color_only_where_it_shows():
    wall = Counting(BoxField((0.5, 2.0, 2.0), material=Material(density=200.0)))
    rays = parallel_rays(8)
    renderer = VolumeRenderer(UniformSampler(200), White())
    result = renderer.render(wall, rays)
    assert len(result.samples) < 0.1 * 64 * 200
    plain = VolumeRenderer(UniformSampler(200), White(), prefilter=False).render(wall, rays)
    torch.testing.assert_close(result.color, plain.color, atol=2e-3, rtol=0)
    assert int(result.samples.offsets[-1]) == len(result.samples)
    assert torch.equal(result.samples.ray_indices, torch.repeat_interleave(result.samples.offsets.diff()))


def test_with_and_without_gradients_the_same_is_seen():
    fog = SphereField(0.6, material=Material(density=9.0, color=(0.2, 0.5, 0.9), softness=0.2))
    rays, renderer = parallel_rays(8), VolumeRenderer(UniformSampler(150), White())
    learning = renderer.render(fog, rays)
    with torch.no_grad():
        showing = renderer.render(fog, rays)
    for name in ("color", "depth", "opacity", "weights", "densities"):
        torch.testing.assert_close(getattr(showing, name), getattr(learning, name), rtol=0, atol=1e-6)
    assert torch.equal(showing.samples.starts, learning.samples.starts)


def test_nothing_is_asked_far_behind_a_wall():
    wall = Counting(BoxField((0.5, 2.0, 2.0), material=Material(density=500.0)))
    rays = parallel_rays(16)
    with torch.no_grad():
        result = VolumeRenderer(UniformSampler(400), White()).render(wall, rays)
    # rays enter at a quarter of the way through the domain
    assert wall.points == result.looks
    assert wall.points <= 0.4 * 256 * 400


def test_gradients_reach_field_and_background():
    field, rays = Learnable(), parallel_rays(4, 0.2)
    renderer = VolumeRenderer(UniformSampler(64), White(), prefilter=False)

    def loss() -> torch.Tensor:
        return renderer.render(field, rays).color.square().sum()

    loss().backward()
    with torch.no_grad():
        slope = []
        for change in (1e-2, -1e-2):
            field.density += change
            slope.append(loss())
            field.density -= change
    assert field.density.grad.item() == pytest.approx(((slope[0] - slope[1]) / 2e-2).item(), rel=1e-2)
    backdrop = torch.full((16, 3), 0.5, requires_grad=True)
    rendering = renderer.render(field, rays, background=backdrop)
    rendering.color.sum().backward()
    torch.testing.assert_close(backdrop.grad, (1 - rendering.opacity.detach())[:, None].expand(16, 3))


def test_normals_point_out_of_the_ball():
    ball = SphereField(0.5, material=Material(density=300.0))
    result = VolumeRenderer(UniformSampler(800)).render(ball, parallel_rays(9, 0.4), normals=True)
    hit = result.opacity > 0.99
    rays = parallel_rays(9, 0.4)
    surface = rays.origins + rays.directions * result.depth[:, None]
    truth = torch.nn.functional.normalize(surface, dim=-1)
    assert hit.sum() > 30
    assert ((result.normal * truth).sum(-1)[hit] > 0.999).all()


def test_image_is_that_of_its_rays_whatever_the_memory():
    pose = torch.eye(3, 4, dtype=torch.float64)[None].clone()
    pose[0, 2, 3] = -2.5
    cameras = Cameras.pinhole(pose, 20.0, (7.0, 5.0), 14, 10)
    ball = SphereField(0.5, material=Material(density=30.0))
    for sampler in samplers(ball):
        renderer = VolumeRenderer(sampler, Random())
        whole = renderer.render(ball, cameras.image_rays(0))
        image = renderer.render_image(ball, cameras, 0, memory=2**24, normals=True)
        assert image.color.shape == image.normal.shape == (10, 14, 3)
        torch.testing.assert_close(image.color.reshape(-1, 3), whole.color)
        torch.testing.assert_close(image.depth.reshape(-1), whole.depth)
        assert image.opacity[5, 7] > 0.9
        assert image.opacity[0, 0] == 0
        assert (image.color[0, 0] == 1).all()


def test_training_repeats_with_the_same_generator():
    ball = SphereField(0.5)
    for sampler in samplers(ball):
        renderer, answers = VolumeRenderer(sampler, Random()), []
        for seed in (1, 1, 2):
            answers.append(renderer.render(ball, parallel_rays(6), torch.Generator().manual_seed(seed)).color)
        assert torch.equal(answers[0], answers[1])
        assert not torch.equal(answers[0], answers[2])


def test_rays_that_see_nothing_show_the_background():
    rays = Rays(torch.full((3, 3), 5.0), torch.tensor([[0.0, 0.0, 1.0]]).expand(3, 3))
    ball = SphereField()
    for sampler in samplers(ball):
        result = VolumeRenderer(sampler, White()).render(ball, rays)
        assert (result.color == 1).all()
        assert (result.depth == 0).all()


def test_field_without_color_is_refused():
    class Bare(Learnable):
        provides = frozenset({"density"})

    with pytest.raises(UsageError, match="needs density and color"):
        VolumeRenderer(UniformSampler()).check(Bare())


class HalfSpace(Field):
    """A distance far from everything, and a solid that is evenly occupied where x > 0."""

    provides = frozenset({"density", "occupancy", "color"})
    domain = Bounds.cube(1.0)

    def __init__(self) -> None:
        super().__init__()
        self.share = torch.nn.Parameter(torch.tensor(0.3))

    def _evaluate(self, points, directions, time, want) -> Sample:
        behind = (points[:, 0] > 0).to(points)
        return Sample(
            density=torch.zeros_like(behind), occupancy=behind * self.share, color=torch.full_like(points, 0.25)
        )


def test_occupancy_is_rendered_beside_density_where_density_sees_nothing() -> None:
    field = HalfSpace()
    rays = Rays(
        torch.tensor([[-3.0, 0.1, 0.2]]), torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([2.0]), torch.tensor([4.0])
    )
    renderer = VolumeRenderer(UniformSampler(8), White(), occupied=True, early_stop=0.0)
    rendering = renderer.render(field, rays)
    # four of the eight sections of a quarter lie behind x = 0
    share, left = 0.3, 0.7**4
    shown = rendering.occupied
    assert rendering.opacity.item() == 0
    assert shown.opacity.item() == pytest.approx(1 - left)
    assert shown.color[0, 0].item() == pytest.approx(0.25 * (1 - left) + left)
    weights = [share * 0.7**index for index in range(4)]
    depth = sum(w * (3.125 + 0.25 * index) for index, w in enumerate(weights)) / sum(weights)
    assert shown.depth.item() == pytest.approx(depth)
    shown.opacity.sum().backward()
    assert field.share.grad.item() == pytest.approx(4 * 0.7**3, rel=1e-4)
    with torch.no_grad():
        assert renderer.render(field, rays).occupied is None
    with pytest.raises(UsageError, match="Learnable has none"):
        renderer.check(Learnable())
