import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.analytic import SphereField
from onefield.fields.evolving import AtTime, EvolvingField
from onefield.fields.field import Field
from onefield.types import Bounds, Sample


class Growing(Field):
    """A ball whose radius is the time."""

    domain = Bounds.cube()
    provides = frozenset({"distance"})

    def _evaluate(self, points, directions, time, want):
        return Sample(distance=points.norm(dim=-1) - time)


def test_an_untrained_field_stands_still_and_a_trained_one_moves():
    field, points = EvolvingField(Bounds.cube(), duration=2.0, width=16, hidden_layers=1), torch.rand(10, 3)
    start = field.query(points).distance
    assert torch.equal(field.query(points, time=torch.full((10,), 1.5)).distance, start)
    with torch.no_grad():
        field.network.weights[0][:, 3] = 1.0
    assert torch.equal(field.query(points, time=torch.zeros(10)).distance, start)
    later, doubled = (AtTime(field, time).query(points).distance for time in (0.7, 1.4))
    assert not torch.allclose(later, start)
    # times count in durations
    slower = EvolvingField(Bounds.cube(), duration=1.0, width=16, hidden_layers=1)
    slower.load_state_dict(field.state_dict())
    torch.testing.assert_close(AtTime(slower, 0.7).query(points).distance, doubled)


def test_a_moment_of_a_field_is_a_field():
    points = torch.rand(4, 5, 3)
    moment = AtTime(Growing(), 0.3)
    torch.testing.assert_close(moment.query(points).distance, points.norm(dim=-1) - 0.3)
    still = AtTime(SphereField(0.5), 9.0)
    torch.testing.assert_close(still.query(points).distance, SphereField(0.5).query(points).distance)


def test_what_has_no_room_or_no_time_is_refused():
    for domain, duration in ((Bounds.cube(dimension=2), 1.0), (Bounds.cube(), 0.0)):
        with pytest.raises(UsageError, match="3-D domain and a positive duration"):
            EvolvingField(domain, duration)
