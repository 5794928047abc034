"""Extraction: closed surfaces in the right place, from few evaluations, and sentences where there is no surface."""

import logging
import math

import pytest
import torch

from onefield.errors import DataError, ResourceError, UsageError
from onefield.fields.analytic import BoxField, Material, SphereField, TorusField
from onefield.kernels.marching_cubes import marching_cubes
from onefield.meshing.lattice import Lattice, sample_level
from onefield.meshing.level_sets import (
    LEVEL_SET_EXTRACTORS,
    default_isovalue,
    extract,
    extract_mesh,
    suggest_isovalue,
)
from onefield.meshing.report import report_mesh
from onefield.types import Bounds, Mesh
from tests.meshing.surfaces import FunctionField

SOFT = Material(softness=0.02)


@pytest.mark.parametrize("quantity", ["distance", "occupancy", "density"])
def test_sphere_from_every_quantity(quantity):
    field = SphereField(0.6, (0.1, -0.05, 0.02), material=SOFT)
    isovalue = 25.0 if quantity == "density" else None
    mesh = extract_mesh(field, resolution=72, quantity=quantity, isovalue=isovalue)
    report = report_mesh(mesh)
    assert report.watertight
    assert report.manifold
    assert (report.components, report.genus) == (1, 0)
    assert report.volume == pytest.approx(field.volume(), rel=0.002)
    assert report.area == pytest.approx(field.area(), rel=0.002)
    assert float(field.query(mesh.vertices, want=("distance",)).distance.abs().max()) < 1e-3


@pytest.mark.parametrize("extractor", LEVEL_SET_EXTRACTORS)
def test_torus_has_a_hole(extractor):
    field = TorusField(0.55, 0.2)
    report = report_mesh(extract_mesh(field, resolution=70, extractor=extractor))
    assert report.watertight
    assert report.manifold
    assert report.genus == 1
    assert report.volume == pytest.approx(field.volume(), rel=0.01)


def test_dual_vertices_lie_in_world_units_and_close_at_the_bounds():
    field = SphereField(0.6, (0.1, -0.05, 0.02))
    mesh = extract_mesh(field, resolution=40, extractor="dual-marching-cubes")
    assert float(field.query(mesh.vertices, want=("distance",)).distance.abs().max()) < 0.1 * 2 / 40
    report = report_mesh(extract_mesh(BoxField((2.0, 0.3, 0.4)), resolution=40, extractor="dual-marching-cubes"))
    assert report.watertight
    assert report.maximum[0] == pytest.approx(1.0, abs=1e-3)
    assert report.volume == pytest.approx(2 * 0.6 * 0.8, rel=0.02)


def test_dual_contouring_is_sharp_in_world_units_and_at_the_bounds():
    box = BoxField((0.43, 0.3, 0.37), (0.02, 0.01, -0.03))
    report = report_mesh(extract_mesh(box, resolution=20, extractor="dual-contouring"))
    assert report.volume == pytest.approx(box.volume(), rel=1e-3)
    assert report.maximum == pytest.approx((0.45, 0.31, 0.34), abs=2e-3)
    clipped = report_mesh(extract_mesh(BoxField((2.0, 0.3, 0.4)), resolution=20, extractor="dual-contouring"))
    assert clipped.watertight
    assert clipped.volume == pytest.approx(2 * 0.6 * 0.8, rel=5e-3)


@pytest.mark.parametrize("quantity", ["distance", "occupancy"])
def test_only_the_neighbourhood_of_the_surface_is_asked(quantity):
    field = SphereField(0.5, material=SOFT)
    extraction = extract(field, resolution=96, quantity=quantity)
    assert extraction.evaluations < 0.45 * 97**3
    assert report_mesh(extraction.mesh).watertight


def test_skipping_changes_nothing():
    """Noise-like surface with many pieces: the same triangles as from the whole grid."""
    waves = torch.tensor([9.0, 11.0, 8.0])

    def level(points):
        return 0.3 * torch.sin(points * waves).sum(dim=-1) + points.norm(dim=-1) - 0.7

    lattice = Lattice.over(Bounds((-1.0, -1.2, -0.9), (1.0, 1.1, 1.0)), 83)
    sampled = sample_level(level, lattice, is_distance=False, chunk=10_000)
    counts = [torch.arange(count) for count in lattice.corners]
    whole = level(lattice.points(torch.cartesian_prod(*counts))).reshape(lattice.corners)
    known = sampled.volume[1:-1, 1:-1, 1:-1]
    assert torch.equal(known < 0, whole < 0)
    assert sampled.evaluations < whole.numel()
    vertices, faces = marching_cubes(sampled.volume)
    expected_vertices, expected_faces = marching_cubes(torch.nn.functional.pad(whole, (1,) * 6, value=1e30))
    assert torch.equal(faces, expected_faces)
    assert torch.allclose(vertices, expected_vertices, atol=1e-5)


def test_a_thread_is_followed_where_the_coarse_pass_sees_only_its_end():
    """A ball that the coarse samples see, with a thread thinner than their spacing: followed to its far end."""

    def occupancy(points):
        thread = (points[:, 1:] - 0.055).norm(dim=-1) < 0.03
        ball = (points - torch.tensor([-0.7, 0.0, 0.0])).norm(dim=-1) < 0.2
        return (ball | (thread & (points[:, 0].abs() < 0.8))).float()

    mesh = extract_mesh(FunctionField("occupancy", occupancy), resolution=72)
    report = report_mesh(mesh)
    assert report.watertight
    assert report.maximum[0] == pytest.approx(0.8, abs=0.02)


def test_wrong_distances_do_not_cut_the_surface():
    """A distance four times too large makes the coarse pass skip blocks that hold the surface."""
    field = FunctionField("distance", lambda points: 4 * (points.norm(dim=-1) - 0.6))
    mesh = extract_mesh(field, resolution=72)
    assert report_mesh(mesh).watertight
    assert float((mesh.vertices.norm(dim=1) - 0.6).abs().max()) < 1e-3


def test_surface_beyond_the_bounds_is_closed_at_them(caplog):
    with caplog.at_level(logging.WARNING, logger="onefield.meshing"):
        extraction = extract(BoxField((2.0, 0.3, 0.4)), resolution=70)
    report = report_mesh(extraction.mesh)
    assert extraction.clipped
    assert "closed there" in caplog.text
    assert report.watertight
    assert report.maximum[0] == pytest.approx(1.0, abs=1e-4)
    assert report.volume == pytest.approx(2 * 0.6 * 0.8, rel=0.01)


def test_bounds_choose_a_part_and_the_grid_follows_their_shape():
    extraction = extract(SphereField(0.5), resolution=40, bounds=Bounds((-0.6, -0.6, 0.0), (0.6, 0.6, 0.6)))
    assert extraction.cells == (40, 40, 20)
    report = report_mesh(extraction.mesh)
    assert report.watertight
    assert report.volume == pytest.approx(2 / 3 * math.pi * 0.125, rel=0.01)


def test_isovalue_offsets_the_surface():
    mesh = extract_mesh(SphereField(0.5), resolution=48, isovalue=0.1)
    assert float((mesh.vertices.norm(dim=1) - 0.6).abs().max()) < 2e-3


def test_density_defaults_to_half_light_within_a_64th():
    assert default_isovalue("density", Bounds.cube(1.0)) == pytest.approx(math.log(2) * 32)
    assert default_isovalue("density", Bounds.cube(2.0)) == pytest.approx(math.log(2) * 16)
    field = SphereField(0.5, material=Material(density=50.0, softness=0.01))
    extraction = extract(field, quantity="density", resolution=40)
    # sigmoid(-d / softness) * 50 = isovalue
    offset = -0.01 * math.log(extraction.isovalue / (50 - extraction.isovalue))
    assert float(extraction.mesh.vertices.norm(dim=1).mean()) == pytest.approx(0.5 + offset, abs=2e-3)


def test_suggested_isovalue_divides_haze_from_solid():
    def density(points):
        return torch.where(points.norm(dim=-1) < 0.5, 40.0, 1.5)

    suggestion = suggest_isovalue(FunctionField("density", density))
    assert 1.5 < suggestion < 40
    assert suggest_isovalue(SphereField(0.5)) == 0.0
    with pytest.raises(DataError, match="density 3 everywhere"):
        suggest_isovalue(FunctionField("density", lambda points: torch.full(points.shape[:1], 3.0)))


def test_chunk_limits_each_query():
    field = FunctionField("distance", lambda points: points.norm(dim=-1) - 0.5)
    chunked = extract_mesh(field, resolution=24, chunk=1000)
    assert field.largest_batch == 1000
    assert torch.equal(chunked.faces, extract_mesh(field, resolution=24).faces)


def test_no_surface_says_the_range_and_the_cure():
    with pytest.raises(DataError, match=r"no surface at distance = -2 .* between -0\.5 and .*isovalue"):
        extract_mesh(SphereField(0.5), resolution=16, isovalue=-2.0)
    hazy = FunctionField("density", lambda points: torch.full(points.shape[:1], 0.25))
    with pytest.raises(DataError, match=r"density lies between 0\.25 and 0\.25"):
        extract_mesh(hazy, resolution=16)


def test_nan_names_its_point():
    def broken(points):
        return torch.where(points[:, 0] > 0.9, torch.nan, points.norm(dim=-1) - 0.5)

    with pytest.raises(DataError, match=r"NaN at \(1, -1, -1\)"):
        extract_mesh(FunctionField("distance", broken), resolution=8)


def test_fields_and_arguments_that_do_not_fit():
    with pytest.raises(UsageError, match=r"provides color; a mesh needs one of .*distance"):
        extract_mesh(FunctionField("color", lambda points: points))
    with pytest.raises(UsageError, match="'occupancy' but provides distance"):
        extract_mesh(FunctionField("distance", lambda points: points[:, 0]), quantity="occupancy")
    with pytest.raises(UsageError, match="2-D"):
        extract_mesh(FunctionField("distance", lambda points: points[:, 0], Bounds.cube(1.0, 2)))
    with pytest.raises(UsageError, match="did you mean 'dual-marching-cubes'"):
        extract_mesh(SphereField(), extractor="dual_marching_cubes")
    with pytest.raises(UsageError, match="at least 1 cell"):
        extract_mesh(SphereField(), resolution=0)
    with pytest.raises(UsageError, match="finite isovalue, got 256 and nan"):
        extract_mesh(SphereField(), isovalue=float("nan"))
    with pytest.raises(ResourceError, match=r"resolution of \d+ or less"):
        extract_mesh(SphereField(), resolution=3000)


def test_mesh_is_the_same_every_time():
    first, second = (extract_mesh(SphereField(0.5), resolution=30) for _ in range(2))
    assert torch.equal(first.vertices, second.vertices)
    assert torch.equal(first.faces, second.faces)
    assert isinstance(first, Mesh)
