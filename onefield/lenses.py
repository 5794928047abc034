"""Lens models: how positions on the plane z = 1 of a camera are bent, back, and to first order.

Positions and points are batches in rows; coefficients are in the order of `onefield.cameras.Cameras.distortion`, with
`radial8` as a ninth of Brown and Conrady's.
"""

from __future__ import annotations

import torch
from torch import Tensor

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
# Squared tangents below this are near enough to a fisheye's axis to be on it: the difference is a millionth.
NEAR_AXIS = 1e-6


def brown_slopes(plane: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
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


def brown_positions(plane: Tensor, coefficients: Tensor) -> Tensor:
    """Distorted positions; those that the polynomial would fold back into the picture stay where they are."""
    u, v, du_dx, cross, dv_dy = brown_slopes(plane, coefficients)
    folded = (du_dx * dv_dy - cross * cross <= 0) | (du_dx + dv_dy <= 0)
    return torch.where(folded.unsqueeze(-1), plane, torch.stack([u, v], dim=-1))


def brown_directions(image: Tensor, coefficients: Tensor) -> Tensor:
    """Directions in camera axes of distorted positions, by Newton's method on `brown_slopes`."""
    plane = image
    for _ in range(_NEWTON_ROUNDS):
        u, v, a, b, c = brown_slopes(plane, coefficients)
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


def fisheye_directions(image: Tensor, coefficients: Tensor) -> Tensor:
    """Directions in camera axes of Kannala-Brandt positions, by Newton's method."""
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


def fisheye_positions(local: Tensor, coefficients: Tensor) -> Tensor:
    """Kannala-Brandt positions of points in camera axes."""
    radius2 = (local[:, :2] * local[:, :2]).sum(-1)
    off_axis = radius2 > _ON_AXIS
    radius = torch.where(off_axis, radius2, torch.ones_like(radius2)).sqrt()
    distorted, _ = _fisheye_angle(torch.atan2(radius, local[:, 2]), coefficients)
    positions = local[:, :2] * (distorted / radius).unsqueeze(-1)
    return torch.where(off_axis.unsqueeze(-1), positions, torch.zeros_like(positions))


def plane_slopes(plane: Tensor, depth: Tensor) -> Tensor:
    """Jacobian of x / z and y / z by x, y and z, at given quotients."""
    inverse = 1 / depth
    zero = torch.zeros_like(inverse)
    rows = ((inverse, zero, -plane[:, 0] * inverse), (zero, inverse, -plane[:, 1] * inverse))
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=1)


def brown_linear(plane: Tensor, held: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor]:
    """Brown-Conrady distortion of positions, and its Jacobian at others; none where it would fold."""
    coefficients = coefficients.expand(len(plane), -1)
    _, _, a, b, c = brown_slopes(held, coefficients)
    bends = torch.stack([torch.stack([a, b], dim=-1), torch.stack([b, c], dim=-1)], dim=1)
    folded = (a * c - b * b <= 0) | (a + c <= 0)
    straight = torch.eye(2, dtype=plane.dtype, device=plane.device)
    return brown_positions(plane, coefficients), torch.where(folded[:, None, None], straight, bends)


def fisheye_linear(local: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor]:
    """Kannala-Brandt positions of points in camera axes, and their Jacobian."""
    x, y, z = local.unbind(-1)
    radius2 = x * x + y * y
    # near the axis the picture is a perspective one to second order, and quotients by the radius lose their digits
    on_axis = radius2 <= NEAR_AXIS * z * z
    radius = torch.where(on_axis, torch.ones_like(radius2), radius2).sqrt()
    distorted, slope = _fisheye_angle(torch.atan2(radius, z), coefficients.expand(len(local), -1))
    distance2 = radius * radius + z * z
    stretch = distorted / radius
    by_radius = (slope * z / distance2 - stretch) / (radius * radius)
    by_depth = -slope / distance2
    rows = (
        (stretch + x * x * by_radius, x * y * by_radius, x * by_depth),
        (x * y * by_radius, stretch + y * y * by_radius, y * by_depth),
    )
    bent = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=1)
    # elsewhere z may be 0, and what isn't chosen must have a gradient, too
    ahead = torch.where(on_axis, z, torch.ones_like(z))
    plane = local[:, :2] / ahead[:, None]
    positions = torch.where(on_axis[:, None], plane, local[:, :2] * stretch[:, None])
    return positions, torch.where(on_axis[:, None, None], plane_slopes(plane, ahead), bent)
