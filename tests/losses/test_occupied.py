from dataclasses import replace

import torch

from onefield.fields.analytic import SphereField
from onefield.losses.depth import depth_term
from onefield.losses.occupied import by_occupancy
from onefield.losses.photometric import photometric_term
from onefield.losses.term import Evidence
from onefield.types import Rendering


def test_a_summand_looks_at_what_the_occupancy_shows():
    shown = Rendering(torch.full((2, 3), 0.25), torch.tensor([2.0, 3.0]), torch.ones(2))
    rendering = replace(shown, color=shown.color + 0.5, depth=shown.depth + 5, occupied=shown)
    target = torch.full((2, 3), 0.5)
    given = Evidence(rendering.color, target, SphereField(), rendering, target_depth=torch.tensor([2.5, 2.5]))
    term = by_occupancy(photometric_term("l1", 0.7))
    assert (term.name, term.weight) == ("occupied_l1", 0.7)
    assert term.evaluate(given) == 0.25
    assert by_occupancy(depth_term()).evaluate(given) == 0.5
    halved = replace(given, as_photographed=lambda colors, opacity: colors / 2)
    assert term.evaluate(halved) == 0.375
    assert term.evaluate(replace(given, rendering=shown)) == 0
