"""Normals of meshes against closed forms."""

from __future__ import annotations

import torch
import trimesh

from onefield.fields.mesh_normals import face_vectors, vertex_normals


def test_vertex_normals_point_away_from_a_balls_middle():
    ball = trimesh.creation.icosphere(3)
    vertices, faces = torch.tensor(ball.vertices), torch.tensor(ball.faces)
    assert ((vertex_normals(vertices, faces) * vertices).sum(1) > 0.999).all()


def test_faces_weigh_by_their_area_and_vertices_without_any_have_no_normal():
    vertices = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 3, 0], [0, 0, 1], [9, 9, 9]], dtype=torch.float64)
    faces = torch.tensor([[0, 1, 2], [0, 3, 1]])
    assert face_vectors(vertices, faces).tolist() == [[0, 0, 6], [0, 2, 0]]
    normals = vertex_normals(vertices, faces)
    torch.testing.assert_close(normals[0], torch.tensor([0, 1, 3], dtype=torch.float64) / 10**0.5)
    assert normals[4].tolist() == [0, 0, 0]


def test_gradients_reach_the_vertices():
    vertices = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 3, 0], [0, 0, 1]], dtype=torch.float64, requires_grad=True)
    faces = torch.tensor([[0, 1, 2], [0, 3, 1]])
    assert torch.autograd.gradcheck(lambda given: vertex_normals(given, faces), vertices)
