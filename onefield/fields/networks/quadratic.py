"""Network of quadratic bells."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from onefield.fields.networks.activated import ActivatedNetwork
from onefield.fields.networks.backbone import Backbone


class QuadraticNetwork(ActivatedNetwork):
    """Layers ``1 / (1 + (s z)^2)`` with ``z = W x + b`` (Ramasinghe and Lucey, "Beyond Periodicity", ECCV 2022).

    The factor is s, the reciprocal of the bells' half width at half their height. Inputs should fill [-1, 1].
    """

    def activate(self, values: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        return 1 / (1 + values.square())


QUADRATIC = Backbone("quadratic", QuadraticNetwork, {"width": 256, "hidden_layers": 3, "factor": 10.0}, rate=3e-3)
