import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.encodings.planes_and_volume import PLANES, FeatureMaps, PlaneVolumeEncoding, interpolate


def centers(cells: int, dimension: int) -> torch.Tensor:
    axis = (torch.arange(cells) + 0.5) / cells
    return torch.stack(torch.meshgrid(*[axis] * dimension, indexing="ij"), dim=-1)


def test_linear_functions_come_back_between_the_centres():
    points = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) * 0.7 + 0.15
    slopes = torch.tensor([1.0, -2.0, 0.5])
    planes = torch.stack([(centers(4, 2) @ slopes[list(axes)])[..., None] for axes in PLANES])
    volume = (centers(5, 3) @ slopes)[..., None]
    # each coordinate is in two of the three planes
    for maps, times in (
        (FeatureMaps(planes, None), 2),
        (FeatureMaps(None, volume), 1),
        (FeatureMaps(planes, volume), 3),
    ):
        torch.testing.assert_close(interpolate(points, maps)[:, 0], times * (points @ slopes))


def test_beyond_the_outermost_centres_features_stay():
    volume = torch.randn(4, 4, 4, 2)
    corners = torch.tensor([[0.0, 0.0, 0.0], [0.125, 0.125, 0.125], [-3.0, -1.0, -2.0]])
    torch.testing.assert_close(interpolate(corners, FeatureMaps(None, volume)), volume[0, 0, 0].expand(3, 2))


def test_an_encoding_takes_over_maps():
    encoding = PlaneVolumeEncoding(4, 3, 2)
    maps = FeatureMaps(torch.randn(3, 4, 4, 2), torch.randn(3, 3, 3, 2))
    encoding.fill(maps)
    points = torch.rand(9, 3)
    torch.testing.assert_close(encoding(points), interpolate(points, maps))


@pytest.mark.parametrize(("planes", "volume"), [(0, 0), (1, 8), (8, 1), (-2, 8)])
def test_maps_of_no_use_are_refused(planes, volume):
    with pytest.raises(UsageError, match="at least 2 cells"):
        PlaneVolumeEncoding(planes, volume)
