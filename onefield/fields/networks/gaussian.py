"""Network of Gaussian bumps."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.fields.networks.activated import ActivatedNetwork
from onefield.fields.networks.backbone import Backbone


class GaussianNetwork(ActivatedNetwork):
    """Layers ``exp(-(s z)^2)`` with ``z = W x + b`` (Ramasinghe and Lucey, "Beyond Periodicity", ECCV 2022).

    The paper's ``exp(-z^2 / (2 a^2))`` has ``s = 1 / (a sqrt(2))``. The
    factor is s, the reciprocal of the bumps' half width at a height of 1/e. Inputs should fill [-1, 1].
    """

    def activate(self, values: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        return torch.exp(-values.square())


GAUSSIAN = Backbone("gaussian", GaussianNetwork, {"width": 256, "hidden_layers": 3, "factor": 10.0})
