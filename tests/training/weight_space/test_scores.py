import pytest
import torch

from onefield.errors import UsageError
from onefield.training.weight_space.scores import held_out, likeness


class Labels:
    def __init__(self, labels):
        self.labels = labels

    def __len__(self):
        return len(self.labels)


def test_likeness_of_points_worked_out_by_hand():
    """On a line; 8 and 9 are neighbours of another side."""
    drawn, real = torch.tensor([[0.0], [1.0], [8.0]]), torch.tensor([[2.0], [3.2], [9.0]])
    found = likeness(drawn, real)
    # nearest others: 0 to 1 (own), 1 to 0 or 2 (the first of equals: own), 8 to 9, 2 to 1, 3.2 to 2 (own), 9 to 8
    assert found.nearest_neighbour == pytest.approx(3 / 6)
    # 0 and 1 are nearest to 2, 8 is to 9
    assert found.coverage == pytest.approx(2 / 3)
    assert found.distance == pytest.approx((1 + 2.2 + 1) / 3)


def test_one_law_is_told_from_another():
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 200, 8, generator=generator)
    assert 0.4 < likeness(first, second).nearest_neighbour < 0.6
    assert likeness(first, second + 3).nearest_neighbour > 0.98


def test_a_quarter_of_each_label_is_held_out():
    labels = ("a",) * 8 + ("b",) * 12
    known, held = held_out(Labels(labels))
    assert sorted([*known.tolist(), *held.tolist()]) == list(range(20))
    assert [labels[row] for row in held] == ["a"] * 2 + ["b"] * 3
    with pytest.raises(UsageError, match=r"8 fields or more, .* got 7"):
        held_out(Labels(labels[:7]))
