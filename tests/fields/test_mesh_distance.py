import torch
import trimesh

from onefield.fields.analytic import BoxField
from onefield.fields.gradients import spatial_gradient
from onefield.fields.mesh_distance import MeshDistance
from onefield.types import Bounds

DOMAIN = Bounds.cube(1.0)


def test_a_box_answers_as_its_closed_form_and_comes_back_from_its_state():
    box = BoxField((0.5, 0.3, 0.2), domain=DOMAIN)
    made = trimesh.creation.box((1.0, 0.6, 0.4))
    vertices, faces = torch.from_numpy(made.vertices.copy()), torch.from_numpy(made.faces.copy())
    field = MeshDistance(DOMAIN, vertices, faces)
    loaded = MeshDistance(DOMAIN, torch.zeros_like(vertices), torch.zeros_like(faces))
    loaded.load_state_dict(field.state_dict())
    points = 1.8 * torch.rand(500, 3, generator=torch.Generator().manual_seed(0)) - 0.9
    truth = box.query(points, want=("distance",)).distance
    found = loaded.query(points, want=("distance",)).distance
    assert torch.equal(found, field.query(points, want=("distance",)).distance)
    torch.testing.assert_close(found, truth, atol=1e-5, rtol=0)
    slopes = spatial_gradient(field, points[truth.abs() > 0.05], "distance")
    torch.testing.assert_close(slopes.norm(dim=-1), torch.ones(len(slopes)), atol=1e-4, rtol=0)
    assert torch.equal(loaded.mesh().faces, faces)
