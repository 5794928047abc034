"""From a cloud of points to a field of occupancy, by a network learned from a collection of shapes.

Source: Peng et al. 2020, "Convolutional Occupancy Networks", section 3. An encoder turns points into features of cells
on three planes, in a volume, or both; a U-Net carries them to cells without points; a decoder reads occupancy off the
features between the cells' centres.
"""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from onefield.fields.composed import ComposedField
from onefield.fields.encodings.planes_and_volume import (
    PLANES,
    FeatureMaps,
    PlaneVolumeEncoding,
    check_resolutions,
    interpolate,
)
from onefield.fields.heads.occupancy import OccupancyHead
from onefield.fields.networks.residual import ResidualNetwork
from onefield.fields.point_encoder import Cells, PointEncoder, cell_means, cells_of
from onefield.fields.unet import UNet
from onefield.types import Bounds

_ALL_AXES = (0, 1, 2)


@final
class ConvolutionalOccupancy(nn.Module):
    """Encoder of points and decoder of occupancy, over the unit cube.

    For a volume the encoder sees only where in its cell a point is, so that away from the border a cloud moved by whole
    cells of the U-Net's coarsest level has its occupancy moved along. Planes need the coordinate that they drop, so
    with them the encoder sees all coordinates, too.
    """

    def __init__(
        self,
        planes: int = 0,
        volume: int = 32,
        channels: int = 16,
        width: int = 8,
        levels: int = 3,
        blocks: int = 3,
    ) -> None:
        """Makes an untrained network.

        Args:
            planes, volume: cells a side, 0 for none; multiples of ``2^(levels - 1)``.
            channels: features of a cell, and width of encoder and decoder.
            width, levels: of the U-Nets.
            blocks: of encoder and decoder.

        Raises:
            UsageError: neither planes nor volume, or a size that is not positive.
        """
        super().__init__()
        check_resolutions(planes, volume)
        self.planes, self.volume = planes, volume
        inputs = 3 * (planes > 0) + 3 * (volume > 0)
        self.encoder = PointEncoder(inputs, channels, channels, blocks)
        self.plane_net = UNet(2, channels, channels, width, levels) if planes else None
        self.volume_net = UNet(3, channels, channels, width, levels) if volume else None
        self.decoder = ResidualNetwork(channels, 1, channels, blocks)

    def encode(self, points: Float[Tensor, "n 3"]) -> FeatureMaps:
        """Features of all cells from points in the unit cube."""
        projected = [cells_of(points, self.planes, axes) for axes in PLANES] if self.planes else []
        filled = [cells_of(points, self.volume, _ALL_AXES)] if self.volume else []
        features = self.encoder(self._inputs(points), projected + filled)
        planes = volume = None
        if self.plane_net is not None:
            given = torch.stack([_map(features, cells) for cells in projected])
            planes = self.plane_net(given).movedim(1, -1)
        if self.volume_net is not None:
            volume = self.volume_net(_map(features, filled[0])[None])[0].movedim(0, -1)
        return FeatureMaps(planes, volume)

    def logits(self, maps: FeatureMaps, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        """Of being inside, at points in the unit cube."""
        return self.decoder(interpolate(points, maps))[:, 0]

    @torch.no_grad()
    def complete(self, points: Float[Tensor, "n 3"], domain: Bounds) -> ComposedField:
        """The occupancy around world points, as a field with features and decoder of its own.

        Args:
            domain: a cube about the points with some room to spare.
        """
        maps = self.encode(domain.to_unit(points))
        field = occupancy_field(
            domain, self.planes, self.volume, self.decoder.input_dimension, len(self.decoder.blocks)
        )
        field.encoding.fill(maps)
        field.network.load_state_dict(self.decoder.state_dict())
        return field.to(points.device)

    def _inputs(self, points: Tensor) -> Tensor:
        """Coordinates and places in cells, in [-1, 1]."""
        parts = [2 * points - 1] if self.planes else []
        if self.volume:
            scaled = points * self.volume
            parts.append(2 * (scaled - scaled.floor()) - 1)
        return torch.cat(parts, dim=-1)


def _map(features: Tensor, cells: Cells) -> Float[Tensor, "c *cells"]:
    return cell_means(features, cells).T.unflatten(1, cells.sides)


def occupancy_field(domain: Bounds, planes: int, volume: int, channels: int, blocks: int) -> ComposedField:
    """A field of the same make as `ConvolutionalOccupancy.complete` answers, not yet told of any points."""
    encoding = PlaneVolumeEncoding(planes, volume, channels)
    return ComposedField(domain, encoding, ResidualNetwork(channels, 1, channels, blocks), [OccupancyHead()])
