"""Band-limited coordinate network."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from onefield.errors import UsageError
from onefield.fields.networks.backbone import Backbone
from onefield.fields.networks.multiplicative import MultiplicativeNetwork


class Bacon(MultiplicativeNetwork):
    """A multiplicative network of sines whose frequencies stay as drawn, so that its band is known before training.

    Lindell et al., "BACON: band-limited coordinate networks for multiscale scene representation" (CVPR 2022), sections
    3.1 and 3.2. Frequencies of each filter are whole numbers of periods across the inputs' range [-1, 1], uniform up to
    the filter's share of the band; products add frequencies, so the output after a filter holds none beyond the sum of
    the bands up to it. Layers begin uniform in +-sqrt(6 / width).

    Attributes:
        bands: largest number of periods across the inputs' range after each filter, along each axis.
        outputs: the linear maps to the output after each filter, the last of which is the network's.
    """

    def __init__(
        self,
        input_dimension: int,
        output_dimension: int,
        width: int = 256,
        hidden_layers: int = 4,
        band: float = 128.0,
        output_gain: float = 1.0,
    ) -> None:
        """Draws the filters; the first two get an eighth of the band each, the others equal shares of the rest.

        Args:
            band: largest number of periods across the inputs' range that the output can hold, along each axis; the
                Nyquist limit of a signal is half its samples.
            output_gain: factor on the first weights of the outputs.

        Raises:
            UsageError: a size that is not positive, or a band that leaves a filter without any frequency.
        """
        filters = hidden_layers + 1
        shares = [1.0] if filters == 1 else [0.125, 0.125] + [0.75 / max(1, filters - 2)] * (filters - 2)
        self._limits = tuple(int(band * share / sum(shares)) for share in shares)
        if not self._limits or min(self._limits) < 1:
            raise UsageError(f"Bacon with {filters} filters needs a band of at least 8 periods, got {band}.")
        super().__init__(input_dimension, output_dimension, width, hidden_layers, output_gain, 6**0.5)
        self.bands = tuple(sum(self._limits[: index + 1]) for index in range(filters))
        self.outputs = nn.ModuleList(nn.Linear(width, output_dimension) for _ in range(hidden_layers))
        with torch.no_grad():
            for each in self.outputs:
                each.weight *= output_gain

    def _keep_frequencies(self, drawn: Float[Tensor, "k w f"]) -> None:
        self.register_buffer("frequencies", drawn)

    def drawn_frequencies(self, filters: int, width: int) -> Float[Tensor, "k w f"]:
        drawn = [torch.randint(-limit, limit + 1, (width, self.input_dimension)) for limit in self._limits]
        # one period across [-1, 1] is pi radians for each unit
        return torch.stack(drawn).float() * torch.pi

    def filtered(self, features: Float[Tensor, "n f"], index: int) -> Float[Tensor, "n w"]:
        return self.sines(features, index)

    def scales(self, features: Float[Tensor, "n f"]) -> list[Float[Tensor, "n g"]]:
        """The output after each filter, coarse to fine: each holds no frequency beyond its entry of ``bands``."""
        pairs = zip([*self.outputs, self.output], self.hidden(features), strict=True)
        return [output(hidden) for output, hidden in pairs]


BACON = Backbone("bacon", Bacon, {"width": 256, "hidden_layers": 4, "band": 128.0}, rate=5e-3)
