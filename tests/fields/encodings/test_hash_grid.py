"""Hash encoding: learns a function, keeps its promises about shape and starting values."""

import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.encodings.hash_grid import INITIAL_AMPLITUDE, HashGridEncoding


def test_shape_and_initial_values():
    encoding = HashGridEncoding(dimension=2, levels=5, features=4, log2_table_size=8, finest_resolution=128)
    answer = encoding(torch.rand(7, 2))
    assert answer.shape == (7, encoding.output_dimension) == (7, 20)
    assert 0 < answer.abs().max() <= INITIAL_AMPLITUDE
    assert float(encoding.table.detach().std()) == pytest.approx(INITIAL_AMPLITUDE / 3**0.5, rel=0.1)


def test_learns_values_and_slopes():
    """A table alone, summed over its features, can follow a smooth function and its gradient (double backward)."""
    torch.manual_seed(0)
    encoding = HashGridEncoding(dimension=2, levels=4, features=1, log2_table_size=10, finest_resolution=24,
                                base_resolution=4)  # fmt: skip
    optimizer = torch.optim.Adam(encoding.parameters(), lr=0.03)

    def errors(points):
        points = points.requires_grad_()
        value = encoding(points).sum(-1)
        (slope,) = torch.autograd.grad(value.sum(), points, create_graph=True)
        x, y = points.detach().unbind(-1)
        truth = torch.sin(4 * x) * y
        slopes = torch.stack([4 * torch.cos(4 * x) * y, torch.sin(4 * x)], -1)
        return (value - truth).square().mean(), (slope - slopes).square().mean()

    start = [e.item() for e in errors(torch.rand(500, 2))]
    for _ in range(120):
        value, slope = errors(torch.rand(500, 2))
        optimizer.zero_grad()
        (value + 0.1 * slope).backward()
        optimizer.step()
    end = [e.item() for e in errors(torch.rand(500, 2))]
    assert end[0] < 0.01 * start[0]
    assert end[1] < 0.05 * start[1]


@pytest.mark.parametrize("wrong", [{"levels": 0}, {"features": 0}, {"finest_resolution": 8}, {"dimension": 7}])
def test_meaningless_arguments_are_refused(wrong):
    with pytest.raises(UsageError, match=str(next(iter(wrong.values())))):
        HashGridEncoding(**wrong)


def test_levels_are_disjoint_parts_of_the_table_and_shape_their_own_features_only():
    encoding = HashGridEncoding(3, levels=4, features=2, log2_table_size=8, base_resolution=4, finest_resolution=32)
    points = torch.rand(20, 3)
    assert sum(len(encoding.level(index)) for index in range(4)) == len(encoding.table)
    before = encoding(points)
    with torch.no_grad():
        encoding.level(2).add_(1.0)
    # weights of the corners add up to 1
    moved = torch.zeros(8)
    moved[4:6] = 1
    torch.testing.assert_close(encoding(points) - before, moved.expand(20, 8))
