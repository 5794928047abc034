"""Solids known in closed form, cut into slices and put together again."""

import math

import numpy as np
import pytest
import torch

from onefield.data.contours import Slice
from onefield.data.csl import plane_axes
from onefield.data.slices import Slices
from onefield.errors import UsageError
from onefield.fields.analytic import SphereField, TorusField
from onefield.meshing.level_sets import extract_mesh
from onefield.meshing.report import report_mesh
from onefield.training.fit import fit
from onefield.training.fitted import load_fitted
from onefield.training.metrics import intersection_over_union
from onefield.training.slices import contour_errors, plane_agreement
from onefield.types import Bounds

TURNS = np.linspace(0, 2 * math.pi, 120, endpoint=False)
CIRCLE = np.stack([np.cos(TURNS), np.sin(TURNS)], axis=1)


def ball(normals=((0, 0, 1),) * 7, offsets=(-0.9, -0.6, -0.3, 0.0, 0.3, 0.6, 0.9)):
    cuts = []
    for number, (normal, offset) in enumerate(zip(normals, offsets, strict=True)):
        unit = np.array(normal) / np.linalg.norm(normal)
        radius = math.sqrt(1 - offset**2)
        cuts.append(Slice(f"plane {number}", offset * unit, plane_axes(unit), (radius * CIRCLE,)))
    return Slices.of(cuts)


def torus(major=1.0, minor=0.4):
    """Cut across its axis, in rings."""
    cuts = []
    for number, height in enumerate(np.linspace(-0.35, 0.35, 6)):
        reach = math.sqrt(minor**2 - height**2)
        rings = ((major + reach) * CIRCLE, (major - reach) * CIRCLE)
        cuts.append(Slice(f"plane {number}", np.array([0.0, 0.0, height]), np.eye(3)[:2], rings))
    return Slices.of(cuts)


def agreement(fitted, truth, bounds):
    points = Bounds.from_unit(bounds, torch.rand(20_000, 3, generator=torch.Generator().manual_seed(1)))
    inside = fitted(points) < 0 if "distance" in fitted.field.provides else fitted(points) > 0.5
    return intersection_over_union(inside, truth.query(points, want=("distance",)).distance < 0)


def test_a_ball_comes_back_from_parallel_planes():
    slices = ball()
    fitted = fit(slices, steps=150)
    assert agreement(fitted, SphereField(1.0), slices.bounds) > 0.95
    mesh = fitted.reconstruction(48)
    report = report_mesh(mesh)
    assert (report.watertight, report.manifold, report.components, report.genus) == (True, True, 1, 0)
    assert report.volume == pytest.approx(4 / 3 * math.pi, rel=0.03)
    mean, worst = contour_errors(slices, mesh)
    assert mean < 3e-3
    assert worst < 2e-2
    assert fitted.metrics["plane_iou"] > 0.97


def test_a_ball_comes_back_from_planes_of_any_pose():
    normals = np.random.default_rng(3).normal(size=(6, 3)).tolist()
    slices = ball(normals, (0.0, 0.3, -0.4, 0.5, -0.1, 0.2))
    # wide wedges have no plane
    assert agreement(fit(slices, steps=240), SphereField(1.0), slices.bounds) > 0.88


def test_a_torus_keeps_its_hole():
    slices = torus()
    fitted = fit(slices, steps=150)
    report = report_mesh(fitted.reconstruction(48))
    assert (report.watertight, report.components, report.genus) == (True, 1, 1)
    assert report.volume == pytest.approx(2 * math.pi**2 * 0.4**2, rel=0.04)
    assert agreement(fitted, TorusField(1.0, 0.4), slices.bounds) > 0.93


def test_the_network_of_orex_learns_a_ball():
    slices = ball()
    said = []
    fitted = fit(slices, "orex", steps=60, observe=said.append)
    assert agreement(fitted, SphereField(1.0), slices.bounds) > 0.75
    assert report_mesh(fitted.reconstruction(32)).watertight
    assert said[0].strip().startswith("0%")


def test_a_saved_fit_answers_alike(tmp_path):
    for name in ("grid", "orex"):
        fitted = fit(ball(), name, steps=3)
        fitted.save(tmp_path / name)
        points = torch.rand(10, 3) - 0.5
        assert torch.equal(load_fitted(tmp_path / name)(points), fitted(points))


def test_equal_seeds_give_equal_fields():
    first, second = (fit(torus(), steps=6, seed=4) for _ in range(2))
    points = torch.rand(10, 3) - 0.5
    assert torch.equal(first(points), second(points))


def test_agreement_on_planes_is_that_of_areas():
    slices = ball(((0, 0, 1), (0, 0, 1)), (0.0, 0.5))
    half = plane_agreement(lambda points: points.norm(dim=1) < 0.8, slices, torch.Generator().manual_seed(0))
    expected = (0.8**2 + 0.8**2 - 0.5**2) / (1 + 0.75)
    assert half == pytest.approx(expected, abs=0.02)


def test_contour_errors_are_those_of_a_larger_ball():
    mesh = extract_mesh(SphereField(1.1), resolution=64, bounds=Bounds.cube(1.2))
    slices = ball()
    mean, worst = contour_errors(slices, mesh)
    assert mean == pytest.approx(0.1 / slices.bounds.diagonal, rel=0.03)
    assert worst == pytest.approx(0.1 / slices.bounds.diagonal, rel=0.05)


def test_what_cannot_be_fitted_is_named():
    with pytest.raises(UsageError, match="can't be fitted by 'hash': valid are auto, grid, orex"):
        fit(ball(), "hash")
    with pytest.raises(UsageError, match="fields of Onefield's own, got a SphereField"):
        fit(ball(), SphereField(1.0))
