"""Equations over a whole domain: their residuals on closed forms, and what they are solved to."""

import math

import numpy as np
import torch
from scipy.special import hankel1
from torch.func import vmap

from onefield.training.equations.eikonal import distance_conditions, eikonal_residual
from onefield.training.equations.helmholtz import Layer, helmholtz_residual, matched_residual
from onefield.training.equations.least_squares import Condition, solve
from onefield.training.equations.networks import sine_field
from onefield.training.equations.places import border, inside
from onefield.training.equations.point_source import radiated, source_density, spread_wave
from onefield.training.equations.wave import d_alembert, parted, wave_residual
from onefield.types import Bounds


def everywhere(residual, points):
    return vmap(residual)(points).abs().max().item()


def test_distances_have_slopes_of_one():
    points = 2 * torch.rand(30, 3, dtype=torch.float64) - 1
    assert everywhere(lambda x: eikonal_residual(lambda p: p.norm()[None] - 0.5, x, 0.0), points) < 1e-12
    # in three dimensions the Laplacian of a distance is 2 / r
    found = vmap(lambda x: eikonal_residual(lambda p: p.norm()[None] - 0.5, x, 0.1))(points)[:, 0]
    value = points.norm(dim=1) - 0.5
    side = value / (value.square() + 0.01).sqrt()
    torch.testing.assert_close(found, -0.2 * side / points.norm(dim=1))


def test_a_circle_tells_the_distance_from_it():
    angles = torch.linspace(0, 2 * math.pi, 60)
    normals = torch.stack([angles.cos(), angles.sin()], dim=1)
    field = sine_field(Bounds.cube(1.0, 2), 1, width=10, w0=2.0)
    for stage in distance_conditions(field.domain, 0.6 * normals, normals, 80):
        solve(field, stage, iterations=6)
    points = 2 * torch.rand(400, 2, dtype=torch.float64) - 1
    away = points.norm(dim=1) > 0.3
    with torch.no_grad():
        found = field.query(points, want=("value",)).value[:, 0]
    assert (found - points.norm(dim=1) + 0.6)[away].abs().max() < 0.08


def test_plane_waves_obey_helmholtz():
    direction = torch.tensor([3.0, 4.0], dtype=torch.float64)

    def wave(point):
        return torch.stack([torch.cos(direction @ point), torch.sin(direction @ point)])

    points = 2 * torch.rand(20, 2, dtype=torch.float64) - 1
    assert everywhere(lambda x: helmholtz_residual(wave, x, 5.0), points) < 1e-10
    layer = Layer(Bounds.cube(1.0, 2), 0.1, 50.0)
    assert everywhere(lambda x: matched_residual(wave, x, 5.0, layer), 0.9 * points) < 1e-10


def test_layers_swallow_waves_without_an_echo():
    wave_number, layer = 5.0, Layer(Bounds.cube(1.0, 2), 0.4, 20.0)

    def dying(point):
        """Of ``exp(i k X)``, X the complex coordinate: the depth's square integrates to a cube."""
        depth = (point[0] - 0.6).clamp(min=0)
        fading = torch.exp(-layer.strength * depth**3 / (3 * layer.width**2))
        return fading * torch.stack([torch.cos(wave_number * point[0]), torch.sin(wave_number * point[0])])

    points = torch.rand(30, 2, dtype=torch.float64) * torch.tensor([1.0, 0.6])
    assert everywhere(lambda x: matched_residual(dying, x, wave_number, layer), points) < 1e-9
    assert dying(torch.tensor([1.0, 0.0])).norm() < 0.08


def test_waves_of_a_spread_source_are_greens_function_away_from_it():
    radii = torch.linspace(0.6, 1.4, 50, dtype=torch.float64)
    found = torch.view_as_complex(spread_wave(radii, 8.0, 0.1).contiguous())
    expected = 0.25j * hankel1(0, 8 * radii.numpy()) * math.exp(-0.5 * 0.8**2)
    assert np.abs(found.numpy() - expected).max() < 1e-6
    # within: r u' grows by what the source and k^2 u take over a ring
    edges = torch.linspace(0.02, 0.4, 400, dtype=torch.float64)
    wave = spread_wave(edges, 8.0, 0.1)
    middle, width = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
    flux = middle[:, None] * wave.diff(dim=0) / width
    taken = edges[1:-1, None] * 64 * wave[1:-1]
    taken[:, 0] += edges[1:-1] * source_density(edges[1:-1].square(), 0.1)
    assert (flux.diff(dim=0).cumsum(0) + width * taken.cumsum(0)).abs().max() < 1e-4


def test_a_source_radiates_through_the_layers():
    # no wave at all would be 1, and one of another sign or without its layers more
    assert radiated(20, seed=0, width=16, count=200).metrics["error"] < 0.85


def test_a_wave_from_its_values_on_the_walls():
    domain, wave_number = Bounds.cube(1.0, 1), 5.0
    field = sine_field(domain, 2, width=10, w0=3.0)

    def wave(points):
        return torch.cat([torch.cos(wave_number * points), torch.sin(wave_number * points)], dim=-1)

    conditions = [
        Condition(inside(domain, 60), lambda f, x: helmholtz_residual(f, x, wave_number) / wave_number**2),
        Condition(border(domain, 2), lambda f, x: f(x) - wave(x)),
    ]
    solve(field, conditions, iterations=30, tolerance=1e-5)
    places = torch.linspace(-1, 1, 40, dtype=torch.float64)[:, None]
    with torch.no_grad():
        assert (field.query(places, want=("value",)).value - wave(places)).abs().max() < 0.01


def test_waves_part_as_d_alembert_says():
    def start(places):
        return torch.exp(-places.square())

    points = torch.rand(30, 2, dtype=torch.float64)

    def function(point):
        return d_alembert(start, point[0], point[1], 0.7)[None]

    assert everywhere(lambda x: wave_residual(function, x, 0.7), points) < 1e-12
    assert abs(function(torch.tensor([0.3, 0.0], dtype=torch.float64)).item() - math.exp(-0.09)) < 1e-12
    assert parted(8, seed=0).metrics["error"] < 0.3
