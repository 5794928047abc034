"""Network of cardinal sines."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.fields.networks.activated import ActivatedNetwork
from onefield.fields.networks.backbone import Backbone


class SincNetwork(ActivatedNetwork):
    """Layers ``sin(w z) / (w z)`` with ``z = W x + b`` (Saratchandran et al., "A sampling theory perspective on
    activations for implicit neural representations", ICML 2024).

    The factor is w, the largest frequency of each sine, radians. Inputs should fill [-1, 1].
    """

    def activate(self, values: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        # torch's sinc has a factor pi; its value and slope hold at 0, too
        return torch.sinc(values / math.pi)


SINC = Backbone("sinc", SincNetwork, {"width": 256, "hidden_layers": 3, "factor": 15.0}, rate=2e-3)
