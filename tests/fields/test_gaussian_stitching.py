"""Stitching against a plane of known colours that was cut in two, one half of which got a colour cast."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from onefield.errors import DataError
from onefield.fields.gaussian_stitching import boundary_between, harmonized
from onefield.types import Gaussians


def plane(count: int = 4000, degree: int = 1) -> Gaussians:
    """Gaussians over the unit square with a smooth pattern, a fine one, and noise as a texture has."""
    generator = torch.Generator().manual_seed(3)
    means = torch.rand(count, 3, generator=generator) * torch.tensor([1.0, 1.0, 0.01])
    x, y = means[:, 0], means[:, 1]
    pattern = torch.stack([torch.sin(5 * x), torch.cos(4 * y), torch.sin(3 * (x + y))], dim=1)
    stripes = 0.4 * torch.sign(torch.sin(40 * y))[:, None]
    constant = pattern + stripes + 0.05 * torch.randn(count, 3, generator=generator)
    higher = tuple(0.1 * torch.randn(count, 2 * band + 1, 3, generator=generator) for band in range(1, degree + 1))
    quaternions = torch.tensor([1.0, 0, 0, 0]).expand(count, 4).clone()
    scales = torch.full((count, 3), math.log(0.01))
    return Gaussians(means, scales, quaternions, torch.full((count,), 2.0), (constant[:, None], *higher))


def halves() -> tuple[Gaussians, Gaussians]:
    whole = plane()
    left = whole.means[:, 0] < 0.5
    return whole[left], whole[~left]


def cast(gaussians: Gaussians, gain: tuple[float, ...], shift: tuple[float, ...]) -> Gaussians:
    first = gaussians.harmonics[0] * torch.tensor(gain) + torch.tensor(shift)
    return replace(gaussians, harmonics=(first, *(band * torch.tensor(gain) for band in gaussians.harmonics[1:])))


def jump(target: Gaussians, source: Gaussians) -> float:
    """Mean difference of colours between each Gaussian at the seam and its nearest across it."""
    boundary = boundary_between(target, source)
    here = target.harmonics[0][torch.from_numpy(boundary.members), 0].double().numpy()
    return float(np.abs((here - boundary.colors).mean(0)).mean())


def test_the_boundary_is_where_the_halves_meet():
    source, target = halves()
    boundary = boundary_between(target, source)
    from_seam = target.means[:, 0] - 0.5
    assert bool(torch.from_numpy(boundary.members)[from_seam < 0.005].all())
    assert float(from_seam[torch.from_numpy(boundary.members)].max()) < 0.06


@pytest.mark.parametrize(("gain", "shift"), [((1.0, 1.0, 1.0), (0.8, -0.5, 0.3)), ((0.7, 1.0, 1.3), (0.3, -0.2, 0.1))])
def test_a_colour_cast_goes_and_the_texture_stays(gain, shift):
    source, truth = halves()
    target = cast(truth, gain, shift)
    after = harmonized(target, boundary_between(target, source))
    assert jump(after, source) < 0.3 * jump(target, source)
    before_error = (target.harmonics[0] - truth.harmonics[0]).square().mean().sqrt()
    error = (after.harmonics[0] - truth.harmonics[0]).square().mean().sqrt()
    assert float(error) < 0.5 * float(before_error)
    # differences between neighbours inside are those of the target
    inside = target.means[:, 0] > 0.7
    places = target.means[inside].numpy()
    nearest = torch.from_numpy(cKDTree(places).query(places, k=2)[1][:, 1])
    kept, was = (one.harmonics[0][inside, 0] for one in (after, target))
    change = ((kept - kept[nearest]) - (was - was[nearest])).square().mean().sqrt()
    assert float(change) < (0.1 if gain == (1.0, 1.0, 1.0) else 0.35) * float(
        (was - was[nearest]).square().mean().sqrt()
    )


def test_contrast_stays_where_colours_across_the_seam_have_nothing_in_common():
    """Each Gaussian of a trained set has a colour of its own, whatever its neighbours have."""
    whole = plane()
    noise = torch.randn(whole.harmonics[0].shape, generator=torch.Generator().manual_seed(7))
    whole = replace(whole, harmonics=(noise, *whole.harmonics[1:]))
    left = whole.means[:, 0] < 0.5
    source, truth = whole[left], whole[~left]
    target = cast(truth, (1.0, 1.0, 1.0), (0.8, -0.5, 0.3))
    boundary = boundary_between(target, source)
    after = harmonized(target, boundary)
    changes = (after.harmonics[0] - target.harmonics[0])[:, 0]
    # the cast, and what happens to lie at the seam
    wanted = torch.from_numpy((boundary.colors - boundary.own).mean(0)).float()
    torch.testing.assert_close(changes.mean(0), wanted, atol=0.1, rtol=0)
    inside = target.means[:, 0] > 0.7
    assert float(changes[inside].std(0).max()) < 0.1
    for band, was in zip(after.harmonics[1:], target.harmonics[1:], strict=True):
        assert float((band - was).abs().max()) < 0.1 * float(was.abs().max())


def test_only_the_targets_colours_change():
    source, truth = halves()
    target = cast(truth, (1.0, 1.0, 1.0), (0.5, 0.5, -0.5))
    copies = [tensor.clone() for tensor in (source.means, *source.harmonics)]
    after = harmonized(target, boundary_between(target, source))
    for one, other in zip((source.means, *source.harmonics), copies, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(after.means, target.means)
    assert torch.equal(after.opacities, target.opacities)
    again = harmonized(target, boundary_between(target, source))
    assert torch.equal(after.harmonics[0], again.harmonics[0])


def test_what_goes_together_already_stays_nearly_as_it_is():
    source, truth = halves()
    after = harmonized(truth, boundary_between(truth, source))
    spread = float(truth.harmonics[0].std())
    assert float((after.harmonics[0] - truth.harmonics[0]).square().mean().sqrt()) < 0.15 * spread


def test_sets_that_lie_apart_are_refused():
    source, target = halves()
    with pytest.raises(DataError, match="don't touch"):
        boundary_between(replace(target, means=target.means + 5), source)
