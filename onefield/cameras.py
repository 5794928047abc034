"""Cameras: pixels to rays and points to pixels, with lens distortion.

OpenCV axes (x right, y down, z forward), camera-to-world poses, pixel centres at +0.5. Poses and intrinsics are
float64, so that scenes far from the origin and long focal lengths keep their digits; rays come out as float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from onefield.errors import UsageError
from onefield.types import Rays

# Quadratic convergence: from the distorted point as the first guess, real lenses need 3 to 5 rounds for 1e-12.
_NEWTON_ROUNDS = 10
# After a step below this (normalised image coordinates) the next error is about its square: nothing is left to gain.
_CONVERGED = 1e-5
# One Newton step moves at most this far in normalised image coordinates (45 degrees of field), so that a pixel beyond
# the range of the distortion polynomial ends at a finite ray.
_LARGEST_STEP = 1.0
# Determinants below this mean that the polynomial folds; a step there would have no direction.
_SMALLEST_DETERMINANT = 1e-9
# Squared image radii below this are the fisheye's axis, where the direction is (0, 0, 1).
_ON_AXIS = 1e-24


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
        """Cameras without distortion; one focal length, ``(fx, fy)``, centre or size holds for all views."""
        poses = torch.as_tensor(camera_to_world, dtype=torch.float64)
        count, device = poses.shape[0], poses.device
        return Cameras(
            poses,
            torch.as_tensor(focal, dtype=torch.float64, device=device).expand(count, 2).clone(),
            torch.as_tensor(center, dtype=torch.float64, device=device).expand(count, 2).clone(),
            torch.as_tensor(width, dtype=torch.int64, device=device).expand(count).clone(),
            torch.as_tensor(height, dtype=torch.int64, device=device).expand(count).clone(),
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
        """A batch with the selected views; an int gives a batch of one.

        Raises:
            UsageError: an int outside the batch.
        """
        if isinstance(selection, int):
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

    def image_rays(self, index: int) -> Rays:
        """Rays through all pixel centres of one view, row by row from the top left.

        Raises:
            UsageError: there is no such view.
        """
        camera = self[index]
        device = self.focal.device
        rows = torch.arange(int(camera.height), dtype=torch.float64, device=device) + 0.5
        columns = torch.arange(int(camera.width), dtype=torch.float64, device=device) + 0.5
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        pixels = torch.stack([x.reshape(-1), y.reshape(-1)], dim=-1)
        views = torch.full((pixels.shape[0],), index % len(self), dtype=torch.int64, device=device)
        return self.rays(views, pixels)

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
            return _brown_directions(image, coefficients)
        if bool(self.fisheye.all()):
            return _fisheye_directions(image, coefficients)
        # Each model gets the other's rays without coefficients, so that no polynomial meets foreign numbers.
        chosen = self.fisheye.index_select(0, index).unsqueeze(-1)
        brown = _brown_directions(image, coefficients.masked_fill(chosen, 0.0))
        fisheye = _fisheye_directions(image, coefficients.masked_fill(~chosen, 0.0))
        return torch.where(chosen, fisheye, brown)

    def _image_positions(self, index: Tensor, local: Tensor) -> Tensor:
        """Distorted positions on the plane z = 1 for points in camera axes."""
        # A depth of zero has no position: it becomes infinite rather than an error.
        plane = local[:, :2] / local[:, 2:]
        if not self.distorted:
            return plane
        coefficients = torch.cat([self.distortion[index], self.radial8[index, None]], dim=-1)
        positions = _distort_without_folding(plane, coefficients)
        if bool(self.fisheye.any()):
            chosen = self.fisheye[index].unsqueeze(-1)
            positions = torch.where(chosen, _fisheye_positions(local, coefficients), positions)
        return positions

    @property
    def distorted(self) -> bool:
        """True when any view is a fisheye or has a distortion coefficient other than zero."""
        return bool(self.fisheye.any()) or bool((self.distortion != 0).any()) or bool((self.radial8 != 0).any())

    @property
    def skewed(self) -> bool:
        """True when any view has skewed pixels."""
        return bool((self.skew != 0).any())


def _distort(plane: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Brown-Conrady with a rational radial part: distorted x and y, and the derivatives dx/dx, dx/dy = dy/dx, dy/dy.

    OpenCV's camera model, https://docs.opencv.org/4.x/d9/d0c/group__calib3d.html, with one more radial coefficient.
    """
    x, y = plane.unbind(-1)
    k1, k2, p1, p2, k3, k4, k5, k6, radial8 = coefficients.unbind(-1)
    xx, yy, xy = x * x, y * y, x * y
    r2 = xx + yy
    numerator = 1 + r2 * (k1 + r2 * (k2 + r2 * (k3 + r2 * radial8)))
    denominator = 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
    radial = numerator / denominator
    numerator_slope = k1 + r2 * (2 * k2 + r2 * (3 * k3 + r2 * 4 * radial8))
    denominator_slope = k4 + r2 * (2 * k5 + r2 * 3 * k6)
    slope2 = 2 * (numerator_slope - radial * denominator_slope) / denominator
    u = x * radial + 2 * p1 * xy + p2 * (r2 + 2 * xx)
    v = y * radial + p1 * (r2 + 2 * yy) + 2 * p2 * xy
    du_dx = radial + xx * slope2 + 2 * p1 * y + 6 * p2 * x
    dv_dy = radial + yy * slope2 + 6 * p1 * y + 2 * p2 * x
    cross = xy * slope2 + 2 * p1 * x + 2 * p2 * y
    return u, v, du_dx, cross, dv_dy


def _distort_without_folding(plane: Tensor, coefficients: Tensor) -> Tensor:
    u, v, du_dx, cross, dv_dy = _distort(plane, coefficients)
    folded = (du_dx * dv_dy - cross * cross <= 0) | (du_dx + dv_dy <= 0)
    return torch.where(folded.unsqueeze(-1), plane, torch.stack([u, v], dim=-1))


def _brown_directions(image: Tensor, coefficients: Tensor) -> Tensor:
    """Newton's method on `_distort`."""
    plane = image
    for _ in range(_NEWTON_ROUNDS):
        u, v, a, b, c = _distort(plane, coefficients)
        error_u, error_v = image[:, 0] - u, image[:, 1] - v
        determinant = a * c - b * b
        usable = determinant.abs() > _SMALLEST_DETERMINANT
        safe = torch.where(usable, determinant, torch.ones_like(determinant))
        step = torch.stack([c * error_u - b * error_v, a * error_v - b * error_u], dim=-1) / safe.unsqueeze(-1)
        step = torch.where(usable.unsqueeze(-1), step, torch.zeros_like(step))
        step = torch.nan_to_num(step).clamp(-_LARGEST_STEP, _LARGEST_STEP)
        plane = plane + step
        if bool((step.abs() < _CONVERGED).all()):
            break
    return torch.cat([plane, torch.ones_like(plane[:, :1])], dim=-1)


def _fisheye_angle(theta: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor]:
    """Kannala-Brandt: distorted radius for an angle from the axis (radians), and its derivative."""
    k1, k2, k3, k4 = coefficients[:, :4].unbind(-1)
    t2 = theta * theta
    radius = theta * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))))
    slope = 1 + t2 * (3 * k1 + t2 * (5 * k2 + t2 * (7 * k3 + t2 * 9 * k4)))
    return radius, slope


def _fisheye_directions(image: Tensor, coefficients: Tensor) -> Tensor:
    radius2 = (image * image).sum(-1)
    off_axis = radius2 > _ON_AXIS
    target = torch.where(off_axis, radius2, torch.ones_like(radius2)).sqrt()
    theta = target.clamp(max=torch.pi)
    for _ in range(_NEWTON_ROUNDS):
        radius, slope = _fisheye_angle(theta, coefficients)
        usable = slope.abs() > _SMALLEST_DETERMINANT
        step = torch.where(usable, (target - radius) / torch.where(usable, slope, torch.ones_like(slope)), 0.0)
        step = torch.nan_to_num(step).clamp(-_LARGEST_STEP, _LARGEST_STEP)
        theta = (theta + step).clamp(0, torch.pi)
        if bool((step.abs() < _CONVERGED).all()):
            break
    sideways = image * (theta.sin() / target).unsqueeze(-1)
    directions = torch.cat([sideways, theta.cos().unsqueeze(-1)], dim=-1)
    return torch.where(off_axis.unsqueeze(-1), directions, directions.new_tensor([0.0, 0.0, 1.0]))


def _fisheye_positions(local: Tensor, coefficients: Tensor) -> Tensor:
    radius2 = (local[:, :2] * local[:, :2]).sum(-1)
    off_axis = radius2 > _ON_AXIS
    radius = torch.where(off_axis, radius2, torch.ones_like(radius2)).sqrt()
    distorted, _ = _fisheye_angle(torch.atan2(radius, local[:, 2]), coefficients)
    positions = local[:, :2] * (distorted / radius).unsqueeze(-1)
    return torch.where(off_axis.unsqueeze(-1), positions, torch.zeros_like(positions))
