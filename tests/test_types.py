"""Records that refuse what can't be."""

import pytest
import torch

from onefield.errors import DataError
from onefield.types import Mesh


@pytest.mark.parametrize("wrong", [-1, 3])
def test_faces_name_vertices_that_are_there(wrong):
    with pytest.raises(DataError, match=f"names vertex {wrong}, but the mesh has 3"):
        Mesh(torch.rand(3, 3), torch.tensor([[0, 1, wrong]]))
