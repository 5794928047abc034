import math

import numpy as np

from onefield.data.contours import Slice, distance_to_edges

TILTED = np.array([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])


def ring():
    turns = np.linspace(0, 2 * math.pi, 400, endpoint=False)
    circle = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    return Slice("ring", np.array([1.0, 2.0, 3.0]), TILTED, (2 * circle, circle[::-1]))


def test_an_odd_number_of_contours_around_is_inside():
    points = np.random.default_rng(0).uniform(-2.2, 2.2, (500, 2))
    radius = np.linalg.norm(points, axis=1)
    clear = np.abs(radius - 1) * np.abs(radius - 2) > 1e-3
    assert (ring().contains(points) == ((radius > 1) & (radius < 2)))[clear].all()


def test_points_go_to_the_world_and_back():
    points = np.random.default_rng(1).normal(size=(7, 2))
    world = ring().to_world(points)
    np.testing.assert_allclose(ring().to_plane(world), points)
    np.testing.assert_allclose((world - ring().origin) @ ring().normal, 0, atol=1e-12)


def test_points_along_contours_are_spread_by_length():
    points = ring().along_contours(np.linspace(0, 1, 3001))
    radius = np.linalg.norm(points, axis=1)
    np.testing.assert_allclose(np.minimum(np.abs(radius - 1), np.abs(radius - 2)), 0, atol=1e-4)
    assert abs((radius > 1.5).mean() - 2 / 3) < 1e-3


def test_distances_to_a_square_are_those_of_its_closed_form():
    corners = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    edges = np.stack([corners, np.roll(corners, -1, axis=0)], axis=1)
    points = np.random.default_rng(2).uniform(-3, 3, (200, 2))
    beyond = np.abs(points) - 1
    truth = np.linalg.norm(beyond.clip(min=0), axis=1) - beyond.max(axis=1).clip(max=0)
    np.testing.assert_allclose(distance_to_edges(points, edges), truth)
    assert np.isinf(distance_to_edges(points[:1], edges[:0])).all()
