"""Feature planes and a feature volume as an encoding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from onefield.errors import UsageError
from onefield.fields.encodings.encoding import Encoding
from onefield.kernels.dense_grid import dense_grid

# The two coordinates that each plane keeps.
PLANES = ((0, 1), (0, 2), (1, 2))


@dataclass(frozen=True)
class FeatureMaps:
    """Features at the centres of cells that divide the unit square or cube evenly; the first axis of a map goes along
    the first coordinate that it keeps.

    Attributes:
        planes: one for each pair of `PLANES`.
        volume: of all three coordinates.
    """

    planes: Float[Tensor, "3 n n c"] | None
    volume: Float[Tensor, "m m m c"] | None


def interpolate(points: Float[Tensor, "n 3"], maps: FeatureMaps) -> Float[Tensor, "n c"]:
    """Features of all maps, bilinear and trilinear between the centres of cells, added.

    Points farther out than the outermost centres take the features there. Twice differentiable in points and maps, with
    kinks at the centres.
    """
    features = []
    if maps.planes is not None:
        projected = (points[:, list(axes)].contiguous() for axes in PLANES)
        features += [_at_centers(pair, plane) for pair, plane in zip(projected, maps.planes, strict=True)]
    if maps.volume is not None:
        features.append(_at_centers(points, maps.volume))
    return torch.stack(features).sum(0)


def _at_centers(points: Tensor, grid: Tensor) -> Tensor:
    cells = grid.shape[0]
    # the kernel's outermost vertices lie on the border, those of cells half a cell inside
    return dense_grid((points * cells - 0.5) / (cells - 1), None, grid.contiguous(), "linear")


class PlaneVolumeEncoding(Encoding):
    """Learned features of three planes, of a volume, or the sum of both, at cell centres.

    Planes alone are the tri-planes of Chan et al. 2022 (EG3D, section 3.2), added up. An encoder of points fills them
    in convolutional occupancy networks (Peng et al. 2020, section 3.2).

    Args:
        planes: cells a side of the three planes; 0 for none.
        volume: cells a side of the volume; 0 for none.
        features: numbers a cell.
        initial_amplitude: starting values are uniform between plus and minus this.

    Raises:
        UsageError: neither planes nor volume, one cell a side, or no features.
    """

    def __init__(self, planes: int = 64, volume: int = 0, features: int = 16, initial_amplitude: float = 1e-4) -> None:
        super().__init__()
        check_resolutions(planes, volume)
        if features < 1:
            raise UsageError(f"PlaneVolumeEncoding needs features of at least 1, got {features}.")
        self.input_dimension = 3
        self.output_dimension = features
        sizes = {"planes": (3, planes, planes, features), "volume": (volume, volume, volume, features)}
        for name, size in sizes.items():
            start = torch.empty(size).uniform_(-initial_amplitude, initial_amplitude)
            self.register_parameter(name, nn.Parameter(start) if size[1] else None)

    def forward(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n f"]:
        """Features of points in the unit cube; see `interpolate`."""
        return interpolate(points, FeatureMaps(self.planes, self.volume))

    @torch.no_grad()
    def fill(self, maps: FeatureMaps) -> None:
        """Takes over the values of maps of the same sizes."""
        for own, given in ((self.planes, maps.planes), (self.volume, maps.volume)):
            if own is not None:
                own.copy_(given)


def check_resolutions(planes: int, volume: int) -> None:
    """Raises UsageError where there are neither planes nor a volume, or one of a single cell."""
    if min(planes, volume) < 0 or max(planes, volume) < 2 or 1 in (planes, volume):
        raise UsageError(
            f"Feature maps need planes or a volume of at least 2 cells a side (0 for none), got {planes} and {volume}."
        )
