"""Network of real Gabor wavelets."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.fields.networks.activated import ActivatedNetwork
from onefield.fields.networks.backbone import Backbone


class RealGaborNetwork(ActivatedNetwork):
    """Layers ``cos(w z) exp(-(s z)^2)`` with ``z = W x + b``: the real part of WIRE's wavelet (Saragadam et al.,
    "WIRE", CVPR 2023, section 3.2).

    Inputs should fill [-1, 1].
    """

    def __init__(
        self,
        input_dimension: int,
        output_dimension: int,
        width: int = 256,
        hidden_layers: int = 2,
        frequency: float = 10.0,
        sharpness: float = 10.0,
        output_gain: float = 1.0,
    ) -> None:
        """Makes one input layer, ``hidden_layers`` more, and a linear output.

        Args:
            frequency: w, radians.
            sharpness: s, the reciprocal of the envelopes' half width at a height of 1/e.

        Raises:
            UsageError: a size, frequency or sharpness that is not positive.
        """
        self._ratio = sharpness / frequency if frequency else 0.0
        factor = frequency if sharpness > 0 else sharpness
        super().__init__(input_dimension, output_dimension, width, hidden_layers, factor, output_gain=output_gain)

    def activate(self, values: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        return torch.cos(values) * torch.exp(-(self._ratio * values).square())


_OPTIONS = {"width": 256, "hidden_layers": 2, "frequency": 10.0, "sharpness": 10.0}
REAL_GABOR = Backbone("gabor", RealGaborNetwork, _OPTIONS, rate=2e-3)
