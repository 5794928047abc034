"""Normal maps give back the normals of the detailed surface, decoded as a reader of glTF does."""

import torch

from onefield.fields.analytic import SphereField
from onefield.meshing.level_sets import extract_mesh
from onefield.meshing.normal_map import detailed_normals
from onefield.meshing.texture import looked_up
from tests.meshing.surfaces import RADIUS, random_places, textured_ball


def decoded(mesh, faces, weights):
    """By the formula of glTF 2.0: normal, tangent and bitangent are interpolated, the texture lies in their frame."""

    def mixed(values):
        return (values * weights[..., None]).sum(1)

    named = mesh.faces[faces]
    normal = torch.nn.functional.normalize(mixed(mesh.normals[named]), dim=1)
    tangents = mesh.texture.tangents[faces]
    tangent = torch.nn.functional.normalize(mixed(tangents[..., :3]), dim=1)
    bitangent = torch.linalg.cross(normal, tangent) * tangents[:, 0, 3:]
    x, y, z = (looked_up(mesh.texture.normals, mixed(mesh.texture.coordinates[faces])) * 2 - 1).unbind(1)
    return torch.nn.functional.normalize(x[:, None] * tangent + y[:, None] * bitangent + z[:, None] * normal, dim=1)


def test_decoded_normals_are_those_of_the_ball():
    """A coarse ball of 6 cells: its own smooth normals are off by degrees, those of the map by a fraction of one."""
    mesh = textured_ball(size=512, resolution=6, normal_map=True)
    faces, weights = random_places(mesh)
    points = (mesh.vertices[mesh.faces[faces]] * weights[..., None]).sum(1)
    outward = torch.nn.functional.normalize(points, dim=1)
    own = torch.nn.functional.normalize((mesh.normals[mesh.faces[faces]] * weights[..., None]).sum(1), dim=1)

    def degrees(normals):
        return float(torch.rad2deg(torch.arccos((normals * outward).sum(1).clamp(-1, 1))).mean())

    assert degrees(own) > 1.5
    assert degrees(decoded(mesh, faces, weights)) < 0.6


def test_bitangents_point_up_in_the_picture():
    mesh = textured_ball(size=64, resolution=6, normal_map=True)
    tangents = mesh.texture.tangents
    normals = mesh.normals[mesh.faces]
    assert float((tangents[..., :3].norm(dim=-1) - 1).abs().max()) < 1e-5
    assert float((tangents[..., :3] * normals).sum(-1).abs().max()) < 1e-4
    bitangent = torch.linalg.cross(normals, tangents[..., :3]) * tangents[..., 3:]
    corners, places = mesh.vertices[mesh.faces], mesh.texture.coordinates
    side, step = corners.roll(-1, 1) - corners, places.roll(-1, 1) - places
    along, up = (side * tangents[..., :3]).sum(-1), (side * bitangent).sum(-1)
    # moving along a side of a face, tangent and bitangent tell how the place in the picture moves, y down
    clear = step.abs() > 0.3 * step.norm(dim=-1, keepdim=True)
    assert float((along * step[..., 0] > 0)[clear[..., 0]].float().mean()) > 0.98
    assert float((up * step[..., 1] < 0)[clear[..., 1]].float().mean()) > 0.98


def test_normals_are_those_of_the_nearest_point():
    fine = extract_mesh(SphereField(RADIUS), resolution=48)
    outward = torch.nn.functional.normalize(torch.randn(500, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    found = detailed_normals(0.7 * outward, fine)
    assert float((found * outward).sum(1).min()) > 0.999
