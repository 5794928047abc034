"""Strategies on the number of Gaussians: what must not change, what must, and when."""

from __future__ import annotations

import math

import pytest
import torch

from onefield.fields.gaussians import GaussianField
from onefield.training.densification import (
    Adaptive,
    DegreeSchedule,
    Densification,
    Mcmc,
    Rhythm,
    shared_among,
)
from onefield.training.gaussian_editing import gaussian_part, regroup, resize
from onefield.training.optimizer import Adam, GroupRate
from onefield.types import Bounds, Rendering, Splats

GENERATOR_SEED = 3


def field(count=40, degree=1) -> GaussianField:
    return GaussianField.at_random(Bounds.cube(1.0), count, degree, torch.Generator().manual_seed(count))


def optimizer(of: GaussianField) -> Adam:
    names = {"field." + name: parameter for name, parameter in of.named_parameters()}
    groups = {id(p): group for group, members in of.parameter_groups().items() for p in members}
    rates = {group: GroupRate(1e-3, final=1.0) for group in of.parameter_groups()}
    adam = Adam(names, {name: groups[id(p)] for name, p in names.items()}, rates)
    for parameter in names.values():
        parameter.grad = torch.rand_like(parameter)
    adam.step(1.0)
    return adam


def rendering(of: GaussianField, pulls=None) -> Rendering:
    pixels = torch.zeros(len(of), 2, requires_grad=True)
    pixels.grad = torch.zeros(len(of), 2) if pulls is None else pulls
    tally = torch.zeros(len(of), 2, requires_grad=True)
    tally.grad = 3 * pixels.grad.abs()
    splats = Splats(pixels, tally, torch.ones(len(of), 2), (20, 10), of.means)
    return Rendering(torch.zeros(1, 3), None, torch.zeros(1), splats=splats)


def generator():
    return torch.Generator().manual_seed(GENERATOR_SEED)


def test_regrouping_takes_parameters_and_moments_along():
    some = field()
    adam = optimizer(some)
    before = {name: p.detach().clone() for name, p in some.named_parameters()}
    moments = adam.state_tensors()
    rows, fresh = torch.tensor([5, 5, 0]), torch.tensor([False, True, False])
    regroup(some, adam, rows, fresh, {"opacities": torch.tensor([1.0, 2.0, 3.0])})
    assert len(some) == 3
    for name, parameter in some.named_parameters():
        assert adam.parameters["field." + name] is parameter
        if name != "opacities":
            assert torch.equal(parameter, before[name][rows])
    assert some.opacities.tolist() == [1.0, 2.0, 3.0]
    first = adam.state_tensors()["first.field.means"]
    assert torch.equal(first[0], moments["first.field.means"][5])
    assert not first[1].any()
    assert torch.equal(first[2], moments["first.field.means"][0])
    for parameter in adam.parameters.values():
        parameter.grad = torch.ones_like(parameter)
    adam.step(1.0)


def test_a_checkpoint_of_another_count_fits_after_resizing():
    some, saved = field(), field(7)
    adam = optimizer(some)
    resize(some, adam, {"field." + name: tensor for name, tensor in saved.state_dict().items()})
    some.load_state_dict(saved.state_dict())
    assert len(gaussian_part(some)[1]) == 7
    adam.load_tensors(optimizer(saved).state_tensors())


def test_a_rhythm_acts_evenly_between_its_ends():
    rhythm = Rhythm(0.2, 0.6, 5)
    due = [rhythm.due(share) for share in (0.0, 0.19, 0.2, 0.31, 0.45, 0.599, 0.6, 1.0)]
    assert due == [0, 0, 1, 2, 3, 4, 5, 5]
    assert Rhythm(0.0, 1.0, 0).due(0.5) == 0


def test_degrees_rise_by_thirtieths_of_the_run():
    some = field(5, degree=3)
    schedule, degrees = DegreeSchedule(), []
    for progress in (0.0, 0.03, 0.034, 0.07, 0.5):
        schedule.before_step(some, optimizer(some), progress)
        degrees.append(some.degree)
    assert degrees == [0, 0, 1, 2, 3]


@pytest.mark.parametrize("copies", [1, 2, 3, 10, 51])
def test_copies_in_one_place_look_like_the_one_they_come_from(copies):
    """In the middle their opacities compose to the one's, and the light lost across them has the same integral."""
    opacity, deviation = 0.8, 0.3
    count = torch.tensor([copies])
    share, scales = shared_among(torch.tensor([opacity]), torch.full((1, 3), math.log(deviation)), count)
    assert 1 - (1 - float(share)) ** copies == pytest.approx(opacity, abs=1e-5)
    across = torch.linspace(-4, 4, 20001, dtype=torch.float64)
    one = opacity * torch.exp(-(across**2) / (2 * deviation**2))
    alpha = float(share) * torch.exp(-(across**2) / (2 * math.exp(2 * float(scales[0, 0]))))
    together = 1 - (1 - alpha) ** copies
    assert float(torch.trapezoid(together, across)) == pytest.approx(float(torch.trapezoid(one, across)), rel=1e-4)


def test_the_dead_move_to_the_living_and_the_count_grows_to_its_bound():
    some = field(40)
    with torch.no_grad():
        some.opacities[:10] = -8.0
        some.opacities[10:] = 1.0
    adam, chain = optimizer(some), Mcmc(Rhythm(0.1, 0.9, 5), 50, growth=1.2, least_opacity=0.005, noise=0.0)
    places = some.means.detach().clone()
    chain.after_step(some, adam, rendering(some), 0.05, generator())
    assert torch.equal(some.means, places)
    chain.after_step(some, adam, rendering(some), 0.1, generator())
    assert len(some) == 48
    assert float(torch.sigmoid(some.opacities).min()) > 0.005
    alive = {tuple(place) for place in places[10:].tolist()}
    assert all(tuple(place) in alive for place in some.means.tolist())
    chain.after_step(some, adam, rendering(some), 0.1, generator())
    assert len(some) == 48
    for progress in (0.5, 0.95):
        chain.after_step(some, adam, rendering(some), progress, generator())
    assert len(some) == 50


def test_noise_moves_the_faint_along_their_own_shape():
    some = field(200)
    with torch.no_grad():
        some.log_scales[:] = torch.tensor([0.2, 1e-3, 1e-3]).log()
        some.opacities[:100] = -12.0
        some.opacities[100:] = 3.0
    adam = optimizer(some)
    before = some.means.detach().clone()
    chain = Mcmc(Rhythm(0.0, 0.0, 0), 200, growth=1.0, least_opacity=0.005, noise=1e3)
    chain.after_step(some, adam, rendering(some), 0.5, generator())
    moved = (some.means.detach() - before).abs()
    # the step of the optimiser has turned them by about a thousandth
    assert float(moved[:100, 0].mean()) > 300 * float(moved[:100, 1].mean())
    assert float(moved[:100, 0].mean()) > 1e4 * float(moved[100:].max())


def adaptive(**changes) -> Adaptive:
    settings = {"extent": 1.0, "pull": 2e-4, "absolute": False, "resets": 2} | changes
    return Adaptive(Rhythm(0.1, 0.9, 9), changes.pop("most", 100), **{k: v for k, v in settings.items() if k != "most"})


def test_small_ones_that_are_pulled_are_cloned_large_ones_split_and_faint_ones_dropped():
    some = field(6)
    with torch.no_grad():
        some.log_scales[:] = math.log(0.005)
        some.log_scales[1] = math.log(0.05)
        some.opacities[:] = 1.0
        some.opacities[2] = -8.0
    pulls = torch.zeros(6, 2)
    pulls[:2, 0] = 1e-4  # times half of 10 pixels: 5e-4 in units of half the picture
    adam = optimizer(some)
    before = some.means.detach().clone()
    adaptive().after_step(some, adam, rendering(some, pulls), 0.1, generator())
    # 0, 3, 4, 5 stay, 0 has a clone, 1 became two
    assert len(some) == 7
    assert torch.equal(some.means[:5], before[[0, 3, 4, 5, 0]])
    assert float(some.log_scales[5, 0].detach().exp()) == pytest.approx(0.05 / 1.6, rel=1e-2)
    assert 0 < float((some.means[5:] - before[1]).detach().norm(dim=-1).max()) < 0.3


def test_below_the_threshold_nothing_grows_and_absolute_gradients_have_their_own():
    pulls = torch.full((6, 2), 3e-5)
    for strategy, grown in ((adaptive(), False), (adaptive(absolute=True), True)):
        some = field(6)
        with torch.no_grad():
            some.opacities[:] = 1.0
        strategy.after_step(some, optimizer(some), rendering(some, pulls * torch.tensor([1.0, 0.0])), 0.1, generator())
        assert (len(some) > 6) == grown


def test_growth_stops_at_the_bound_with_those_that_are_pulled_most():
    some = field(6)
    with torch.no_grad():
        some.log_scales[:] = math.log(0.005)
        some.opacities[:] = 1.0
    pulls = torch.zeros(6, 2)
    pulls[:, 0] = torch.arange(1.0, 7.0)
    adam = optimizer(some)
    before = some.means.detach().clone()
    adaptive(most=8).after_step(some, adam, rendering(some, pulls), 0.1, generator())
    assert len(some) == 8
    assert {tuple(place) for place in some.means[6:].tolist()} == {tuple(place) for place in before[4:].tolist()}


def test_opacities_are_reset_and_their_moments_with_them():
    some = field(6)
    with torch.no_grad():
        some.opacities[:] = 2.0
    adam, strategy = optimizer(some), adaptive()
    strategy.after_step(some, adam, rendering(some), 0.5, generator())
    torch.testing.assert_close(torch.sigmoid(some.opacities), torch.full((6,), 0.01))
    assert not adam.state_tensors()["first.field.opacities"].any()


@pytest.mark.parametrize(
    "build", [adaptive, lambda: Mcmc(Rhythm(0, 1, 4), 9, growth=1.1, least_opacity=0.1, noise=1.0)]
)
def test_a_strategy_goes_on_from_its_state(build):
    one, other, some = build(), build(), field(6)
    one.after_step(some, optimizer(some), rendering(some, torch.ones(6, 2) * 1e-6), 0.15, generator())
    one.after_step(some, optimizer(some), rendering(some, torch.ones(len(some), 2) * 1e-6), 0.16, generator())
    other.load_state(one.state())
    assert {name: tensor.tolist() for name, tensor in other.state().items()} == {
        name: tensor.tolist() for name, tensor in one.state().items()
    }


def test_without_densification_the_count_stays():
    some = field(6)
    Densification(Rhythm(0.0, 0.0, 0), 6).after_step(some, optimizer(some), rendering(some), 0.5, generator())
    assert len(some) == 6
