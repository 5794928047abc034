"""Cameras: pixels to rays and points to pixels, with lens distortion.

OpenCV axes (x right, y down, z forward), camera-to-world poses, pixel centres at +0.5. Poses and intrinsics are
float64, so that scenes far from the origin and long focal lengths keep their digits; rays come out as float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from numbers import Integral

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from onefield.errors import UsageError
from onefield.lenses import (
    NEAR_AXIS,
    brown_directions,
    brown_linear,
    brown_positions,
    fisheye_directions,
    fisheye_linear,
    fisheye_positions,
    plane_slopes,
)
from onefield.types import Rays

# As Kerbl et al. (2023) have it.
_LINEAR_MARGIN = 0.3


@dataclass(frozen=True, eq=False)
class Cameras:
    """A batch of calibrated views.

    Attributes:
        camera_to_world: ``[R | t]`` with OpenCV axes, world units, float64.
        focal: focal lengths in x and y, pixels, float64.
        center: principal point in pixels; the first pixel's centre is (0.5, 0.5), float64.
        width, height: image sizes in pixels, int64.
        distortion: k1, k2, p1, p2, k3, k4, k5, k6 of Brown and Conrady's rational model in OpenCV's order; for a
            fisheye k1, k2, k3, k4 of Kannala and Brandt (2006), then zeros. float64.
        fisheye: which of the two models each camera has.
        radial8: coefficient of the eighth power of the radius in the numerator of Brown and Conrady's radial part,
            which photogrammetry has and OpenCV's model lacks; float64, None stands for zeros.
        skew: pixels that x gains for each unit of y on the distorted plane z = 1, from pixels that are no rectangles;
            float64, None stands for zeros.
    """

    camera_to_world: Float[Tensor, "C 3 4"]
    focal: Float[Tensor, "C 2"]
    center: Float[Tensor, "C 2"]
    width: Int[Tensor, "C"]
    height: Int[Tensor, "C"]
    distortion: Float[Tensor, "C 8"]
    fisheye: Bool[Tensor, "C"]
    radial8: Float[Tensor, "C"] | None = None
    skew: Float[Tensor, "C"] | None = None

    def __post_init__(self) -> None:
        count = self.camera_to_world.shape[0]
        for name in ("radial8", "skew"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, torch.zeros(count, dtype=torch.float64, device=self.focal.device))
        expected = {
            "camera_to_world": (count, 3, 4),
            "focal": (count, 2),
            "center": (count, 2),
            "width": (count,),
            "height": (count,),
            "distortion": (count, 8),
            "fisheye": (count,),
            "radial8": (count,),
            "skew": (count,),
        }
        for name, shape in expected.items():
            found = tuple(getattr(self, name).shape)
            if found != shape:
                raise UsageError(f"Cameras need {name} of shape {shape} for {count} views, got {found}.")

    @staticmethod
    def pinhole(
        camera_to_world: Float[Tensor, "C 3 4"],
        focal: float | Sequence[float] | Float[Tensor, "C 2"],
        center: Sequence[float] | Float[Tensor, "C 2"],
        width: int | Int[Tensor, "C"],
        height: int | Int[Tensor, "C"],
    ) -> Cameras:
        """Cameras without distortion; one focal length, ``(fx, fy)``, centre or size holds for all views.

        Raises:
            UsageError: a focal length that is not positive, a picture without a pixel, or poses that are not ``C 3 4``.
        """
        poses = torch.as_tensor(camera_to_world, dtype=torch.float64)
        if poses.ndim != 3 or poses.shape[1:] != (3, 4):
            raise UsageError(f"Cameras take poses of shape (C, 3, 4), got {tuple(poses.shape)}.")
        count, device = poses.shape[0], poses.device
        lengths = torch.as_tensor(focal, dtype=torch.float64, device=device).expand(count, 2).clone()
        sides = [torch.as_tensor(s, dtype=torch.int64, device=device).expand(count).clone() for s in (width, height)]
        if not bool((lengths > 0).all()) or not all(bool((side > 0).all()) for side in sides):
            raise UsageError(
                f"Cameras need positive focal lengths and pictures of at least 1 x 1 pixels, got {focal} and {width} x "
                f"{height}."
            )
        return Cameras(
            poses,
            lengths,
            torch.as_tensor(center, dtype=torch.float64, device=device).expand(count, 2).clone(),
            *sides,
            torch.zeros(count, 8, dtype=torch.float64, device=device),
            torch.zeros(count, dtype=torch.bool, device=device),
        )

    @staticmethod
    def concatenate(parts: Sequence[Cameras]) -> Cameras:
        """All views of several batches, in order."""
        return Cameras(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Cameras)))

    def __len__(self) -> int:
        return self.camera_to_world.shape[0]

    def __getitem__(self, selection: int | slice | Sequence[int] | Tensor) -> Cameras:
        """A batch with the selected views; a single number gives a batch of one.

        Raises:
            UsageError: a number outside the batch.
        """
        if isinstance(selection, Integral) or (isinstance(selection, Tensor) and selection.ndim == 0):
            selection = int(selection)
            if not -len(self) <= selection < len(self):
                raise UsageError(f"There is no view {selection}: the batch has {len(self)} views.")
            selection = slice(selection, selection + 1 or None)
        return Cameras(*(getattr(self, f.name)[selection] for f in fields(self)))

    def to(self, device: torch.device | str) -> Cameras:
        """The same cameras on another device."""
        return Cameras(*(getattr(self, f.name).to(device) for f in fields(self)))

    @property
    def positions(self) -> Float[Tensor, "C 3"]:
        """Optical centres in world units, float64."""
        return self.camera_to_world[:, :, 3]

    @property
    def forwards(self) -> Float[Tensor, "C 3"]:
        """Unit viewing directions in the world, float64."""
        return self.camera_to_world[:, :, 2]

    def axis_cosines(self, rays: Rays) -> Float[Tensor, "R"]:
        """Cosines of the angles between rays of these views and the optical axes of their cameras."""
        forwards = self.forwards.index_select(0, rays.camera_indices).to(rays.directions)
        return (rays.directions * forwards).sum(-1)

    def rays(self, camera_indices: Int[Tensor, "R"], pixels: Float[Tensor, "R 2"]) -> Rays:
        """Viewing rays through image positions.

        Args:
            camera_indices: the view of each ray.
            pixels: x and y in pixels; the centre of pixel (column, row) is (column + 0.5, row + 0.5).

        Returns:
            Rays with float32 origins and unit directions; exact to 1e-4 pixels for invertible distortion.
        """
        index = camera_indices.to(self.focal.device)

        def chosen(values: Tensor) -> Tensor:
            # Unlike values[index], this wakes no threads for a training batch, which costs more than the gather.
            return values.contiguous().index_select(0, index)

        image = (pixels.to(self.focal) - chosen(self.center)) / chosen(self.focal)
        if self.skewed:
            across = image[:, 0] - chosen(self.skew) / chosen(self.focal)[:, 0] * image[:, 1]
            image = torch.stack([across, image[:, 1]], dim=-1)
        x, y, z = self._camera_directions(index, image).split(1, dim=-1)
        # Three small gathers and sums are several times faster than a product of thousands of 3 x 3 matrices.
        right, down, forward, position = self.camera_to_world.unbind(-1)
        directions = chosen(right) * x + chosen(down) * y + chosen(forward) * z
        directions = torch.nn.functional.normalize(directions, dim=-1)
        return Rays(chosen(position).float(), directions.float(), camera_indices=index)

    def image_rays(self, index: int) -> Picture:
        """Rays through all pixel centres of one view, row by row from the top left.

        Raises:
            UsageError: there is no such view.
        """
        camera, device = self[index], self.focal.device
        rows = torch.arange(int(camera.height), dtype=torch.float64, device=device) + 0.5
        columns = torch.arange(int(camera.width), dtype=torch.float64, device=device) + 0.5
        views = torch.full((len(rows) * len(columns),), index % len(self), dtype=torch.int64, device=device)
        if self.distorted or self.skewed:
            y, x = torch.meshgrid(rows, columns, indexing="ij")
            rays = self.rays(views, torch.stack([x.reshape(-1), y.reshape(-1)], dim=-1))
            return Picture(rays.origins, rays.directions, camera_indices=views, camera=camera)
        # directions are a sum of one vector a row and one a column
        right, down, forward, position = camera.camera_to_world[0].unbind(-1)
        across = (columns - camera.center[0, 0])[:, None] / camera.focal[0, 0] * right
        along = (rows - camera.center[0, 1])[:, None] / camera.focal[0, 1] * down + forward
        directions = torch.nn.functional.normalize((along[:, None] + across[None]).reshape(-1, 3), dim=-1)
        origins = position.float().expand(len(views), 3)
        return Picture(origins, directions.float(), camera_indices=views, camera=camera)

    def project(
        self, camera_indices: Int[Tensor, "*b"], points: Float[Tensor, "*b 3"]
    ) -> tuple[Float[Tensor, "*b 2"], Float[Tensor, "*b"]]:
        """World points to image positions.

        Args:
            camera_indices: the view of each point; broadcasts against the points' batch.
            points: world coordinates.

        Returns:
            Pixels x and y, and depth along the optical axis in world units, in the points' precision. Depth <= 0 is
            behind the camera (its pixels mean nothing, except for a fisheye). Points beyond the range of a distortion
            polynomial, where it would fold them back into the picture, keep their undistorted position.
        """
        batch = torch.broadcast_shapes(camera_indices.shape, points.shape[:-1])
        flat = points.expand(*batch, 3).reshape(-1, 3).to(self.focal)
        if camera_indices.numel() == 1:
            # One view for all points: its numbers broadcast, nothing is gathered a point.
            index = camera_indices.reshape(1).to(self.focal.device)
            local = (flat - self.camera_to_world[index, :, 3]) @ self.camera_to_world[index[0], :, :3]
        else:
            index = camera_indices.expand(batch).reshape(-1).to(self.focal.device)
            pose = self.camera_to_world.index_select(0, index)
            local = torch.einsum("nji,nj->ni", pose[:, :, :3], flat - pose[:, :, 3])
        depth = local[:, 2]
        image = self._image_positions(index, local)
        pixels = image * self.focal[index] + self.center[index]
        if self.skewed:
            pixels = torch.stack([pixels[:, 0] + self.skew[index] * image[:, 1], pixels[:, 1]], dim=-1)
        return pixels.reshape(*batch, 2).to(points.dtype), depth.reshape(batch).to(points.dtype)

    def linearised(
        self, points: Float[Tensor, "P 3"], margin: float = _LINEAR_MARGIN, around_axis: bool = False
    ) -> tuple[Float[Tensor, "P 2"], Float[Tensor, "P"], Float[Tensor, "P 2 3"]]:
        """Image positions in the one view of this batch, and how they follow points; differentiable in the pose, too.

        Args:
            points: world coordinates.
            margin: share of the picture's half size beyond its border from where on a perspective picture's Jacobian
                stays as it is (0.3 as in 3D Gaussian splatting): far out it says nothing about what is nearer.
            around_axis: count that from the optical axis, as if the picture's middle lay there.

        Returns:
            Pixels, depth (along the optical axis; for a fisheye the distance from the camera) and the Jacobian of
            pixels by world coordinates, in the points' precision. Where depth is not above 0 the others mean nothing,
            but they are finite.

        Raises:
            UsageError: the batch has not just one view.
        """
        if len(self) != 1:
            raise UsageError(f"A projection is linearised for one view, but the batch has {len(self)}.")
        rotation, position = self.camera_to_world[0, :, :3].to(points), self.camera_to_world[0, :, 3].to(points)
        offsets = points - position
        local = offsets @ rotation
        ahead = local[:, 2:] > 0
        if bool(self.fisheye):
            # one sees behind itself, too, but for straight back
            ahead = ahead | (local[:, :2].square().sum(-1, keepdim=True) > NEAR_AXIS * local[:, 2:].square())
        local = torch.where(ahead, local, torch.ones_like(local))
        scaled = self.focal[0].to(points)
        if bool(self.fisheye):
            plane, slopes = fisheye_linear(local, self.distortion.to(points))
            depth = torch.where(ahead[:, 0], local.norm(dim=-1), 0.0)
        else:
            plane, depth = local[:, :2] / local[:, 2:], torch.where(ahead[:, 0], local[:, 2], 0.0)
            half = 0.5 * torch.stack([self.width[0], self.height[0]]).to(scaled) / scaled
            middle = torch.zeros_like(half) if around_axis else half - self.center[0].to(points) / scaled
            held = torch.maximum(torch.minimum(plane, middle + (1 + margin) * half), middle - (1 + margin) * half)
            slopes = plane_slopes(held, local[:, 2])
            if self.distorted:
                plane, bends = brown_linear(
                    plane, held, torch.cat([self.distortion, self.radial8[:, None]], 1).to(points)
                )
                slopes = bends @ slopes
        pixels = plane * scaled + self.center[0].to(points)
        jacobians = slopes * scaled[:, None]
        if self.skewed:
            skew = self.skew[0].to(points)
            pixels = torch.stack([pixels[:, 0] + skew * plane[:, 1], pixels[:, 1]], dim=-1)
            jacobians = torch.stack([jacobians[:, 0] + skew * slopes[:, 1], jacobians[:, 1]], dim=1)
        return pixels, depth, jacobians @ rotation.mT

    def cropped(self, left: int, top: int, width: int, height: int) -> Cameras:
        """The same views on a window of their pictures, which must lie inside them."""
        return replace(
            self,
            center=self.center - self.center.new_tensor([left, top]),
            width=torch.full_like(self.width, width),
            height=torch.full_like(self.height, height),
        )

    def resized(self, width: int | Tensor, height: int | Tensor) -> Cameras:
        """The same views on images resampled to a new size; each axis scales by its own exact factor.

        Raises:
            UsageError: a size below one pixel.
        """
        new_width = torch.as_tensor(width, dtype=torch.int64, device=self.width.device).expand(len(self)).clone()
        new_height = torch.as_tensor(height, dtype=torch.int64, device=self.width.device).expand(len(self)).clone()
        if len(self) and int(torch.minimum(new_width, new_height).min()) < 1:
            raise UsageError(f"Images of {width} x {height} pixels have no pixel; ask for at least 1 x 1.")
        new, old = torch.stack([new_width, new_height], -1), torch.stack([self.width, self.height], -1)
        factor = new.double() / old.double()
        return replace(
            self,
            focal=self.focal * factor,
            center=self.center * factor,
            width=new_width,
            height=new_height,
            skew=self.skew * factor[:, 0],
        )

    def scaled(self, factor: float) -> Cameras:
        """`resized` to sizes multiplied by ``factor`` and rounded, at least one pixel."""
        sizes = [torch.clamp((side * factor).round().long(), min=1) for side in (self.width, self.height)]
        return self.resized(*sizes)

    def _camera_directions(self, index: Tensor, image: Tensor) -> Tensor:
        """Directions in camera axes (any length) for distorted positions on the plane z = 1."""
        if not self.distorted:
            return torch.cat([image, torch.ones_like(image[:, :1])], dim=-1)
        # Columns, not rows, lie together in memory: each coefficient is read as one run.
        columns = (*self.distortion.unbind(-1), self.radial8)
        coefficients = torch.stack([column.index_select(0, index) for column in columns]).T
        if not bool(self.fisheye.any()):
            return brown_directions(image, coefficients)
        if bool(self.fisheye.all()):
            return fisheye_directions(image, coefficients)
        # Each model gets the other's rays without coefficients, so that no polynomial meets foreign numbers.
        chosen = self.fisheye.index_select(0, index).unsqueeze(-1)
        brown = brown_directions(image, coefficients.masked_fill(chosen, 0.0))
        fisheye = fisheye_directions(image, coefficients.masked_fill(~chosen, 0.0))
        return torch.where(chosen, fisheye, brown)

    def _image_positions(self, index: Tensor, local: Tensor) -> Tensor:
        """Distorted positions on the plane z = 1 for points in camera axes."""
        fisheye = self.fisheye[index].unsqueeze(-1)
        # A depth of zero has no position: it becomes infinite rather than an error. A fisheye's has one.
        plane = local[:, :2] / torch.where(fisheye, 1.0, local[:, 2:])
        if not self.distorted:
            return plane
        coefficients = torch.cat([self.distortion[index], self.radial8[index, None]], dim=-1)
        positions = brown_positions(plane, coefficients)
        if bool(self.fisheye.any()):
            positions = torch.where(fisheye, fisheye_positions(local, coefficients), positions)
        return positions

    @property
    def distorted(self) -> bool:
        """True when any view is a fisheye or has a distortion coefficient other than zero."""
        return bool(self.fisheye.any()) or bool((self.distortion != 0).any()) or bool((self.radial8 != 0).any())

    @property
    def skewed(self) -> bool:
        """True when any view has skewed pixels."""
        return bool((self.skew != 0).any())


@dataclass(frozen=True)
class Picture(Rays):
    """The rays through all pixels of one view, row by row from the top left, with the view itself.

    Attributes:
        camera: the view, or the part of it that is looked at; a batch of one.
    """

    camera: Cameras | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.camera is None or len(self.camera) != 1 or len(self) != self.shape[0] * self.shape[1]:
            raise UsageError("A picture needs its one camera, and a ray for each of its pixels.")

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return int(self.camera.height), int(self.camera.width)

    def detach(self) -> Picture:
        """The same rays and camera without a gradient to whatever moved them."""
        pose = self.camera.camera_to_world.detach()
        return replace(
            self,
            origins=self.origins.detach(),
            directions=self.directions.detach(),
            camera=replace(self.camera, camera_to_world=pose),
        )

    def to(self, device: torch.device | str) -> Picture:
        """The same rays and camera on another device."""
        return Picture(**vars(super().to(device)), camera=self.camera.to(device))
