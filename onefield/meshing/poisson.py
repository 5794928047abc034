"""Screened Poisson reconstruction (Kazhdan and Hoppe 2013) by Open3D: the classical way from points to a surface."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import torch

from onefield.errors import DataError
from onefield.extras import extra_library
from onefield.meshing.report import report_mesh
from onefield.types import Mesh, PointCloud

# Nearest points by which Open3D estimates a normal, and along which it hands on its side.
_NEIGHBOURS = 30


def poisson_library() -> ModuleType:
    """Open3D.

    Raises:
        ResourceError: it is not installed, or can't be loaded.
    """
    return extra_library("open3d", "geometry", "Poisson reconstruction", ", or take the field 'auto'")


def poisson_mesh(cloud: PointCloud, depth: int = 8) -> Mesh:
    """The surface about whose inside the points' normals agree best, in the points' frame; faces turned out.

    Args:
        cloud: on a surface. Without normals these are estimated from the nearest points and turned by a minimal
            spanning tree (Hoppe et al. 1992), as Open3D's users do.
        depth: of the octree: ``2^depth`` cells along the side of its cube.

    Raises:
        ResourceError: Open3D is not installed.
        DataError: no surface was found.
    """
    open3d = poisson_library()
    vectors = open3d.utility.Vector3dVector
    given = open3d.geometry.PointCloud(vectors(cloud.points.double().numpy()))
    # its warnings would go to the standard output, where results are
    with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
        if cloud.normals is None:
            given.estimate_normals(open3d.geometry.KDTreeSearchParamKNN(_NEIGHBOURS))
            given.orient_normals_consistent_tangent_plane(_NEIGHBOURS)
        else:
            given.normals = vectors(cloud.normals.double().numpy())
        found, _ = open3d.geometry.TriangleMesh.create_from_point_cloud_poisson(given, depth=depth)
    faces = torch.from_numpy(np.asarray(found.triangles).astype(np.int64))
    if not len(faces):
        raise DataError("Poisson reconstruction found no surface in the points; take the field 'auto'.")
    mesh = Mesh(torch.from_numpy(np.asarray(found.vertices).astype(np.float32)), faces)
    return mesh if report_mesh(mesh).volume >= 0 else Mesh(mesh.vertices, faces.flip(1))
