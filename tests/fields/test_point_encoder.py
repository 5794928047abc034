import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.point_encoder import PointEncoder, cell_maxima, cell_means, cells_of

POINTS = torch.tensor(
    [[0.1, 0.1, 0.1], [0.2, 0.2, 0.9], [0.15, 0.05, 0.2], [0.9, 0.6, 0.4], [1.2, 0.7, 0.3], [0.6, -0.1, 0.6]]
)


def test_cells_are_counted_along_the_kept_coordinates():
    assert cells_of(POINTS, 2, (0, 1)).indices.tolist() == [0, 0, 0, 3, 3, 2]
    assert cells_of(POINTS, 2, (0, 1, 2)).indices.tolist() == [0, 1, 0, 6, 6, 5]


def test_pooling_is_what_a_plain_loop_finds():
    cells = cells_of(POINTS, 2, (0, 1, 2))
    features = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)) - 2.0
    maxima, means = torch.zeros(8, 3), torch.zeros(8, 3)
    for cell in range(8):
        rows = [features[point] for point in range(6) if cells.indices[point] == cell]
        if rows:
            maxima[cell] = torch.stack(rows).amax(0)
            means[cell] = torch.stack(rows).mean(0)
    torch.testing.assert_close(cell_maxima(features, cells), maxima)
    torch.testing.assert_close(cell_means(features, cells), means)


def test_an_encoder_with_set_weights_against_a_plain_loop():
    encoder = PointEncoder(3, 2, width=2, blocks=2)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    maps = [cells_of(POINTS, 2, (0, 1)), cells_of(POINTS, 2, (0, 2))]
    first, second = encoder.blocks
    hidden = [first(encoder.first(point)) for point in POINTS]
    expected = []
    for point in range(6):
        pooled = torch.zeros(2)
        for cells in maps:
            mates = [hidden[other] for other in range(6) if cells.indices[other] == cells.indices[point]]
            pooled += torch.stack(mates).amax(0)
        expected.append(encoder.last(second(torch.cat([hidden[point], pooled]))))
    torch.testing.assert_close(encoder(POINTS, maps), torch.stack(expected))


def test_sizes_are_positive():
    with pytest.raises(UsageError, match="width 0"):
        PointEncoder(3, 2, width=0, blocks=1)
