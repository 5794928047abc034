"""Random Gaussians on a picture, for the tests of tiles and blending."""

from __future__ import annotations

import torch
from torch import Tensor


def footprints(count: int, width: int, height: int, size: float = 2.0, dtype=torch.float32) -> dict[str, Tensor]:
    """Middles (some beyond the border), conics, variances, opacities, depths and three features."""
    generator = torch.Generator().manual_seed(count)

    def random(*shape):
        return torch.rand(*shape, generator=generator, dtype=dtype)

    axes = torch.linalg.qr(random(count, 2, 2) - 0.5)[0]
    spread = torch.diag_embed((size * torch.exp(2 * random(count, 2) - 1)).square())
    covariances = axes @ spread @ axes.mT + 0.3 * torch.eye(2, dtype=dtype)
    inverse = torch.linalg.inv(covariances)
    return {
        "pixels": random(count, 2) * torch.tensor([width + 12, height + 12], dtype=dtype) - 6,
        "conics": torch.stack([inverse[:, 0, 0], inverse[:, 0, 1], inverse[:, 1, 1]], 1),
        "variances": torch.diagonal(covariances, dim1=1, dim2=2).contiguous(),
        "opacities": random(count) * 1.2,
        "depths": random(count) + 0.5,
        "features": random(count, 3),
    }
