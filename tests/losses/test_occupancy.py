import math

import torch

from onefield.losses.occupancy import excess_slope, refined_cross_entropy


def test_every_turn_is_held_to_the_truth():
    logits = torch.tensor([[0.0, math.log(3.0)], [0.0, math.log(3.0)]])
    loss = refined_cross_entropy(logits, torch.tensor([True, False]))
    expected = -(2 * math.log(0.5) + math.log(0.75) + math.log(0.25)) / 4
    torch.testing.assert_close(loss, torch.tensor(expected))


def test_slopes_cost_only_what_is_above_the_limit():
    gradients = torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(excess_slope(gradients, 2.0), torch.tensor(1.5))
    assert excess_slope(gradients, 5.0) == 0
