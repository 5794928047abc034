"""Occupancy as opacity against the product of what is let through, and against a slab."""

import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.field import Field
from onefield.fields.section_occupancy import OccupancyAsOpacity, occupied_density
from onefield.fields.section_opacity import AnswersSections, DistanceAsOpacity
from onefield.kernels.composite import rendering_weights
from onefield.types import Bounds, Sample
from tests.catalog import distance_field


class Fog(Field):
    """As occupied as z is high, in [0, 1]; a distance to go with it."""

    domain = Bounds.cube(1.0)
    provides = frozenset({"occupancy", "distance"})

    def _evaluate(self, points, directions, time, want):
        occupancy = points[:, 2].clamp(0, 1) if "occupancy" in want else None
        return Sample(occupancy=occupancy, distance=points[:, 0] if "distance" in want else None)


def ray(times):
    direction = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    places = times[:, None] * direction
    return places[:-1], places[1:], direction.expand(len(times) - 1, 3)


def test_weights_are_products_of_what_is_let_through():
    times = torch.tensor([-0.5, 0.1, 0.15, 0.4, 0.9, 0.95], dtype=torch.float64)
    fog = OccupancyAsOpacity(Fog())
    assert isinstance(fog, AnswersSections)
    density = fog.query_sections(*ray(times), ("density",)).density
    found = rendering_weights(density, times[:-1], times[1:], torch.tensor([0, 5]), early_stop=0.0)
    left, expected = 1.0, []
    for low, high in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
        occupied = min(max((low + high) / 2, 0.0), 1.0)
        expected.append(left * occupied)
        left *= 1 - occupied
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))
    assert found.sum() <= 1


def test_a_thin_wall_is_as_opaque_as_a_thick_one():
    thin, thick = (occupied_density(torch.tensor(0.9), length) * length for length in (1e-4, 1.0))
    torch.testing.assert_close(1 - torch.exp(-thin), torch.tensor(0.9))
    torch.testing.assert_close(thin, thick)


def test_full_and_empty_space_stay_finite():
    occupancy = torch.tensor([0.0, 1.0], requires_grad=True)
    density = occupied_density(occupancy, 0.01)
    density.sum().backward()
    assert density[0] == 0
    assert torch.isfinite(density).all()
    assert torch.isfinite(occupancy.grad).all()
    assert torch.exp(-density[1] * 0.01) < 1e-5
    # so that density times length is a number also where a section has no length
    assert torch.equal(occupied_density(occupancy, torch.zeros(2)), torch.zeros(2))


def test_other_quantities_are_passed_on():
    fog = OccupancyAsOpacity(Fog())
    sample = fog.query(torch.tensor([[0.2, 0.0, 0.5]]), want=("distance", "density"))
    assert sample.occupancy is None
    assert sample.distance.item() == pytest.approx(0.2)
    assert sample.density.item() == pytest.approx(torch.log(torch.tensor(2.0)).item() * 64)


def test_a_field_without_occupancy_is_refused():
    with pytest.raises(UsageError, match="needs a field of occupancy; DistanceAsOpacity has none"):
        OccupancyAsOpacity(DistanceAsOpacity(distance_field()))
