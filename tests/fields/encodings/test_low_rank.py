"""CP and vector-matrix decompositions against the dense tensors that they stand for."""

from __future__ import annotations

import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.encodings.dense_grid import DenseGridEncoding
from onefield.fields.encodings.low_rank import CpEncoding, VmEncoding


def dense(tensor):
    encoding = DenseGridEncoding(3, tuple(tensor.shape[:3]), tensor.shape[3])
    with torch.no_grad():
        encoding.grid.copy_(tensor)
    return encoding


def test_cp_components_are_outer_products():
    encoding, points = CpEncoding(3, 6, 4), torch.rand(50, 3)
    tensor = torch.einsum("ic,jc,kc->ijkc", *[line.grid for line in encoding.lines])
    # interpolating a product of lines is multilinear, as interpolating the tensor is
    torch.testing.assert_close(encoding(points), dense(tensor)(points), atol=1e-7, rtol=1e-4)


def test_vm_components_are_products_of_planes_and_lines():
    encoding, points = VmEncoding(6, 4), torch.rand(50, 3)
    names = ("ic,jkc->ijkc", "jc,ikc->ijkc", "kc,ijc->ijkc")
    pairs = zip(names, encoding.lines, encoding.planes, strict=True)
    wanted = torch.cat([dense(torch.einsum(name, line.grid, plane.grid))(points) for name, line, plane in pairs], 1)
    torch.testing.assert_close(encoding(points), wanted, atol=1e-7, rtol=1e-4)


def lattice(count):
    axis = torch.linspace(0, 1, count)
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)


@pytest.mark.parametrize("coarse", [CpEncoding(3, 5, 4), VmEncoding(5, 4)], ids=["cp", "vm"])
def test_upsampling_keeps_what_is_known(coarse):
    vertices = lattice(7)
    torch.testing.assert_close(coarse.upsampled(7)(vertices), coarse(vertices), atol=1e-6, rtol=1e-4)
    # vertices of the first grid among those of the second: nothing changes in between, either
    points, finer = torch.rand(50, 3), coarse.upsampled(9)
    torch.testing.assert_close(finer(points), coarse(points), atol=1e-6, rtol=1e-4)
    assert finer.lines[0].resolution == (9,)


@pytest.mark.parametrize("kind", ["cp", "vm"])
def test_a_volume_of_its_rank_is_recovered(kind):
    torch.manual_seed(0)
    truth = torch.einsum("ir,jr,kr->ijk", *torch.rand(3, 9, 3)).reshape(-1)
    encoding, places = CpEncoding(3, 9, 3) if kind == "cp" else VmEncoding(9, 1), lattice(9)
    optimizer = torch.optim.LBFGS(encoding.parameters(), max_iter=200, history_size=30, line_search_fn="strong_wolfe")

    def step():
        optimizer.zero_grad()
        error = (encoding(places).sum(1) - truth).square().mean()
        error.backward()
        return error

    optimizer.step(step)
    # 60 dB below the largest value
    assert step().item() < 1e-6 * truth.max().item() ** 2


@pytest.mark.parametrize("dimension", [1, 2, 4])
def test_components_begin_equally_small_in_any_number_of_axes(dimension):
    values = CpEncoding(dimension, 32, 256)(torch.randint(0, 32, (500, dimension)) / 31)
    assert float(values.std()) == pytest.approx(0.01, rel=0.25)


def test_refuses_points_without_coordinates():
    with pytest.raises(UsageError, match="dimension 0"):
        CpEncoding(0)
