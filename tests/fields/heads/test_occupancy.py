import torch

from onefield.fields.heads.occupancy import OccupancyHead


def test_channel_0_is_the_logit():
    features = torch.tensor([[0.0, 9.0], [1.0986123, -9.0]])
    torch.testing.assert_close(OccupancyHead()(features), torch.tensor([0.5, 0.75]))
