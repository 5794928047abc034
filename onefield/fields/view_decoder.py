"""Maps over the pixels of a few views from an implicit convolutional decoder: smooth first, detailed as it learns.

Source: Paliwal et al., "CoherentGS" (2024), section 3.2: a positional code of the view's number, turned into maps by
convolutions between which bilinear enlargement doubles the resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from onefield.fields.encodings.fourier import FourierEncoding

# The coarsest map has about so many pixels along its shorter side.
COARSEST = 6
FREQUENCIES = 10
# Slope of the leaky rectifier where it is below 0.
_LEAK = 0.01


@final
class ViewDecoder(nn.Module):
    """Maps of several channels for every view, all 0 at first.

    The finest convolutions run at half the pictures' resolution; each map is enlarged to its view's size from there.
    """

    def __init__(self, sizes: Sequence[tuple[int, int]], channels: int, width: int) -> None:
        """Makes a decoder.

        Args:
            sizes: height and width of each view's map.
            channels: of the maps.
            width: channels of the layers between.
        """
        super().__init__()
        self.sizes = tuple(sizes)
        height, across = (max(side) for side in zip(*self.sizes, strict=True))
        halvings = 1
        while min(height, across) >> (halvings + 1) >= COARSEST:
            halvings += 1
        # whole numbers upwards: the last is half the picture
        self.stages = tuple((-(-height // 2**k), -(-across // 2**k)) for k in range(halvings, 0, -1))
        self.code = FourierEncoding(1, FREQUENCIES, include_input=False)
        inputs = [self.code.output_dimension + 2] + [width] * (len(self.stages) - 1)
        self.layers = nn.ModuleList(
            nn.Conv2d(count, width, kernel_size=3, padding=1, padding_mode="replicate") for count in inputs
        )
        self.last = nn.Conv2d(width, channels, kernel_size=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self) -> list[Float[Tensor, "c h w"]]:
        """The maps of all views, between -1 and 1."""
        features = self._codes()
        for number, (layer, size) in enumerate(zip(self.layers, self.stages, strict=True)):
            if number:
                features = functional.interpolate(features, size=size, mode="bilinear", align_corners=False)
            features = functional.leaky_relu(layer(features), _LEAK)
        coarse = self.last(features)
        return [
            torch.tanh(functional.interpolate(coarse[[view]], size=size, mode="bilinear", align_corners=False)[0])
            for view, size in enumerate(self.sizes)
        ]

    def _codes(self) -> Float[Tensor, "v c h w"]:
        """Each view's code at every place of the coarsest map, and the coordinates of that place."""
        like = self.last.weight
        views, (height, width) = len(self.sizes), self.stages[0]
        places = (torch.arange(views, dtype=like.dtype, device=like.device) + 0.5) / views
        codes = self.code(places[:, None])[:, :, None, None].expand(-1, -1, height, width)
        down = torch.linspace(-1, 1, height, dtype=like.dtype, device=like.device)
        across = torch.linspace(-1, 1, width, dtype=like.dtype, device=like.device)
        grid = torch.stack(torch.meshgrid(down, across, indexing="ij"))
        return torch.cat([codes, grid.expand(views, -1, -1, -1)], dim=1)
