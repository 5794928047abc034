"""The law of NeuS against planes, where transmittance is a quotient of logistic distribution functions."""

from __future__ import annotations

import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.analytic import SphereField
from onefield.fields.field import Field
from onefield.fields.section_opacity import AnswersSections, DistanceAsOpacity, section_density
from onefield.kernels.composite import rendering_weights
from onefield.renderers.background import White
from onefield.renderers.sampling.proposal import ProposalSampler
from onefield.renderers.volume import VolumeRenderer
from onefield.types import Bounds, Rays, Sample
from tests.catalog import distance_field, radiance_field


class Plane(Field):
    """The half space ``z < 0`` in one colour a place; counts the points that it is asked at."""

    domain = Bounds.cube(2.0)
    provides = frozenset({"distance", "color"})

    def __init__(self):
        super().__init__()
        self.asked = 0

    def _evaluate(self, points, directions, time, want):
        self.asked += len(points)
        color = points.abs() / 2 if "color" in want else None
        return Sample(distance=points[:, 2] if "distance" in want else None, color=color)


def sections(slope, count=64, reach=1.0):
    """Adjoining sections of a ray that falls onto the plane with this cosine and crosses it in the middle."""
    direction = torch.tensor([(1 - slope**2) ** 0.5, 0.0, -slope], dtype=torch.float64)
    times = torch.linspace(-reach, reach, count + 1, dtype=torch.float64)
    # off the middle, so that the surface lies within a section
    times = times + 0.3 * float(times[1] - times[0])
    places = times[:, None] * direction
    return places[:-1], places[1:], direction.expand(count, 3), times


def weights(opacity, starts, ends, directions, times):
    density = opacity.query_sections(starts, ends, directions, ("density",)).density
    return rendering_weights(density, times[:-1], times[1:], torch.tensor([0, len(density)]), early_stop=0.0)


@pytest.mark.parametrize("slope", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("deviation", [0.2, 0.02])
def test_transmittance_is_the_quotient_of_distribution_functions(slope, deviation):
    starts, ends, directions, times = sections(slope)
    found = weights(DistanceAsOpacity(Plane(), deviation).double(), starts, ends, directions, times)
    law = torch.sigmoid(torch.cat([starts[:1], ends])[:, 2] / deviation)
    torch.testing.assert_close(1 - found.cumsum(0), law[1:] / law[0], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("slope", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("deviation", [0.2, 0.02])
def test_weights_peak_on_the_surface_at_any_angle(slope, deviation):
    starts, ends, directions, times = sections(slope)
    peak = int(weights(DistanceAsOpacity(Plane(), deviation).double(), starts, ends, directions, times).argmax())
    assert times[peak] <= 0 <= times[peak + 1]


def test_the_nearer_of_two_surfaces_outweighs_the_farther():
    # towards a slab, through it, out of it, and into another: what leaves has no opacity
    distances = torch.tensor([0.3, 0.1, -0.1, -0.2, -0.1, 0.1, 0.1, -0.1], dtype=torch.float64)
    lengths = torch.full((7,), 0.25, dtype=torch.float64)
    density = section_density(distances[:-1], distances[1:], lengths, torch.tensor(30.0, dtype=torch.float64))
    assert (density[3:6] == 0).all()
    assert (density[[0, 1, 2, 6]] > 0).all()
    ends = lengths.cumsum(0)
    found = rendering_weights(density, ends - lengths, ends, torch.tensor([0, 7]), early_stop=0.0)
    assert found[1] > found[6] > 0


@pytest.mark.parametrize("certainty", [0.0, 0.3, 1.0])
def test_gradients_are_those_of_finite_differences(certainty):
    generator = torch.Generator().manual_seed(0)
    first = 0.2 * torch.randn(40, generator=generator, dtype=torch.float64)
    last = first - 0.1 * torch.rand(40, generator=generator, dtype=torch.float64) - 0.01
    last[::4] = first[::4] + 0.05
    inputs = [first, last, torch.full((40,), 0.2, dtype=torch.float64), torch.tensor(25.0, dtype=torch.float64)]
    assert torch.autograd.gradcheck(
        lambda first, last, lengths, sharpness: section_density(first, last, lengths, sharpness, certainty),
        [value.requires_grad_() for value in inputs],
    )


def test_at_first_slopes_are_half_distrusted():
    """By hand: slope 1/2 away from the surface counts as relu(1/2 - 1/4) = 1/4 towards it, at certainty 0."""
    first, last, length = (torch.tensor([value], dtype=torch.float64) for value in (0.0, 0.1, 0.2))
    sharpness = torch.tensor(10.0, dtype=torch.float64)
    law = torch.sigmoid(sharpness * torch.tensor([0.05 + 0.025, 0.05 - 0.025], dtype=torch.float64))
    found = section_density(first, last, length, sharpness, 0.0)
    torch.testing.assert_close(1 - torch.exp(-found * length), 1 - law[1:] / law[:1])
    assert section_density(first, last, length, sharpness, 1.0) == 0


def test_sections_stay_finite_however_sharp_and_deep():
    distances = torch.tensor([50.0, 0.01, -50.0, -60.0])
    density = section_density(distances[:-1], distances[1:], torch.full((3,), 0.01), torch.tensor(1e6))
    assert torch.isfinite(density).all()
    assert density[0] == 0


def test_rays_that_miss_the_box_of_proposals_show_the_background_and_teach_nothing():
    field = DistanceAsOpacity(Plane())
    sampler = ProposalSampler([SphereField()], counts=(4,), final=4)
    down = torch.tensor([[0.0, 0.0, -1.0]])
    origins = torch.tensor([[0.0, 0.0, 3.0], [9.0, 0.0, 3.0]])
    shown = VolumeRenderer(sampler, White()).render(field, Rays(origins, down.expand(2, 3)))
    shown.color.sum().backward()
    assert torch.isfinite(field.log_sharpness.grad)
    assert shown.opacity[0] > 0.9
    assert torch.equal(shown.color[1], torch.ones(3))


def test_ends_that_meet_are_asked_once():
    starts, ends, directions, _ = sections(0.5, count=20)
    kept = torch.tensor([0, 1, 2, 5, 6, 11])
    plane = Plane()
    opacity = DistanceAsOpacity(plane).double()
    some = opacity.query_sections(starts[kept], ends[kept], directions[kept], ("density",)).density
    assert plane.asked == 6 + 3
    every = opacity.query_sections(starts, ends, directions, ("density",)).density
    torch.testing.assert_close(some, every[kept], rtol=0, atol=0)
    nothing = opacity.query_sections(starts[:0], ends[:0], directions[:0], ("density", "color"))
    assert nothing.density.shape == (0,)


def test_colors_are_those_of_the_middle_and_only_what_is_asked_comes():
    starts, ends, directions, _ = sections(0.5, count=4)
    opacity = DistanceAsOpacity(Plane()).double()
    answer = opacity.query_sections(starts, ends, directions, ("color",))
    torch.testing.assert_close(answer.color, ((starts + ends) / 2).abs() / 2)
    assert answer.density is None
    assert isinstance(opacity, AnswersSections)
    assert not isinstance(Plane(), AnswersSections)


def test_points_have_the_density_of_short_sections_that_meet_the_surface_head_on():
    opacity = DistanceAsOpacity(Plane(), 0.05).double()
    points = torch.zeros(9, 3, dtype=torch.float64)
    points[:, 2] = torch.linspace(-0.2, 0.2, 9)
    down = torch.tensor([[0.0, 0.0, -1.0]], dtype=torch.float64).expand(9, 3)
    sectioned = opacity.query_sections(points - 1e-4 * down, points + 1e-4 * down, down, ("density",)).density
    torch.testing.assert_close(opacity.query(points, want=("density",)).density, sectioned, rtol=1e-4, atol=1e-6)


def test_the_inverse_deviation_learns_in_its_own_group():
    opacity = DistanceAsOpacity(distance_field(), 0.05)
    assert opacity.sharpness.item() == pytest.approx(20.0, rel=1e-5)
    assert [id(parameter) for parameter in opacity.parameter_groups()["density"]] == [id(opacity.log_sharpness)]
    starts = torch.rand(20, 3) - 0.5
    down = torch.tensor([0.0, 0.0, -1.0]).expand(20, 3)
    opacity.query_sections(starts, starts + 0.1 * down, down, ("density",)).density.sum().backward()
    assert opacity.log_sharpness.grad.abs() > 0


def test_what_cannot_be_is_said():
    with pytest.raises(UsageError, match="distances"):
        DistanceAsOpacity(radiance_field())
    with pytest.raises(UsageError, match="above 0"):
        DistanceAsOpacity(distance_field(), 0.0)
