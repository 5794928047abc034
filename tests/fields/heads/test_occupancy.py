import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.heads.occupancy import OccupancyHead


def test_channel_0_is_the_logit():
    features = torch.tensor([[0.0, 9.0], [1.0986123, -9.0]])
    torch.testing.assert_close(OccupancyHead()(features), torch.tensor([0.5, 0.75]))


def test_it_starts_as_a_ball_whose_surface_is_half_occupied():
    points = torch.tensor([[0.5, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.6, 0.0]])
    still = torch.zeros(3, 2)
    logits = torch.tensor([0.0, 5.0, -1.0])
    ball = OccupancyHead(1, radius=0.5, sharpness=10.0)
    torch.testing.assert_close(ball(still, None, points), torch.sigmoid(logits))
    room = OccupancyHead(1, radius=0.5, sharpness=10.0, inside_out=True)
    torch.testing.assert_close(room(still, None, points), torch.sigmoid(-logits))
    # a level of 0.1 in its own channel moves the surface by 0.1
    moved = torch.tensor([[7.0, 0.1]]).expand(3, 2)
    torch.testing.assert_close(ball(moved, None, points), torch.sigmoid(logits + 1))
    with pytest.raises(UsageError, match="got -1"):
        OccupancyHead(radius=-1.0)
