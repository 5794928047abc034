"""The network in which solutions are looked for."""

from __future__ import annotations

import torch

from onefield.fields.composed import ComposedField
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.fields.heads.value import ValueHead
from onefield.fields.networks.siren import Siren
from onefield.training.seeds import checked_seed
from onefield.types import Bounds


def sine_field(
    domain: Bounds, channels: int, width: int = 20, hidden_layers: int = 1, w0: float = 3.0, seed: int = 0
) -> ComposedField:
    """Sines in double precision, few and slow enough for least squares over all of their parameters.

    Args:
        w0: of the `Siren`, about the radians that the solution turns through over half of the domain's side.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(checked_seed(seed))
        network = Siren(domain.dimension, channels, width, hidden_layers, w0)
    return ComposedField(domain, IdentityEncoding(domain.dimension), network, [ValueHead()]).double()
