"""Dissimilarity of whole pictures."""

import pytest
import torch

from onefield.cameras import Cameras
from onefield.errors import UsageError
from onefield.fields.analytic import SphereField
from onefield.losses.similarity import dissimilarity_term
from onefield.losses.term import Evidence


def test_it_compares_pictures_row_by_row_and_refuses_single_rays():
    picture = Cameras.pinhole(torch.eye(4)[None, :3], 10.0, [4.0, 3.0], 8, 6).image_rays(0)
    target = torch.rand(48, 3)
    evidence = Evidence(prediction=target.clone(), target=target, field=SphereField(), rays=picture)
    term = dissimilarity_term(0.2)
    assert (term.name, term.weight) == ("dssim", 0.2)
    assert term.evaluate(evidence).item() == pytest.approx(0.0, abs=1e-5)
    shuffled = Evidence(prediction=target.flip(0), target=target, field=SphereField(), rays=picture)
    assert term.evaluate(shuffled).item() > 0.1
    with pytest.raises(UsageError, match="whole pictures"):
        term.evaluate(Evidence(prediction=target, target=target, field=SphereField(), rays=picture[:]))
