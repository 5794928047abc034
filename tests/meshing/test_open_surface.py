import numpy as np
import pytest
import torch

from onefield.errors import DataError
from onefield.meshing.cleanup import keep_large_components
from onefield.meshing.level_sets import extract
from onefield.meshing.report import edges_of, report_mesh
from onefield.types import Bounds
from tests.open_surfaces import AREAS, RADIUS, RIMS, ClosestPoints, disc, half_sphere, patch, sphere, turned

CELLS = 40


def rim_of(mesh):
    """Length of the border and its vertices."""
    directed, _, edge_of, uses, _ = edges_of(mesh.faces.numpy(), len(mesh.vertices))
    border = directed[uses[edge_of] == 1]
    ends = mesh.vertices.numpy()[border]
    return np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1).sum(), torch.from_numpy(ends[:, 0])


@pytest.mark.parametrize("lies", ["along the grid", "across the grid"])
@pytest.mark.parametrize("surface", AREAS)
def test_an_open_surface_stays_open(surface, lies):
    closest = surface if lies == "along the grid" else turned(surface)
    extraction = extract(ClosestPoints(closest), resolution=CELLS)
    mesh, report = extraction.mesh, report_mesh(extraction.mesh)
    assert extraction.quantity == "closest_point"
    assert (report.components, report.boundaries, report.euler) == (1, 1, 1)
    assert report.manifold
    assert report.consistent
    assert report.area == pytest.approx(AREAS[surface], rel=0.01)
    assert (closest(mesh.vertices) - mesh.vertices).norm(dim=1).max() < 1e-5
    length, _ = rim_of(mesh)
    assert length == pytest.approx(RIMS[surface], rel=0.05)


def test_the_rim_lies_where_the_surface_ends():
    _, rim = rim_of(extract(ClosestPoints(disc), resolution=CELLS).mesh)
    off = (rim[:, :2].norm(dim=1) - RADIUS).abs()
    assert off.mean() < 0.05 * 2 / CELLS


def test_a_closed_surface_comes_out_closed_and_turned_outward():
    report = report_mesh(extract(ClosestPoints(sphere), resolution=CELLS).mesh)
    assert report.watertight
    assert report.volume == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.01)


def test_two_sheets_two_cells_apart_stay_two():
    gap = 2 * 2 / CELLS

    def sheets(points):
        found = patch(points)
        found[:, 2] = torch.where(points[:, 2] > 0, gap / 2, -gap / 2)
        return found

    report = report_mesh(extract(ClosestPoints(sheets), resolution=CELLS).mesh)
    assert (report.components, report.boundaries) == (2, 2)
    assert report.area == pytest.approx(2 * AREAS[patch], rel=0.02)


def test_a_little_noise_tears_no_holes():
    def noisy(points):
        return half_sphere(points) + 0.05 * 2 / CELLS * torch.randn(points.shape, generator=generator)

    generator = torch.Generator().manual_seed(0)
    mesh = extract(ClosestPoints(noisy), resolution=CELLS).mesh
    report = report_mesh(keep_large_components(mesh))
    assert (report.components, report.boundaries) == (1, 1)
    assert report.area == pytest.approx(AREAS[half_sphere], rel=0.03)


def test_the_shell_about_an_open_surface_is_closed():
    shell = extract(ClosestPoints(disc), quantity="distance", isovalue=0.1, resolution=CELLS).mesh
    assert report_mesh(shell).watertight


def test_nowhere_near_and_not_finite_are_refused():
    with pytest.raises(DataError, match="on no surface that crosses the grid"):
        extract(ClosestPoints(disc), bounds=Bounds((0.7, 0.7, 0.7), (1.0, 1.0, 1.0)), resolution=8)
    with pytest.raises(DataError, match="is not finite"):
        extract(ClosestPoints(lambda points: points / 0), resolution=8)
