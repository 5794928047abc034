"""What implementations of splatting do differently, by name, so that comparisons are like with like.

All project, sort and blend alike (Kerbl et al. (2023)) and leave out what is below 1/255 at a pixel; they differ in the
numbers of `School`. Radii of gsplat (3.33 standard deviations, or as far as 1/255 reaches) cut nothing off that 1/255
would keep, so they are no number here; INRIA's 3 do.
"""

from __future__ import annotations

from dataclasses import dataclass

from onefield.kernels.gaussian_blending import MAX_ALPHA
from onefield.kernels.gaussian_footprints import LEAST_COMPENSATION


@dataclass(frozen=True)
class School:
    """The numbers of one implementation of splatting.

    Attributes:
        near: depth up to which Gaussians are left out, in the units of the set.
        max_alpha: upper bound of a Gaussian's opacity at a pixel.
        low_pass: added to the variances of footprints, pixels squared.
        antialiased: make footprints as much fainter as the low-pass term makes them larger (Mip-Splatting).
        least_compensation: lower bound of the factor that does so.
        deviations: standard deviations along the longest axis of a footprint that make half the edge of a square, in
            whose tiles alone it is drawn; None draws it wherever it shows.
        around_axis: hold Jacobians from 1.3 times half the picture's size around the optical axis on, as if the
            principal point were the picture's middle, rather than around that middle.
    """

    near: float = 0.01
    max_alpha: float = MAX_ALPHA
    low_pass: float = 0.3
    antialiased: bool = False
    least_compensation: float = LEAST_COMPENSATION
    deviations: float | None = None
    around_axis: bool = False


ONEFIELD = School()

SCHOOLS = {
    "onefield": ONEFIELD,
    # graphdeco-inria/diff-gaussian-rasterization
    "inria": School(near=0.2, deviations=3.0, around_axis=True),
    # nerfstudio-project/gsplat since 1.6
    "gsplat": School(),
    "gsplat-1.5.3": School(max_alpha=0.999, least_compensation=0.0),
    # autonomousvision/mip-splatting: there the root has 1e-6 added to it, where here it is a bound
    "mip-splatting": School(
        near=0.2, low_pass=0.1, antialiased=True, least_compensation=0.001, deviations=3.0, around_axis=True
    ),
}
"""Every school by its name."""
