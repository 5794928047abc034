"""Distance and occupancy side by side: who decides along rays, and who draws samples."""

import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.distance_and_occupancy import DistanceAndOccupancy
from onefield.fields.field import Field
from onefield.fields.section_opacity import AnswersSections, DistanceAsOpacity
from onefield.fields.wrappers import DistanceAsDensity
from onefield.types import Bounds, Sample
from tests.catalog import distance_field


class Two(Field):
    """A wall of distance at x = 0, and a solid half behind y = 0."""

    domain = Bounds.cube(1.0)
    provides = frozenset({"distance", "occupancy"})

    def _evaluate(self, points, directions, time, want):
        return Sample(
            distance=points[:, 0] if "distance" in want else None,
            occupancy=(points[:, 1] > 0).to(points) * 0.5 if "occupancy" in want else None,
        )


def test_points_have_the_larger_density_of_both():
    inner = DistanceAsDensity(Two(), beta=0.01)
    points = torch.tensor([[-0.5, -0.5, 0.0], [0.5, 0.5, 0.0], [0.5, -0.5, 0.0]])
    sample = DistanceAndOccupancy(inner).query(points, want=("density",))
    # deep inside the density is 1 / beta; a half-occupied section of 1/64 has density 64 log 2
    torch.testing.assert_close(sample.density, torch.tensor([100.0, 64 * 0.6931472, 0.0]))
    assert sample.occupancy is None


@pytest.mark.parametrize("law", [DistanceAsDensity, DistanceAsOpacity])
def test_along_rays_the_distance_decides_by_its_own_law(law):
    inner = law(Two())
    field = DistanceAndOccupancy(inner)
    assert isinstance(field, AnswersSections)
    starts = torch.tensor([[0.3, 0.5, 0.0], [0.1, 0.5, 0.0]])
    ends = torch.tensor([[0.1, 0.5, 0.0], [-0.1, 0.5, 0.0]])
    directions = torch.tensor([[-1.0, 0.0, 0.0]]).expand(2, 3)
    found = field.query_sections(starts, ends, directions, ("density", "occupancy"))
    if law is DistanceAsOpacity:
        expected = inner.query_sections(starts, ends, directions, ("density",)).density
    else:
        expected = inner.query((starts + ends) / 2, want=("density",)).density
    torch.testing.assert_close(found.density, expected)
    assert found.occupancy.tolist() == [0.5, 0.5]


def test_a_field_without_both_is_refused():
    with pytest.raises(UsageError, match="DistanceAsDensity has no occupancy"):
        DistanceAndOccupancy(DistanceAsDensity(distance_field()))
