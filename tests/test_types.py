"""Records that refuse what can't be."""

import math

import pytest
import torch

from onefield.errors import DataError, UsageError
from onefield.types import Bounds, Mesh, Rays


@pytest.mark.parametrize("wrong", [-1, 3])
def test_faces_name_vertices_that_are_there(wrong):
    with pytest.raises(DataError, match=f"names vertex {wrong}, but the mesh has 3"):
        Mesh(torch.rand(3, 3), torch.tensor([[0, 1, wrong]]))


@pytest.mark.parametrize("wrong", [math.inf, math.nan, 0.0])
def test_boxes_have_a_size(wrong):
    with pytest.raises(UsageError, match="finite minimum < maximum"):
        Bounds((0.0, 0.0), (1.0, wrong))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("origins", torch.zeros(3)), ("directions", torch.zeros(1, 3)), ("far", torch.zeros(4, 1))],
)
def test_rays_have_one_of_each(name, wrong):
    given = {"origins": torch.zeros(4, 3), "directions": torch.ones(4, 3), "far": torch.ones(4)} | {name: wrong}
    with pytest.raises(UsageError, match=f"as many {name}"):
        Rays(**given)
