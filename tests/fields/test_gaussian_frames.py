"""Sets of Gaussians in another frame look the same from cameras that move along."""

from __future__ import annotations

import math

import torch

from onefield.fields.gaussian_frames import moved_gaussians, turned_harmonics
from onefield.kernels.gaussian_footprints import rotations
from onefield.kernels.harmonic_colors import harmonic_basis
from onefield.types import Gaussians


def random_rotation() -> torch.Tensor:
    return rotations(torch.tensor([[0.3, -0.8, 0.4, 0.6]], dtype=torch.float64))[0]


def gaussians(dtype=torch.float64) -> Gaussians:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    return Gaussians(
        normal(9, 3), normal(9, 3), normal(9, 4), normal(9), tuple(normal(9, 2 * b + 1, 3) for b in range(4))
    )


def test_colours_turn_with_the_set():
    some, rotation = gaussians(), random_rotation()
    turned = turned_harmonics(some.harmonics, rotation)
    directions = torch.nn.functional.normalize(torch.randn(30, 3, dtype=torch.float64), dim=-1)
    before = torch.einsum("nk,pkc->npc", harmonic_basis(directions, 3), torch.cat(some.harmonics, 1))
    after = torch.einsum("nk,pkc->npc", harmonic_basis(directions @ rotation.T, 3), torch.cat(turned, 1))
    torch.testing.assert_close(after, before, atol=1e-10, rtol=1e-8)


def test_places_and_shapes_follow_the_similarity_and_come_back():
    some, rotation, shift = gaussians(), random_rotation(), torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    moved = moved_gaussians(some, 2.5, rotation, shift)
    torch.testing.assert_close(moved.means, 2.5 * some.means @ rotation.T + shift)
    axes, true_axes = (rotations(g.quaternions) * g.log_scales.exp()[:, None] for g in (moved, some))
    turned = 2.5 * rotation @ true_axes
    torch.testing.assert_close(axes @ axes.mT, turned @ turned.mT)
    back = moved_gaussians(moved, 1 / 2.5, rotation.T, -(rotation.T @ shift) / 2.5)
    torch.testing.assert_close(back.means, some.means)
    torch.testing.assert_close(torch.cat(back.harmonics, 1), torch.cat(some.harmonics, 1), atol=1e-10, rtol=1e-8)
    torch.testing.assert_close(back.log_scales, some.log_scales)
    assert math.isclose(float(moved.opacities.sum()), float(some.opacities.sum()))
