import math
from dataclasses import replace

import pytest
import torch

from onefield.fields.composed import ComposedField
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.losses.opacity import (
    carve_error,
    mask_error,
    mask_term,
    opacity_entropy,
    opacity_entropy_term,
    silhouette_term,
)
from onefield.losses.term import Evidence
from onefield.types import Bounds, Rendering


def test_entropy_is_log_two_at_a_half_and_zero_at_the_ends():
    assert opacity_entropy(torch.tensor([0.5])).item() == pytest.approx(math.log(2))
    assert opacity_entropy(torch.tensor([0.0, 1.0])).item() < 2e-5
    ends = torch.tensor([0.0, 1.0], requires_grad=True)
    opacity_entropy(ends).backward()
    assert torch.isfinite(ends.grad).all()


def test_mask_error_is_the_cross_entropy():
    error = mask_error(torch.tensor([0.8, 0.3]), torch.tensor([1.0, 0.0]))
    assert error.item() == pytest.approx(-(math.log(0.8) + math.log(0.7)) / 2)


def test_terms_are_zero_without_their_evidence():
    field = ComposedField(Bounds.cube(), IdentityEncoding(3), None, [])
    color = torch.zeros(2, 3)
    bare = Evidence(color, color, field)
    rendering = Rendering(color, torch.zeros(2), torch.tensor([0.5, 0.5]))
    assert opacity_entropy_term().evaluate(bare) == 0
    assert mask_term().evaluate(Evidence(color, color, field, rendering=rendering)) == 0
    assert silhouette_term().evaluate(Evidence(color, color, field, rendering=rendering)) == 0
    full = Evidence(color, color, field, rendering=rendering, target_opacity=torch.tensor([1.0, 0.0]))
    assert mask_term().evaluate(full).item() == pytest.approx(math.log(2))
    assert silhouette_term().evaluate(replace(full, target_opacity=torch.tensor([0.8, 0.4]))).item() == pytest.approx(
        0.2
    )
    assert opacity_entropy_term().evaluate(full).item() == pytest.approx(math.log(2))


def test_carving_looks_at_empty_rays_alone():
    opacity = torch.tensor([0.5, 0.5, 0.9, 0.0], requires_grad=True)
    loss = carve_error(opacity, torch.tensor([0.0, 1.0, 0.3, 0.0]))
    assert loss.item() == pytest.approx(math.log(2) / 4)
    loss.backward()
    torch.testing.assert_close(opacity.grad, torch.tensor([0.5, 0.0, 0.0, 0.25]))
