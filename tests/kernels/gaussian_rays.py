"""Rays and Gaussians for the tests of ray casting."""

from __future__ import annotations

import math

import torch

from onefield.kernels.gaussian_ray_casting import CastGaussians, CastRays


def rays_and_gaussians(rays=50, count=40, harmonics=4, lobes=2, size=0.15, dtype=torch.float32):
    """Rays from all around at Gaussians about the origin."""
    generator = torch.Generator().manual_seed(rays + count)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def unit(vectors):
        return torch.nn.functional.normalize(vectors, dim=-1)

    axes = torch.linalg.qr(normal(count, 3, 3))[0]
    scales = size * torch.exp(0.4 * normal(count, 3))
    shapes = torch.cat([unit(normal(count, lobes, 3)), 1 + normal(count, lobes, 1).abs(), normal(count, lobes, 3)], -1)
    gaussians = CastGaussians(
        0.5 * normal(count, 3),
        axes.mT / scales[:, :, None],
        8 * torch.rand(count, generator=generator, dtype=torch.float64) + 0.1,
        torch.full((count,), 3.3, dtype=torch.float64),
        0.3 * normal(count, harmonics, 3),
        shapes,
    )
    origins = 3 * unit(normal(rays, 3))
    directions = unit(0.4 * normal(rays, 3) - origins)
    starts = torch.full((rays,), 0.1, dtype=torch.float64)
    given = CastRays(origins, directions, normal(rays, harmonics), starts, torch.full_like(starts, math.inf))
    return CastRays(*(t.to(dtype) for t in given)), CastGaussians(*(t.to(dtype) for t in gaussians))
