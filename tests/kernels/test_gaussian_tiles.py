"""Tiles of Gaussians: nobody who shows is missing, the order is that of depth, and lists are well formed."""

from __future__ import annotations

import math

import pytest
import torch

from onefield.kernels import use
from onefield.kernels.gaussian_tiles import LEAST_ALPHA, TILE, gaussian_tiles, square_tiles, tile_grid
from tests.kernels.gaussian_pictures import footprints

WIDTH, HEIGHT = 75, 60


def sorted_into_tiles(given, mode="fast"):
    names = ("pixels", "conics", "variances", "opacities", "depths")
    with use(mode):
        return gaussian_tiles(*(given[name] for name in names), WIDTH, HEIGHT)


@pytest.mark.parametrize("mode", ["fast", "reference"])
def test_whoever_shows_in_a_tile_is_listed_there_near_to_far(mode):
    given = footprints(400, WIDTH, HEIGHT)
    tiles = sorted_into_tiles(given, mode)
    columns, rows = tile_grid(WIDTH, HEIGHT)
    y, x = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    offset = torch.stack([x, y], -1).reshape(-1, 1, 2).double() - given["pixels"].double()
    xx, xy, yy = given["conics"].double().unbind(1)
    power = -0.5 * (xx * offset[..., 0] ** 2 + yy * offset[..., 1] ** 2) - xy * offset[..., 0] * offset[..., 1]
    shows = given["opacities"].double() * power.exp() >= LEAST_ALPHA
    tile_of_pixel = (y.long() // TILE * columns + x.long() // TILE).reshape(-1)
    assert len(tiles.offsets) == columns * rows + 1
    for tile in range(columns * rows):
        listed = tiles.owners[tiles.offsets[tile] : tiles.offsets[tile + 1]].long()
        assert set(shows[tile_of_pixel == tile].any(0).nonzero()[:, 0].tolist()) <= set(listed.tolist())
        assert (given["depths"][listed].diff() >= 0).all()


@pytest.mark.parametrize("mode", ["fast", "reference"])
def test_slots_are_a_place_for_each_pair_gaussian_by_gaussian(mode):
    tiles = sorted_into_tiles(footprints(300, WIDTH, HEIGHT), mode)
    assert torch.equal(tiles.slots.sort().values.long(), torch.arange(len(tiles.owners)))
    assert tiles.starts[-1] == tiles.offsets[-1] == len(tiles.owners)
    by_slot = tiles.owners[tiles.slots.argsort()]
    assert torch.equal(by_slot.long(), torch.repeat_interleave(tiles.starts.long().diff()))
    unseen = tiles.starts.diff() == 0
    assert unseen.any()
    assert (tiles.reach[~unseen] > 0).all()


def test_the_kernel_lists_no_tile_that_the_box_leaves_out():
    given = footprints(400, WIDTH, HEIGHT, size=4.0)
    fast, box = sorted_into_tiles(given), sorted_into_tiles(given, "reference")
    assert len(fast.owners) < len(box.owners)
    for tile in range(len(fast.offsets) - 1):
        one, other = (set(t.owners[t.offsets[tile] : t.offsets[tile + 1]].tolist()) for t in (fast, box))
        assert one <= other


@pytest.mark.parametrize("mode", ["fast", "reference"])
def test_those_who_can_not_be_seen_are_in_no_list(mode):
    given = footprints(8, WIDTH, HEIGHT)
    given["pixels"][:] = torch.tensor([30.0, 30.0])
    given["opacities"][:] = 0.5
    given["depths"][1] = 0.0
    given["depths"][2] = -1.0
    given["opacities"][3] = LEAST_ALPHA / 2
    given["pixels"][4] = torch.tensor([-500.0, 30.0])
    given["pixels"][5] = math.nan
    given["variances"][6] = math.inf
    given["conics"][7] = math.nan
    tiles = sorted_into_tiles(given, mode)
    assert set(tiles.owners.tolist()) == {0}


@pytest.mark.parametrize("mode", ["fast", "reference"])
def test_equal_depths_keep_their_order_and_no_gaussians_are_no_trouble(mode):
    given = footprints(50, WIDTH, HEIGHT)
    given["depths"][:] = 1.0
    tiles = sorted_into_tiles(given, mode)
    for tile in range(len(tiles.offsets) - 1):
        listed = tiles.owners[tiles.offsets[tile] : tiles.offsets[tile + 1]]
        assert (listed.diff() > 0).all()
    empty = sorted_into_tiles({name: tensor[:0] for name, tensor in given.items()}, mode)
    assert len(empty.owners) == 0
    assert not empty.offsets.any()


@pytest.mark.parametrize("mode", ["fast", "reference"])
def test_squares_have_the_tiles_that_counting_whole_pixels_gives(mode):
    given = footprints(300, WIDTH, HEIGHT, size=4.0)
    names = ("pixels", "conics", "variances", "opacities", "depths")
    given["opacities"] += 0.01
    given["opacities"][:20] = LEAST_ALPHA / 2
    with use(mode):
        tiles = square_tiles(*(given[name] for name in names), WIDTH, HEIGHT, 3.0)
    columns, rows = tile_grid(WIDTH, HEIGHT)
    expected = set()
    for i in range(20, 300):
        (xx, xy, yy), (x, y) = given["conics"][i].tolist(), given["pixels"][i].tolist()
        determinant = 1 / (xx * yy - xy * xy)
        half = 0.5 * (xx + yy) * determinant
        radius = math.ceil(3 * math.sqrt(half + math.sqrt(max(0.1, half * half - determinant))))
        for row in range(max(0, int((y - 0.5 - radius) / TILE)), min(rows, int((y - 0.5 + radius + 15) / TILE))):
            for column in range(
                max(0, int((x - 0.5 - radius) / TILE)), min(columns, int((x - 0.5 + radius + 15) / TILE))
            ):
                expected.add((row * columns + column, i))
    listed = torch.repeat_interleave(torch.arange(columns * rows), tiles.offsets.long().diff())
    found = set(zip(listed.tolist(), tiles.owners.tolist(), strict=True))
    # a radius or a border within rounding of a whole pixel may fall either way
    assert len(found ^ expected) <= 0.002 * len(expected)
    assert len(expected) > 600
