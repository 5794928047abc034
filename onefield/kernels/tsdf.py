"""Fusion of depth pictures into a truncated signed distance volume: contract and PyTorch reference.

Source: Curless and Levoy, "A volumetric method for building complex models from range images" (1996). A corner x of the
grid at distance r from a camera, on the ray of a pixel of depth D and confidence c, is ``d = D - r`` in front of what
the camera sees there. Sums over the views give the fused distance ``D(x) = sum w d / sum w`` and its weight
``W(x) = sum w`` (equations 1 and 2), with d in units of the truncation and cut at 1. In front of the surface ``w = c``,
however far, so that what is seen through is carved; behind it w falls linearly to 0 at one truncation, so that opposite
sides of thin things do not meet; farther behind nothing is known and nothing is added.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.errors import UsageError
from onefield.kernels.dispatch import Operation


def _taps(
    position: Tensor, pictures: tuple[Tensor, Tensor, Tensor], truncation: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Depth, confidence and colour at image positions (in pixels from the first pixel's centre) inside the picture.

    Between four pixels of one surface depth and colour are interpolated; elsewhere, as at outlines, the nearest counts.
    """
    depth, confidence, picture = pictures
    last = position.new_tensor([depth.shape[1] - 1, depth.shape[0] - 1])
    nearest = (position + 0.5).floor().minimum(last).long()
    column, row = nearest.unbind(-1)
    before = position.floor()
    share = position - before
    low, high = before.clamp(min=0).long(), (before + 1).minimum(last).long()
    corners = [(y[:, 1], x[:, 0]) for y in (low, high) for x in (low, high)]
    depths = torch.stack([depth[corner].double() for corner in corners])
    known = torch.stack([confidence[corner] > 0 for corner in corners]).all(0)
    smooth = known & (depths.amax(0) - depths.amin(0) <= truncation)
    across, down = share[:, 0], share[:, 1]
    shares = torch.stack([(1 - down) * (1 - across), (1 - down) * across, down * (1 - across), down * across])
    blended = (shares * depths.nan_to_num()).sum(0)
    color = picture.new_empty(len(position), 0, dtype=torch.float64)
    if picture.numel():
        mixed = sum(part[:, None] * picture[corner].double() for part, corner in zip(shares, corners, strict=True))
        color = torch.where(smooth[:, None], mixed, picture[row, column].double())
    return torch.where(smooth, blended, depth[row, column].double()), confidence[row, column].double(), color


def _reference(
    distances: Tensor,
    weights: Tensor,
    colors: Tensor,
    depth: Tensor,
    confidence: Tensor,
    picture: Tensor,
    to_camera: Sequence[float],
    intrinsics: Sequence[float],
    truncation: float,
) -> None:
    """See `integrate_depth`; one layer of corners along x at a time, in float64."""
    matrix = torch.tensor(to_camera, dtype=torch.float64, device=depth.device).reshape(3, 4)
    focal, center = torch.tensor(intrinsics, dtype=torch.float64, device=depth.device).reshape(2, 2)
    size = center.new_tensor([depth.shape[1], depth.shape[0]])
    y, z = (torch.arange(count, dtype=torch.float64, device=depth.device) for count in distances.shape[1:])
    layer = torch.stack(torch.meshgrid(y, z, indexing="ij"), dim=-1).reshape(-1, 2) @ matrix[:, 1:3].T + matrix[:, 3]
    for x in range(distances.shape[0]):
        local = layer + x * matrix[:, 0]
        position = local[:, :2] / local[:, 2:] * focal + center - 0.5
        inside = (local[:, 2] > 0) & ((position >= -0.5) & (position < size - 0.5)).all(-1)
        at = inside.nonzero()[:, 0]
        seen, trust, color = _taps(position[at], (depth, confidence, picture), truncation)
        ahead = (seen - local[at].norm(dim=-1)) / truncation
        told = (trust > 0) & (ahead > -1)
        at, ahead, trust, color = at[told], ahead[told], trust[told], color[told]
        weight = trust * (1 + ahead.clamp(max=0))
        distances[x].view(-1)[at] += (weight * ahead.clamp(max=1)).to(distances.dtype)
        weights[x].view(-1)[at] += weight.to(weights.dtype)
        if colors.numel():
            near = trust * (1 - ahead.abs()).clamp(min=0)
            colors[x].view(-1, 4)[at] += torch.cat([near[:, None] * color, near[:, None]], dim=1).to(colors.dtype)


_operation = Operation(
    name="integrate_depth",
    schema=(
        "(Tensor(a!) distances, Tensor(b!) weights, Tensor(c!) colors, Tensor depth, Tensor confidence, "
        "Tensor picture, float[] to_camera, float[] intrinsics, float truncation) -> ()"
    ),
    reference=_reference,
    fake=lambda *_: None,
    cpu="onefield.kernels.cpu.tsdf:integrate_depth",
    cuda="onefield.kernels.cuda.tsdf:integrate_depth",
    mutates=("distances", "weights", "colors"),
)


def integrate_depth(
    distances: Float[Tensor, "X Y Z"],
    weights: Float[Tensor, "X Y Z"],
    colors: Float[Tensor, "X Y Z 4"] | None,
    depth: Float[Tensor, "H W"],
    confidence: Float[Tensor, "H W"],
    picture: Float[Tensor, "H W 3"] | None,
    to_camera: Float[Tensor, "3 4"],
    intrinsics: Sequence[float],
    truncation: float,
) -> None:
    """Adds one pinhole view to the sums of a volume, in place; deterministic and not differentiable.

    Args:
        distances: sums of ``w d``, d in units of the truncation, positive in front of the surface; start with zeros.
        weights: sums of ``w``; 0 where no view has told anything.
        colors: sums of ``w' color`` and, last, of ``w'``, where w' is the confidence and falls linearly to 0 at one
            truncation on either side of the surface; None leaves colours out.
        depth: distance along the ray (not along z), in the camera's unit; infinite where nothing is met, so that the
            whole ray is free; NaN where unknown.
        confidence: weight of each pixel, >= 0; 0 tells nothing.
        picture: colours; None together with ``colors``.
        to_camera: from index coordinates of the grid's corners to camera coordinates (x right, y down, z forward).
        intrinsics: focal lengths x and y and principal point x and y, pixels; pixel centres lie at +0.5.
        truncation: in the camera's unit, > 0.

    Raises:
        UsageError: shapes or types do not fit, or the truncation is not positive.
    """
    _check(distances, weights, colors, depth, confidence, picture)
    if to_camera.shape != (3, 4) or len(intrinsics) != 4 or not 0 < truncation < float("inf"):
        raise UsageError(
            f"Fusion needs a 3 x 4 matrix, four intrinsics and a positive truncation, got {tuple(to_camera.shape)}, "
            f"{len(intrinsics)} and {truncation}."
        )
    numbers = [float(value) for value in to_camera.double().flatten()], [float(value) for value in intrinsics]
    empty = depth.new_empty(0)
    _operation(
        distances,
        weights,
        empty if colors is None else colors,
        depth.detach().contiguous(),
        confidence.detach().contiguous(),
        empty if picture is None else picture.detach().contiguous(),
        *numbers,
        float(truncation),
    )


def _check(
    distances: Tensor,
    weights: Tensor,
    colors: Tensor | None,
    depth: Tensor,
    confidence: Tensor,
    picture: Tensor | None,
) -> None:
    volume, image = tuple(distances.shape), tuple(depth.shape)
    expected = {"weights": (weights, volume), "confidence": (confidence, image)}
    if colors is not None or picture is not None:
        expected |= {"colors": (colors, (*volume, 4)), "picture": (picture, (*image, 3))}
    for name, (tensor, shape) in expected.items():
        found = None if tensor is None else tuple(tensor.shape)
        if found != shape:
            raise UsageError(f"Fusion of a picture {image} into a volume {volume} needs {name} {shape}, got {found}.")
    if len(volume) != 3 or len(image) != 2 or min(image) < 1:
        raise UsageError(f"Fusion needs a volume with three axes and a picture with two, got {volume} and {image}.")
    held = [tensor for tensor in (distances, weights, colors) if tensor is not None]
    if not all(tensor.is_contiguous() for tensor in held):
        raise UsageError("Fusion changes the volume in place and needs it contiguous.")
    kinds = {tensor.dtype for tensor in (*held, depth, confidence, picture) if tensor is not None}
    if len(kinds) != 1 or not depth.is_floating_point():
        raise UsageError(f"Fusion needs a volume and pictures of one floating-point type, got {kinds}.")
