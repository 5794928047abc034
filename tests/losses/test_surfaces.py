"""Regularisers of surfaces: numbers worked out by hand, when they count, and that others cost nothing."""

import math

import pytest
import torch

from onefield.fields.analytic import SphereField
from onefield.fields.flexicubes import FlexiCubesField, corner_points
from onefield.losses.meshes import bending, developability, sign_changes
from onefield.losses.surfaces import (
    bending_term,
    developability_term,
    deviation_term,
    sign_changes_term,
    weight_change_term,
)
from onefield.losses.term import Evidence
from onefield.types import Bounds, Rendering

BOX = Bounds.cube(1.0)


def evidence(field, progress=1.0):
    surface = field.surface("center") if isinstance(field, FlexiCubesField) else None
    rendering = Rendering(torch.zeros(4, 3), None, torch.zeros(4), surface=surface)
    return Evidence(torch.zeros(4, 3), torch.zeros(4, 3), field, rendering, progress=progress)


def ball():
    return FlexiCubesField(BOX, corner_points(BOX, (6, 6, 6)).norm(dim=-1) - 0.6)


def test_a_flat_surface_does_not_bend_and_a_hinge_does_by_its_angle():
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=torch.float64)
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    assert bending(vertices, faces).item() == pytest.approx(0, abs=1e-12)
    # folded to a right angle along the diagonal: at its two ends, each face is turned by 45 degrees
    folded = vertices.clone()
    folded[3] = torch.tensor([0.5, 0.5, math.sqrt(0.5)])
    assert bending(folded, faces).item() == pytest.approx(4 * (1 - math.sqrt(0.5)) / 6)
    assert torch.autograd.gradcheck(lambda v: bending(v, faces), (folded.requires_grad_(),))


def test_terms_are_their_functions_of_the_surface_that_was_drawn():
    field = ball()
    surface = field.surface("center")
    given = evidence(field)
    assert deviation_term().evaluate(given) == surface.deviations.mean()
    assert bending_term().evaluate(given) == bending(surface.vertices, surface.faces)
    assert developability_term().evaluate(given) == developability(surface.vertices, surface.faces).mean()
    assert weight_change_term().evaluate(given) == 0
    with torch.no_grad():
        field.corner_weights.fill_(-0.3)
        field.edge_weights.fill_(0.3)
    assert weight_change_term().evaluate(given).item() == pytest.approx(0.3)


def test_signs_cost_less_once_the_shape_is_there_and_paper_comes_last():
    field = ball()
    whole = sign_changes(*field.neighbouring_values())
    found = [sign_changes_term().evaluate(evidence(field, progress)) / whole for progress in (0.0, 0.125, 0.25, 1.0)]
    assert [share.item() for share in found] == pytest.approx([1, 0.525, 0.05, 0.05])
    assert developability_term().evaluate(evidence(field, 0.79)) == 0
    assert developability_term().evaluate(evidence(field, 0.8)) > 0


def test_fields_without_a_surface_cost_nothing():
    terms = (deviation_term(), bending_term(), developability_term(), sign_changes_term(), weight_change_term())
    vanished = FlexiCubesField(BOX, torch.ones(4, 4, 4))
    for given in (evidence(SphereField()), evidence(vanished)):
        assert [term.evaluate(given).item() for term in terms] == [0] * 5
