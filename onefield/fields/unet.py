"""U-Net over feature planes or volumes (Ronneberger et al. 2015; in space Cicek et al. 2016)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from onefield.errors import UsageError

_CONVOLUTIONS = {2: nn.Conv2d, 3: nn.Conv3d}


class UNet(nn.Module):
    """Two convolutions a level with ReLU, halved by maxima on the way down, repeated and joined on the way up.

    Between convolution and ReLU the channels of each cell are brought to mean 0 and variance 1 (Ba et al. 2016), which
    learns faster than without. No cell is normalised by others, and maps are padded with zeros, so that away from the
    border the answer moves with its input by whole cells of the coarsest level.
    """

    def __init__(self, dimension: int, inputs: int, outputs: int, width: int = 16, levels: int = 3) -> None:
        """Makes the convolutions.

        Args:
            dimension: 2 for planes, 3 for volumes.
            inputs, outputs: channels.
            width: channels of the finest level; each coarser one has twice as many.
            levels: resolutions; 1 never halves.

        Raises:
            UsageError: another dimension, or a size that is not positive.
        """
        super().__init__()
        if dimension not in _CONVOLUTIONS or min(inputs, outputs, width, levels) < 1:
            raise UsageError(
                f"A U-Net needs dimension 2 or 3 and positive sizes, got dimension {dimension}, {inputs} inputs, "
                f"{outputs} outputs, width {width} and {levels} levels."
            )
        convolution = _CONVOLUTIONS[dimension]
        widths = [width * 2**level for level in range(levels)]

        def pair(given: int, wanted: int) -> nn.ModuleList:
            return nn.ModuleList(convolution(count, wanted, 3, padding=1) for count in (given, wanted))

        self.down = nn.ModuleList(
            pair(inputs if level == 0 else widths[level - 1], size) for level, size in enumerate(widths)
        )
        self.up = nn.ModuleList(pair(size + 2 * size, size) for size in reversed(widths[:-1]))
        self.last = nn.Linear(width, outputs)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif not name.startswith("last"):
                # PyTorch's own start would shrink what passes ten layers to a thousandth
                nn.init.kaiming_normal_(parameter, nonlinearity="relu")

    def forward(self, maps: Float[Tensor, "b c *cells"]) -> Float[Tensor, "b d *cells"]:
        """Maps of the same resolution.

        Raises:
            UsageError: a side that can't be halved between all levels.
        """
        factor = 2 ** (len(self.down) - 1)
        if any(side % factor for side in maps.shape[2:]):
            raise UsageError(
                f"A U-Net of {len(self.down)} levels needs maps whose sides are multiples of {factor}, got "
                f"{tuple(maps.shape[2:])}."
            )
        passed = []
        for level, layers in enumerate(self.down):
            maps = _activated(layers, _halved(maps) if level else maps)
            passed.append(maps)
        for layers, finer in zip(self.up, passed[-2::-1], strict=True):
            repeated = functional.interpolate(maps, scale_factor=2, mode="nearest")
            maps = _activated(layers, torch.cat([finer, repeated], dim=1))
        return self.last(maps.movedim(1, -1)).movedim(-1, 1)


def _halved(maps: Tensor) -> Tensor:
    pool = functional.max_pool2d if maps.ndim == 4 else functional.max_pool3d
    return pool(maps, kernel_size=2)


def _activated(layers: nn.ModuleList, maps: Tensor) -> Tensor:
    for layer in layers:
        maps = layer(maps) if maps.ndim == 4 else _in_slices(layer, maps)
        maps = functional.layer_norm(maps.movedim(1, -1), maps.shape[1:2]).movedim(-1, 1)
        maps = torch.relu(maps)
    return maps


def _in_slices(layer: nn.Conv3d, volumes: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b d x y z"]:
    """The same convolution as one in the plane, of three neighbouring slices each: on a CPU three to eight times as
    fast as PyTorch's, forward and back."""
    padded = functional.pad(volumes, (0, 0, 0, 0, 1, 1))
    neighbours = torch.cat([padded[:, :, :-2], padded[:, :, 1:-1], padded[:, :, 2:]], dim=1).transpose(1, 2)
    weight = layer.weight.transpose(1, 2).flatten(1, 2)
    answers = functional.conv2d(neighbours.flatten(0, 1), weight, layer.bias, padding=1)
    return answers.unflatten(0, neighbours.shape[:2]).transpose(1, 2)
