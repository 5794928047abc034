"""What surfels look like on a picture, against the rays that meet them and against every pixel of a larger picture."""

from __future__ import annotations

import math

import torch

from onefield.kernels.gaussian_tiles import LEAST_ALPHA, TILE
from onefield.kernels.surfel_footprints import drawable, surfel_axes, surfel_footprints
from tests.kernels.surfel_pictures import inputs, paper, surfels

WIDTH, HEIGHT = 48, 32


def test_points_of_a_surfel_are_found_where_the_camera_sees_them():
    given = surfels(20, WIDTH, HEIGHT, size=0.3, dtype=torch.float64)
    leaves, _ = inputs(given, WIDTH, HEIGHT)
    there = torch.randn(20, 2, dtype=torch.float64)
    points = given["means"] + (given["axes"] @ there[:, :, None])[..., 0]
    seen = points @ given["intrinsics"].mT
    away = seen[:, :2] / seen[:, 2:] - leaves["pixels"]
    u, v, q = (leaves["slopes"] @ away[:, :, None])[..., 0].unbind(1)
    torch.testing.assert_close(torch.stack([u, v], 1) / (1 + q)[:, None], there)
    torch.testing.assert_close(leaves["depths"] / (1 + q), points[:, 2])


def test_whatever_shows_at_a_pixel_is_in_its_tile_and_its_row():
    given = surfels(60, WIDTH, HEIGHT, size=0.5)
    given["means"][:6, 2] = 0.3  # these come across the plane of the camera
    _, rest = inputs(given, WIDTH, HEIGHT)
    tiles, spans = rest["tiles"], rest["spans"]
    shown = 0
    for y in range(1, HEIGHT, 5):
        for x in range(2, WIDTH, 5):
            tile = y // TILE * (WIDTH // TILE) + x // TILE
            there = set(tiles.owners[tiles.offsets[tile] : tiles.offsets[tile + 1]].tolist())
            for i in range(60):
                squared, _ = paper(given, i, x + 0.5, y + 0.5)
                if float(given["opacities"][i]) * math.exp(-0.5 * squared) > LEAST_ALPHA * 1.001:
                    assert i in there
                    assert float(spans[i, 0]) <= y + 0.5 <= float(spans[i, 1])
                    shown += 1
    assert 100 < shown < 60 * 70
    # and not simply everything is everywhere
    assert len(tiles.owners) < 0.8 * 60 * 6


def test_surfels_that_are_no_discs_keep_finite_numbers():
    spreads = torch.tensor([[[3.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]], [[1e9, 0.0], [0.0, 1e9]]])
    recessions = torch.tensor([[0.1, 2.0], [0.0, 0.0], [1e8, 0.0]])
    leaves = [spreads.requires_grad_(True), recessions.requires_grad_(True)]
    pixels = torch.full((3, 2), 8.0)
    found = surfel_footprints(pixels, *leaves, torch.full((3,), 0.9), torch.ones(3), 16, 16)
    found.slopes.sum().backward()
    assert torch.isfinite(found.slopes).all()
    assert torch.isfinite(found.spans).all()
    assert all(torch.isfinite(leaf.grad).all() for leaf in leaves)
    assert len(found.tiles.owners) == 3


def test_only_finite_sizes_are_drawable_and_the_third_has_no_meaning():
    log_scales = torch.tensor(
        [[0.0, 0.0, math.inf], [math.inf, 0.0, 0.0], [0.0, math.nan, 0.0], [-math.inf, 0.0, math.nan]]
    )
    assert drawable(log_scales).tolist() == [True, False, False, True]
    axes = surfel_axes(log_scales.requires_grad_(True), torch.eye(3).expand(4, 3, 3))
    assert torch.isfinite(axes).all()
    axes.sum().backward()
    assert torch.isfinite(log_scales.grad).all()
