"""What other programs' readers find in the files of Gaussians that are written here."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import trimesh

from onefield.export.gaussian_formats import export_gaussians
from tests.export.test_gaussian_formats import gaussians


def columns(some) -> dict[str, np.ndarray]:
    """Every number of a set under its name in the published layout."""
    higher = torch.cat(some.harmonics[1:], dim=1).mT.flatten(1)
    parts = {
        "f_dc_": some.harmonics[0][:, 0], "f_rest_": higher, "scale_": some.log_scales, "rot_": some.quaternions
    }  # fmt: skip
    named = {f"{name}{k}": values[:, k] for name, values in parts.items() for k in range(values.shape[1])}
    named |= {"opacity": some.opacities} | dict(zip("xyz", some.means.T, strict=True))
    return {name: column.numpy() for name, column in named.items()}


def test_trimesh_reads_every_column_of_a_ply_to_the_bit(tmp_path):
    written = gaussians(40, degree=3)
    export_gaussians(written, tmp_path / "set.ply")
    cloud = trimesh.load(tmp_path / "set.ply")
    found = cloud.metadata["_ply_raw"]["vertex"]["data"]
    expected = columns(written)
    assert set(found.dtype.names) == {*expected, "nx", "ny", "nz"}
    for name, column in expected.items():
        np.testing.assert_array_equal(found[name], column)


def test_plyfile_reads_every_column_of_a_ply_to_the_bit(tmp_path):
    plyfile = pytest.importorskip("plyfile")
    written = gaussians(40, degree=2)
    export_gaussians(written, tmp_path / "set.ply")
    found = plyfile.PlyData.read(tmp_path / "set.ply")["vertex"]
    for name, column in columns(written).items():
        np.testing.assert_array_equal(found[name], column)


def test_trimesh_shows_a_glb_as_points_y_up(tmp_path):
    written = gaussians(40, degree=1)
    export_gaussians(written, tmp_path / "set.splat.glb")
    scene = trimesh.load(tmp_path / "set.splat.glb")
    (cloud,) = scene.dump()
    x, y, z = written.means.unbind(1)
    np.testing.assert_allclose(cloud.vertices, torch.stack([x, z, -y], 1), atol=1e-6)
    # in the colours of degree 0, which are linear there
    shown = (0.5 + 0.5 * math.pi**-0.5 * written.harmonics[0][:, 0]).clamp(0, 1).double().numpy()
    linear = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
    expected = np.concatenate([linear, torch.sigmoid(written.opacities)[:, None]], axis=1)
    np.testing.assert_allclose(cloud.colors / 255, expected, atol=0.51 / 255)
