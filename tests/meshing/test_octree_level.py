"""Leaves as large as the surface is flat: fewer faces, and the uniform grid's own where there is detail."""

import math

import pytest
import torch

from onefield.fields.analytic import BoxField, SphereField
from onefield.meshing.lattice import BLOCK, Lattice, sample_level
from onefield.meshing.level_sets import extract_mesh
from onefield.meshing.octree_level import flat_octree
from onefield.meshing.report import report_mesh
from onefield.types import Bounds
from tests.meshing.surfaces import FunctionField

HALF, KNOB = (0.6, 0.5, 0.4), 0.09
TOP = torch.tensor([0.1, 0.05, HALF[2]])
CELL = 2 / 96


def knob_distance(points):
    """A block with a small half ball on top, turned so that no side lies along the grid."""
    angle = torch.tensor(0.3)
    turn = torch.tensor([[angle.cos(), -angle.sin(), 0], [angle.sin(), angle.cos(), 0], [0, 0, 1.0]])
    tilt = torch.tensor([[1.0, 0, 0], [0, angle.cos(), -angle.sin()], [0, angle.sin(), angle.cos()]])
    local = points @ (turn @ tilt)
    block = BoxField(HALF, domain=Bounds.cube(2.0)).query(local, want=("distance",)).distance
    return local, torch.minimum(block, (local - TOP).norm(dim=-1) - KNOB)


def test_fewer_faces_and_the_same_error_near_the_detail():
    field = FunctionField("distance", lambda points: knob_distance(points)[1])
    meshes = [
        extract_mesh(field, resolution=96, extractor=name)
        for name in ("dual-marching-cubes", "adaptive-dual-marching-cubes")
    ]
    uniform, adaptive = (report_mesh(mesh) for mesh in meshes)
    assert adaptive.watertight
    assert adaptive.manifold
    assert adaptive.genus == 0
    assert adaptive.faces < uniform.faces / 3
    truth = 8 * math.prod(HALF) + 2 / 3 * math.pi * KNOB**3
    assert adaptive.volume == pytest.approx(truth, rel=0.005)
    near, all_over = [], []
    for mesh in meshes:
        local, distance = knob_distance(mesh.vertices)
        # on the ball itself, away from the crease around it
        knob = ((local - TOP).norm(dim=1) < KNOB + CELL) & (local[:, 2] > HALF[2] + 3 * CELL)
        near.append(distance[knob].abs())
        all_over.append(float(distance.abs().mean()))
    assert len(near[1]) == len(near[0]) > 40
    torch.testing.assert_close(near[1].sort().values, near[0].sort().values, atol=1e-5, rtol=0)
    assert all_over[1] < all_over[0] + 0.05 * CELL


def test_values_are_the_grids_and_leaves_are_divided_where_it_bends():
    lattice = Lattice.over(Bounds.cube(1.0), 40)
    ball = SphereField(0.5)

    def level(points):
        return ball.query(points, want=("distance",)).distance

    octree, values = flat_octree(sample_level(level, lattice, is_distance=True, chunk=2**18).volume, flatness=0.02)
    places = octree.nodes - BLOCK
    within = ((places >= 0) & (places <= 40)).all(1)
    torch.testing.assert_close(values[within], level(lattice.points(places[within])), atol=1e-6, rtol=0)
    assert bool((values[~within] > 1).all())
    # in units of a cell a ball of radius r bends by side^2 / 8 r along a side, and three sides add up
    across = (values[octree.corners] < 0).any(1) & (values[octree.corners] >= 0).any(1)
    assert set(octree.sizes[across].tolist()) == {1}
    loose, _ = flat_octree(sample_level(level, lattice, is_distance=True, chunk=2**18).volume, flatness=0.5)
    assert int(loose.sizes[(loose.sizes < BLOCK)].max()) >= 2
    assert len(loose.lows) < len(octree.lows) / 4
