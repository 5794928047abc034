"""What the browser draws itself: cameras with their pictures, the crop box, the camera path, meshes."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from scipy.spatial.transform import Rotation

from onefield.data.scene import Scene
from onefield.fields.gaussians import CONSTANT_HARMONIC
from onefield.kernels.gaussian_footprints import rotations
from onefield.meshing.preview import FIELD_OF_VIEW, orbit_camera
from onefield.types import Bounds, Gaussians, Mesh
from onefield.viewing.pictures import View

if TYPE_CHECKING:
    import viser

# More hide the scene and take long to send.
MOST_CAMERAS = 200
# Pixels along the longer side of a camera's picture: enough to recognise it by.
THUMBNAIL = 96
# Size of a camera as a share of its distance from the middle of the scene.
_CAMERA_SHARE = 0.04
_TRAINED, _HELD_OUT = (60, 110, 200), (230, 120, 20)
# Share of Gaussians at either end of an axis that a first look need not hold, and where it looks from.
_OUTLIERS = 0.02
_FIRST_LOOK = (1.2, -1.2, 0.8)
_BOX_COLOR, _PATH_COLOR = (220, 40, 40), (20, 140, 60)


def frustum_size(scene: Scene) -> float:
    """How large the photos' cameras are drawn, world units."""
    return _CAMERA_SHARE * float(scene.cameras.positions.norm(dim=1).median())


class SceneCameras:
    """The photos' cameras, at most `MOST_CAMERAS` at even steps; blue where trained on, orange where held out.

    Their pictures come one at a time, by `load_next`, since decoding hundreds of photos takes long.
    """

    def __init__(self, server: viser.ViserServer, scene: Scene) -> None:
        """Adds them without pictures; a click on one takes its place."""
        self._scene = scene
        cameras = scene.cameras.to("cpu")
        step = -(-len(cameras) // MOST_CAMERAS)
        held_out = set(scene.test_indices.tolist())
        scale = frustum_size(scene)
        self._handles: dict[int, viser.CameraFrustumHandle] = {}
        self._waiting = list(range(0, len(cameras), step))[::-1]
        for index in reversed(self._waiting):
            pose = cameras.camera_to_world[index].numpy()
            height, focal = float(cameras.height[index]), float(cameras.focal[index, 1])
            handle = server.scene.add_camera_frustum(
                f"/cameras/{index}",
                fov=2 * np.arctan(height / 2 / focal),
                aspect=float(cameras.width[index]) / height,
                scale=scale,
                color=_HELD_OUT if index in held_out else _TRAINED,
                wxyz=quaternion(pose),
                position=pose[:, 3],
                cast_shadow=False,
                receive_shadow=False,
            )
            handle.on_click(_take_place)
            self._handles[index] = handle

    def show(self, visible: bool) -> None:
        """Shows or hides all."""
        for handle in self._handles.values():
            handle.visible = visible

    def load_next(self) -> bool:
        """Loads the picture of one more camera; False where all are there."""
        if not self._waiting:
            return False
        index = self._waiting.pop()
        image = Image.fromarray(self._scene.images.pixels(index)[..., :3])
        image.thumbnail((THUMBNAIL, THUMBNAIL))
        self._handles[index].image = np.asarray(image)
        return True


def _take_place(event: viser.SceneNodePointerEvent[viser.CameraFrustumHandle]) -> None:
    with event.client.atomic():
        event.client.camera.position = event.target.position
        event.client.camera.wxyz = event.target.wxyz


def draw_box(server: viser.ViserServer, box: Bounds, visible: bool) -> None:
    """Draws the crop box, in place of the one before."""
    corners = np.array(list(itertools.product(*zip(box.minimum, box.maximum, strict=True))))
    edges = [(a, b) for a, b in itertools.combinations(range(8), 2) if bin(a ^ b).count("1") == 1]
    server.scene.add_line_segments(
        "/crop", corners[np.array(edges)], _BOX_COLOR, thickness=2.0, thickness_units="screen", visible=visible
    )


def draw_path(server: viser.ViserServer, keys: list[View], between: Float[np.ndarray, "n 3 4"]) -> None:
    """Draws the path's views and the way between them, in place of those before."""
    server.scene.remove_by_name("/path")
    for number, view in enumerate(keys):
        server.scene.add_camera_frustum(
            f"/path/{number}",
            fov=view.vertical_fov,
            aspect=view.width / view.height,
            scale=_CAMERA_SHARE,
            color=_PATH_COLOR,
            wxyz=quaternion(view.pose),
            position=view.pose[:, 3],
        )
    if len(keys) > 1:
        points = between[:, :, 3]
        pairs = np.stack([points[:-1], points[1:]], axis=1)
        server.scene.add_line_segments("/path/way", pairs, _PATH_COLOR, thickness=2.0, thickness_units="screen")


def show_mesh(server: viser.ViserServer, mesh: Mesh) -> None:
    """Adds a mesh of any place and size and lets windows open on all of it; z is up."""
    used = mesh.vertices.detach().double().cpu()[mesh.faces.cpu().unique()]
    low, high = used.amin(0), used.amax(0)
    # browsers count in float32: far from the origin they would tear the mesh
    placed = (mesh.vertices.detach().double().cpu() - (low + high) / 2) / (high - low).max()
    placed = replace(mesh, vertices=placed.float(), normals=None)
    add_mesh(server, placed)
    server.initial_camera.position = tuple(orbit_camera(placed).positions[0].tolist())
    server.initial_camera.look_at = (0.0, 0.0, 0.0)
    server.initial_camera.fov = FIELD_OF_VIEW


def show_gaussians(server: viser.ViserServer, gaussians: Gaussians) -> None:
    """Adds a set of Gaussians of any place and size, in the colours of degree 0, and lets windows open on all of it."""
    means = gaussians.means.detach().double().cpu()
    # outliers would make all others a dot
    low, high = (means.quantile(share, dim=0) for share in (_OUTLIERS, 1 - _OUTLIERS))
    size = float((high - low).max().clamp(min=torch.finfo(torch.float32).eps))
    axes = rotations(gaussians.quaternions.detach().cpu().double())
    axes = axes * (gaussians.log_scales.detach().cpu().double().exp() / size)[:, None]
    colors = (0.5 + CONSTANT_HARMONIC * gaussians.harmonics[0][:, 0]).detach().clamp(0, 1).cpu()
    server.scene.add_gaussian_splats(
        "/gaussians",
        centers=((means - (low + high) / 2) / size).float().numpy(),
        covariances=(axes @ axes.mT).float().numpy(),
        rgbs=colors.float().numpy(),
        opacities=torch.sigmoid(gaussians.opacities.detach()).cpu().float().numpy()[:, None],
    )
    server.initial_camera.position = _FIRST_LOOK
    server.initial_camera.look_at = (0.0, 0.0, 0.0)
    server.initial_camera.fov = FIELD_OF_VIEW


def add_mesh(server: viser.ViserServer, mesh: Mesh, visible: bool = True) -> viser.GlbHandle:
    """Adds a mesh with its vertex colours, in the frame of the page."""
    import trimesh

    colors = None
    if mesh.colors is not None:
        colors = (mesh.colors.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    solid = trimesh.Trimesh(
        mesh.vertices.detach().float().cpu().numpy(), mesh.faces.cpu().numpy(), vertex_colors=colors, process=False
    )
    return server.scene.add_mesh_trimesh("/mesh", solid, visible=visible, cast_shadow=False, receive_shadow=False)


def quaternion(pose: Float[np.ndarray, "3 4"]) -> Float[np.ndarray, "4"]:
    """A pose's rotation as wxyz."""
    return Rotation.from_matrix(pose[:, :3]).as_quat(scalar_first=True)


def pose_of(wxyz: Float[np.ndarray, "4"], position: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 4"]:
    """Inverse of `quaternion`, with the position."""
    turned = Rotation.from_quat(np.asarray(wxyz, dtype=np.float64), scalar_first=True).as_matrix()
    return np.concatenate([turned, np.asarray(position, dtype=np.float64)[:, None]], axis=1)
