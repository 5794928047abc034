"""In or out: cross entropy, and a limit to how fast a field may change its mind."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional


def refined_cross_entropy(logits: Float[Tensor, "n t"], inside: Bool[Tensor, "n"]) -> Float[Tensor, ""]:
    """Mean binary cross entropy of the answers after every turn (OReX, section 3.2)."""
    return functional.binary_cross_entropy_with_logits(logits, inside[:, None].to(logits).expand_as(logits))


def excess_slope(gradients: Float[Tensor, "n d"], limit: float) -> Float[Tensor, ""]:
    """Mean of ``max(0, |gradient| - limit)``: 0 for a field that nowhere changes faster (OReX, section 3.4).

    A field of in and out alone would jump at the contours and ripple between the planes.
    """
    return functional.relu(torch.linalg.vector_norm(gradients, dim=-1) - limit).mean()
