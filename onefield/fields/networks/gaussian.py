"""Network of Gaussian bumps."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from onefield.fields.networks.activated import ActivatedNetwork
from onefield.fields.networks.backbone import Backbone


class GaussianNetwork(ActivatedNetwork):
    """Layers ``exp(-(s z)^2)`` with ``z = W x + b`` (Ramasinghe and Lucey, "Beyond Periodicity", ECCV 2022).

    The paper's ``exp(-z^2 / (2 a^2))`` has ``s = 1 / (a sqrt(2))``. The
    factor is s, the reciprocal of the bumps' half width at a height of 1/e. Inputs should fill [-1, 1].
    """

    def activate(self, values: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        return torch.exp(-values.square())

    def activated(
        self, features: Float[Tensor, "n f"], weight: Float[Tensor, "g f"], bias: Float[Tensor, "g"], factor: float
    ) -> Float[Tensor, "n g"]:
        # a product with -s^2 costs what changing the sign does, and scaled weights would be rounded once more
        return torch.exp(-(factor**2) * functional.linear(features, weight, bias).square())


GAUSSIAN = Backbone("gaussian", GaussianNetwork, {"width": 256, "hidden_layers": 3, "factor": 10.0})
