"""A scene as training sees it: normalised cameras, lazy images, splits, and the way back to the dataset's frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from onefield.cameras import Cameras
from onefield.errors import DataError
from onefield.types import Bounds, PointCloud, Rays

if TYPE_CHECKING:
    from onefield.data.image_store import DepthStore, ImageStore, MaskStore, NormalStore
    from onefield.data.sightings import Sightings

# Rotations written as decimal text come back with errors far below this; anything larger is another matrix.
_ROTATION_TOLERANCE = 1e-6
# Rays farther than 84 degrees off the axis, which only fisheyes have, get limits as if they were there.
_SMALLEST_COSINE = 0.1


@dataclass(frozen=True, eq=False)
class Similarity:
    """``normalised = scale * rotation @ dataset + translation``, all float64.

    Coordinates of a national grid (millions of metres) keep their digits, since scale and shift are applied together in
    float64 before anything becomes float32.
    """

    scale: float
    rotation: Float[Tensor, "3 3"]
    translation: Float[Tensor, "3"]

    @staticmethod
    def identity() -> Similarity:
        return Similarity(1.0, torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))

    @staticmethod
    def about(center: Float[Tensor, "3"], scale: float, rotation: Float[Tensor, "3 3"] | None = None) -> Similarity:
        """The similarity that takes ``center`` to the origin."""
        turned = torch.eye(3, dtype=torch.float64) if rotation is None else rotation.double()
        return Similarity(scale, turned, -scale * (turned @ center.double()))

    @property
    def matrix(self) -> Float[Tensor, "4 4"]:
        """Homogeneous form."""
        matrix = torch.eye(4, dtype=torch.float64)
        matrix[:3, :3] = self.scale * self.rotation
        matrix[:3, 3] = self.translation
        return matrix

    def inverse(self) -> Similarity:
        """From the normalised frame to the dataset's."""
        back = self.rotation.T
        return Similarity(1.0 / self.scale, back, -(back @ self.translation) / self.scale)

    def apply(self, points: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3"]:
        """Dataset points to normalised ones, float64."""
        return self.scale * (points.double() @ self.rotation.T) + self.translation

    def invert(self, points: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3"]:
        """Normalised points to dataset ones, float64."""
        return ((points.double() - self.translation) @ self.rotation) / self.scale

    def apply_directions(self, directions: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3"]:
        """Directions and normals keep their length."""
        return directions.double() @ self.rotation.T

    def invert_directions(self, directions: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3"]:
        """Inverse of `apply_directions`."""
        return directions.double() @ self.rotation

    def apply_distances(self, distances: Tensor | float) -> Tensor | float:
        """Lengths in dataset units to normalised ones."""
        return distances * self.scale

    def invert_distances(self, distances: Tensor | float) -> Tensor | float:
        """Normalised lengths to dataset units."""
        return distances / self.scale

    def apply_poses(self, poses: Float[Tensor, "*b 3 4"]) -> Float[Tensor, "*b 3 4"]:
        """Camera-to-world poses to the normalised frame; rotations stay rotations."""
        turned = self.rotation @ poses[..., :3].double()
        return torch.cat([turned, self.apply(poses[..., 3]).unsqueeze(-1)], dim=-1)

    def invert_poses(self, poses: Float[Tensor, "*b 3 4"]) -> Float[Tensor, "*b 3 4"]:
        """Inverse of `apply_poses`."""
        turned = self.rotation.T @ poses[..., :3].double()
        return torch.cat([turned, self.invert(poses[..., 3]).unsqueeze(-1)], dim=-1)

    def apply_cameras(self, cameras: Cameras) -> Cameras:
        """The same views in the normalised frame."""
        return replace(cameras, camera_to_world=self.apply_poses(cameras.camera_to_world))

    def invert_cameras(self, cameras: Cameras) -> Cameras:
        """The same views in the dataset's frame."""
        return replace(cameras, camera_to_world=self.invert_poses(cameras.camera_to_world))

    def to_record(self) -> dict[str, object]:
        """Plain numbers for JSON; `from_record` reads them back without loss."""
        return {
            "scale": self.scale,
            "rotation": self.rotation.tolist(),
            "translation": self.translation.tolist(),
        }

    @staticmethod
    def from_record(record: dict) -> Similarity:
        """Inverse of `to_record`.

        Raises:
            DataError: numbers are missing, not finite, or no rotation.
        """
        try:
            scale = float(record["scale"])
            rotation = torch.tensor(record["rotation"], dtype=torch.float64).reshape(3, 3)
            translation = torch.tensor(record["translation"], dtype=torch.float64).reshape(3)
        except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise DataError(
                f"A scene transform needs 'scale', 'rotation' (3x3) and 'translation' (3), got {record}."
            ) from error
        off = (rotation @ rotation.T - torch.eye(3, dtype=torch.float64)).abs().max()
        finite = math.isfinite(scale) and bool(torch.isfinite(translation).all())
        if not finite or scale <= 0 or not bool(off < _ROTATION_TOLERANCE) or torch.linalg.det(rotation) < 0:
            raise DataError(f"A scene transform needs a finite positive scale and a rotation, got {record}.")
        return Similarity(scale, rotation, translation)


@dataclass(frozen=True, eq=False)
class Scene:
    """Posed images, ready for training; positions and distances in the normalised frame.

    Attributes:
        name: the folder's name.
        path: folder or file that was loaded.
        format: name of the format it was recognised as.
        cameras: one view an image, in the order of ``image_names``; the region of interest is [-1, 1]^3.
        images: pictures, decoded when asked for.
        image_names: as the dataset names them.
        masks: pixels to learn from (True); None where all count. Masks that carve or outline are not here: they are the
            alpha of ``images``.
        mask_meaning: ``"ignore"``, ``"carve"`` or ``"alpha"`` (see `onefield.data.masks`); None without masks.
        masked_views: how many views have a mask.
        depths: measured distances along rays, where the dataset has them.
        normals: of what pixels show, where the dataset has them.
        points: points from structure from motion or a scanner.
        sightings: pixels at which views saw such points, where the dataset says which did.
        train_indices, test_indices: views to learn from and views held out, int64, disjoint.
        split_rule: how the views held out were chosen, in words.
        transform: from the dataset's frame to the normalised one; exporters undo it.
        bounded: nothing lies outside the region of interest.
        extent_scale: half-extent of a cube that holds nearly all that is seen near by and the cameras, a power of two;
            1 for a bounded scene.
        near, far: limits of what the cameras see, along rays; None where the dataset doesn't say.
        alpha: pictures have four channels, colour straight (not premultiplied).
        background: ``"white"`` or ``"black"`` where published results composite over it, black where masks carve photos
            without alpha (these show no coloured card there), else None.
        up_estimated: z is up only by a guess from the cameras.
        warnings: one sentence each.
    """

    name: str
    path: Path
    format: str
    cameras: Cameras
    images: ImageStore
    image_names: tuple[str, ...]
    train_indices: Int[Tensor, "T"]
    test_indices: Int[Tensor, "E"]
    transform: Similarity
    masks: MaskStore | None = None
    mask_meaning: str | None = None
    masked_views: int = 0
    depths: DepthStore | None = None
    normals: NormalStore | None = None
    points: PointCloud | None = None
    sightings: Sightings | None = None
    bounded: bool = False
    extent_scale: float = 1.0
    near: float | None = None
    far: float | None = None
    alpha: bool = False
    background: str | None = None
    up_estimated: bool = False
    split_rule: str = ""
    warnings: tuple[str, ...] = ()

    def limited(self, rays: Rays, cameras: Cameras | None = None) -> Rays:
        """Rays with near and far filled in where the dataset states depths.

        Stated depths lie along the optical axis; the limits are along each ray.

        Args:
            rays: with the indices of their cameras.
            cameras: which those are; None means this scene's own.
        """
        if self.near is None or self.far is None or rays.camera_indices is None:
            return rays
        owners = self.cameras if cameras is None else cameras
        cosines = owners.axis_cosines(rays).clamp(min=_SMALLEST_COSINE)
        return replace(rays, near=self.near / cosines, far=self.far / cosines)

    def image_rays(self, index: int) -> Rays:
        """Rays through all pixels of one view, row by row, within the stated depths."""
        return self.limited(self.cameras.image_rays(index))

    @property
    def bounds(self) -> Bounds:
        """The region of interest."""
        return Bounds.cube(1.0)

    def __len__(self) -> int:
        return len(self.cameras)
