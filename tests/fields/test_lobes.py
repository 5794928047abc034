"""Lobes of colour: their parts in harmonics against a quadrature over the sphere, turning, and when they are in use."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from onefield.errors import UsageError
from onefield.export.gaussian_formats import export_gaussians, read_gaussians
from onefield.fields.gaussian_frames import moved_gaussians
from onefield.fields.gaussian_sets import merged_gaussians, with_degree
from onefield.fields.gaussians import GaussianField
from onefield.fields.lobes import band_factors, first_lobes, without_lobes
from onefield.kernels.harmonic_colors import harmonic_basis
from onefield.types import Bounds, Gaussians, Lobes, PointCloud


def set_with_lobes(count=5, lobes=3, degree=1, log_sharpness=0.5) -> Gaussians:
    generator = torch.Generator().manual_seed(count)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    return Gaussians(
        normal(count, 3), normal(count, 3) - 3, normal(count, 4), normal(count),
        tuple(normal(count, 2 * band + 1, 3) for band in range(degree + 1)),
        Lobes(normal(count, lobes, 3), log_sharpness + 0.2 * normal(count, lobes), normal(count, lobes, 3)),
    )  # fmt: skip


def seen_along(gaussians: Gaussians, directions: torch.Tensor) -> torch.Tensor:
    """Colour of each Gaussian along each direction, before the shift, by the definition."""
    basis = harmonic_basis(directions, gaussians.degree)
    colors = torch.einsum("nk,pkc->npc", basis, torch.cat(gaussians.harmonics, 1))
    if gaussians.lobes is not None:
        axes = torch.nn.functional.normalize(gaussians.lobes.axes, dim=-1)
        shape = torch.exp(gaussians.lobes.log_sharpness.exp() * (torch.einsum("ni,pji->npj", directions, axes) - 1))
        colors = colors + torch.einsum("npj,pjc->npc", shape, gaussians.lobes.colors)
    return colors


@pytest.mark.parametrize("sharpness", [0.05, 0.7, 4.0, 60.0])
def test_parts_in_the_bands_are_integrals_with_legendre_polynomials(sharpness):
    places, weights = np.polynomial.legendre.leggauss(200)
    factors = band_factors(torch.tensor(sharpness, dtype=torch.float64))
    for band in range(4):
        values = np.exp(sharpness * (places - 1)) * np.polynomial.legendre.Legendre.basis(band)(places)
        assert float(factors[band]) == pytest.approx(2 * math.pi * float(weights @ values), rel=1e-7, abs=1e-9)


def test_harmonics_take_over_what_they_can_and_nothing_else():
    """The difference to the lobes is orthogonal to all harmonics of degree 3, and next to nothing for broad lobes."""
    places, weights = np.polynomial.legendre.leggauss(40)
    z, angle = torch.meshgrid(torch.from_numpy(places), torch.arange(80.0).double() * (2 * math.pi / 80), indexing="ij")
    radius = (1 - z * z).sqrt()
    sphere = torch.stack([radius * angle.cos(), radius * angle.sin(), z], -1).reshape(-1, 3).float()
    area = (torch.from_numpy(weights)[:, None] * 2 * math.pi / 80).expand(40, 80).reshape(-1).float()
    sharp = set_with_lobes(log_sharpness=1.5)
    off = seen_along(sharp, sphere) - seen_along(without_lobes(sharp), sphere)
    parts = torch.einsum("n,nk,npc->pkc", area, harmonic_basis(sphere, 3), off)
    assert float(parts.abs().max()) < 1e-4 < 0.1 < float(off.abs().max())
    broad = set_with_lobes(log_sharpness=-1.0)
    assert float((seen_along(broad, sphere) - seen_along(without_lobes(broad), sphere)).abs().max()) < 0.02
    assert without_lobes(without_lobes(sharp)).lobes is None


def test_lobes_turn_with_their_set():
    generator = torch.Generator().manual_seed(1)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))[0]
    turn = turn * torch.linalg.det(turn)
    gaussians = set_with_lobes()
    directions = torch.nn.functional.normalize(torch.randn(20, 3, generator=generator), dim=-1)
    moved = moved_gaussians(gaussians, 2.0, turn, torch.ones(3))
    torch.testing.assert_close(
        seen_along(moved, directions @ turn.T.float()), seen_along(gaussians, directions), atol=1e-4, rtol=1e-4
    )


def test_lobes_come_into_use_after_the_last_degree():
    cloud = PointCloud(torch.rand(10, 3))
    field = GaussianField.from_points(Bounds.cube(1.0), cloud, degree=1, lobes=4)
    assert field.gaussians().lobes is None
    field.raise_degree(1)
    assert (field.degree, field.gaussians().lobes) == (1, None)
    field.raise_degree(2)
    assert (field.degree, field.most_degree) == (1, 1)
    assert field.gaussians().lobes.colors.shape == (10, 4, 3)
    taken = GaussianField(Bounds.cube(1.0), field.gaussians())
    assert taken.gaussians().lobes is not None
    assert set(taken.parameter_groups()) > {"lobe_colors", "lobe_shapes"}
    grouped = [p for members in taken.parameter_groups().values() for p in members]
    assert {id(p) for p in grouped} == {id(p) for p in taken.parameters()}


def test_the_first_lobes_are_black_and_look_all_around():
    lobes = first_lobes(2, 7)
    assert not lobes.colors.any()
    torch.testing.assert_close(lobes.axes.norm(dim=-1), torch.ones(2, 7))
    between = lobes.axes[0] @ lobes.axes[0].T - 2 * torch.eye(7)
    assert float(between.max()) < 0.6


def test_a_query_answers_in_harmonics():
    gaussians = set_with_lobes(1, 2, 0, log_sharpness=-1.5)
    field = GaussianField(Bounds.cube(3.0), gaussians)
    direction = torch.tensor([[0.6, 0.0, 0.8]])
    color = field.query(gaussians.means, directions=direction, want=["color"]).color
    expected = (seen_along(gaussians, direction)[:, 0] + 0.5).clamp(0, 1)
    torch.testing.assert_close(color, expected, atol=0.02, rtol=0)


def test_files_say_that_they_hold_no_lobes(tmp_path):
    gaussians = set_with_lobes()
    export = export_gaussians(gaussians, tmp_path / "set.ply")
    assert "lobes" in export.notes[0]
    read = read_gaussians(tmp_path / "set.ply")
    for one, other in zip(read.harmonics, without_lobes(gaussians).harmonics, strict=True):
        torch.testing.assert_close(one, other)


def test_sets_with_lobes_keep_them_or_say_that_they_can_not():
    gaussians = set_with_lobes()
    assert with_degree(gaussians, 3).lobes is gaussians.lobes
    assert gaussians[:2].lobes.axes.shape == (2, 3, 3)
    with pytest.raises(UsageError, match="without_lobes"):
        merged_gaussians([gaussians, gaussians])
