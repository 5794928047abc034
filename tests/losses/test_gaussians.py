"""Regularisers of sets of Gaussians."""

import pytest
import torch

from onefield.fields.analytic import SphereField
from onefield.fields.gaussians import GaussianField
from onefield.losses.gaussians import opacity_mean_term, scale_mean_term
from onefield.losses.term import Evidence
from onefield.types import Bounds


def test_they_are_means_over_all_gaussians_and_nothing_for_other_fields():
    field = GaussianField.at_random(Bounds.cube(1.0), 8)
    with torch.no_grad():
        field.opacities[:] = torch.logit(torch.linspace(0.1, 0.8, 8))
        field.log_scales[:] = torch.tensor([0.1, 0.2, 0.6]).log()
    colors = torch.zeros(2, 3)
    evidence = Evidence(prediction=colors, target=colors, field=field)
    assert opacity_mean_term().evaluate(evidence).item() == pytest.approx(0.45)
    assert scale_mean_term().evaluate(evidence).item() == pytest.approx(0.3)
    other = Evidence(prediction=colors, target=colors, field=SphereField())
    assert opacity_mean_term().evaluate(other).item() == scale_mean_term().evaluate(other).item() == 0
