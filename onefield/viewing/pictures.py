"""What a window shows of a field: colour, depth, normals or opacity, painted row by row."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from onefield.cameras import Cameras
from onefield.data.scene import Scene
from onefield.renderers.sampling.intervals import ray_limits
from onefield.training.method import Method
from onefield.types import Bounds, Rays, RenderedImage

Quantity = Literal["color", "depth", "normal", "opacity"]
QUANTITIES: tuple[Quantity, ...] = ("color", "depth", "normal", "opacity")

# Five colours from near to far, even steps in lightness, so that depth reads in grey as well.
_NEAR_TO_FAR = np.array([[253, 231, 37], [94, 201, 98], [33, 145, 140], [59, 82, 139], [68, 1, 84]]) / 255
# Depths outside these quantiles of what was hit take the end colours: a few stray points must not set the scale.
_DEPTH_QUANTILES = (0.02, 0.98)
# Side of the picture that is painted for its own sake.
_WARM_UP_PIXELS = 8
# Less covered pixels hide nothing that the browser draws.
_HIDING = 0.5
# The farthest depth, in scene units, that the page can compare with what it draws (24 bits of 1e-5).
FARTHEST = 167.0


@dataclass(frozen=True, eq=False)
class View:
    """A window's camera.

    Attributes:
        pose: camera-to-world in the scene's frame, OpenCV axes, float64.
        vertical_fov: radians.
        width, height: of the window in pixels.
    """

    pose: Float[np.ndarray, "3 4"]
    vertical_fov: float
    width: int
    height: int

    def camera(self, size: tuple[int, int], rows: slice) -> Cameras:
        """The camera of some rows of the view's picture of a size (width, height)."""
        width, height = size
        focal = height / 2 / math.tan(self.vertical_fov / 2)
        pose = torch.from_numpy(np.ascontiguousarray(self.pose, dtype=np.float64))
        return Cameras.pinhole(pose[None], focal, (width / 2, height / 2 - rows.start), width, rows.stop - rows.start)


class Painter(Protocol):
    """What can be looked at in a window."""

    def paint(self, camera: Cameras, quantity: Quantity, crop: Bounds | None) -> RenderedImage:
        """Renders one camera; ``RenderedImage.normal`` is filled where that is the quantity."""
        ...


class FieldPainter:
    """A method's field as its renderer sees it."""

    def __init__(self, method: Method, scene: Scene) -> None:
        """Looks at the field as it is at each call, trained or still in training."""
        self.method = method
        self.scene = scene

    def warm_up(self) -> None:
        """Paints a few pixels: the first use of a machine compiles kernels, which no browser should wait for."""
        first = self.scene.cameras.to("cpu")[0].resized(_WARM_UP_PIXELS, _WARM_UP_PIXELS)
        self.paint(first, "color", None)

    def paint(self, camera: Cameras, quantity: Quantity, crop: Bounds | None) -> RenderedImage:
        """See `Painter`; what lies outside the crop (scene frame) is left out."""

        def limits(rays: Rays) -> Rays:
            limited = self.scene.limited(rays, camera)
            if crop is None:
                return limited
            near, far = ray_limits(limited, crop)
            return replace(limited, near=near, far=far)

        return self.method.renderer.render_image(
            self.method.field, camera, 0, normals=quantity == "normal", limits=limits
        )


class Picture:
    """A picture of a view that grows from the top."""

    def __init__(self, view: View, size: tuple[int, int], quantity: Quantity, crop: Bounds | None) -> None:
        """Begins an empty picture.

        Args:
            size: width and height in pixels.
            crop: box of the scene's frame outside which nothing is shown.
        """
        self.view = view
        self.size = size
        self.quantity: Quantity = quantity
        self.crop = crop
        self._parts: list[RenderedImage] = []
        self._rows = 0

    @property
    def done(self) -> bool:
        return self._rows == self.size[1]

    def paint_rows(self, painter: Painter, most: int) -> int:
        """Paints up to so many rows more and returns how many pixels that were."""
        rows = slice(self._rows, min(self.size[1], self._rows + max(1, most)))
        self._parts.append(painter.paint(self.view.camera(self.size, rows), self.quantity, self.crop))
        self._rows = rows.stop
        return (rows.stop - rows.start) * self.size[0]

    def colors(self) -> UInt8[np.ndarray, "H W 3"]:
        """What to show."""
        if self.quantity == "color":
            shown = _together([part.color for part in self._parts])
        elif self.quantity == "opacity":
            shown = self._opacity()[..., None].repeat(3, axis=-1)
        elif self.quantity == "normal":
            normal = _together([part.normal for part in self._parts if part.normal is not None])
            opacity = self._opacity()[..., None]
            shown = opacity * (normal + 1) / 2 + (1 - opacity)
        else:
            shown = depth_colors(_together([part.depth for part in self._parts]), self._opacity())
        return (np.clip(shown, 0, 1) * 255 + 0.5).astype(np.uint8)

    def hiding_depth(self) -> Float[np.ndarray, "H W"]:
        """Depth along the optical axis of what hides things behind it, `FARTHEST` elsewhere."""
        distance = _together([part.depth for part in self._parts])
        width, height = self.size
        focal = height / 2 / math.tan(self.view.vertical_fov / 2)
        x = (np.arange(width) + 0.5 - width / 2) / focal
        y = (np.arange(height) + 0.5 - height / 2) / focal
        depth = distance / np.sqrt(1 + x[None, :] ** 2 + y[:, None] ** 2)
        return np.where(self._opacity() > _HIDING, np.minimum(depth, FARTHEST), FARTHEST)

    def _opacity(self) -> Float[np.ndarray, "H W"]:
        return _together([part.opacity for part in self._parts])


def depth_colors(depth: Float[np.ndarray, "H W"], opacity: Float[np.ndarray, "H W"]) -> Float[np.ndarray, "H W 3"]:
    """Yellow where near, violet where far, white where nothing is, on the picture's own scale."""
    hit = depth[opacity > _HIDING]
    low, high = np.quantile(hit, _DEPTH_QUANTILES) if len(hit) else (0.0, 1.0)
    share = np.clip((depth - low) / max(high - low, np.finfo(np.float32).eps), 0, 1)
    places = np.linspace(0, 1, len(_NEAR_TO_FAR))
    painted = np.stack([np.interp(share, places, channel) for channel in _NEAR_TO_FAR.T], axis=-1)
    return opacity[..., None] * painted + (1 - opacity[..., None])


def _together(parts: list[Tensor]) -> np.ndarray:
    return torch.cat(parts).cpu().numpy()
