"""A set of Gaussians as a field: 3D Gaussian splatting's parameters, with density and colour at every point.

Source of the parameters and of how they start: Kerbl et al., "3D Gaussian splatting for real-time radiance field
rendering" (2023). Density and colour in space are sums over Gaussians as in Blanc et al., "RayGauss" (2025), with
amplitudes that follow from the splats' opacities.
"""

from __future__ import annotations

import math
from typing import Protocol, final, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from onefield.errors import DataError, UsageError
from onefield.fields.field import Field
from onefield.fields.gaussian_sets import check_numbers
from onefield.fields.lobes import first_lobes, without_lobes
from onefield.kernels.gaussian_footprints import rotations
from onefield.kernels.gaussian_mixture import gaussian_mixture
from onefield.kernels.harmonic_colors import MOST_DEGREE, harmonic_basis
from onefield.types import Bounds, Gaussians, Lobes, PointCloud, Sample

# The constant harmonic, 1 / sqrt(4 pi).
CONSTANT_HARMONIC = 0.5 / math.sqrt(math.pi)
FIRST_OPACITY = 0.1
NEIGHBOURS = 3
# Points at one place have no distance to their neighbours: they start this size, as a share of the domain's diagonal.
_LEAST_SCALE = 1e-6
# Third standard deviation of a disc, as a share of the domain's diagonal: less than any picture shows.
_THICKNESS = 1e-4
# Colours are kept as differences from it (Kerbl et al.'s code).
GREY = 0.5


@runtime_checkable
class HasGaussians(Protocol):
    """A field that is a set of Gaussians, for renderers and exporters that take them one by one."""

    def gaussians(self) -> Gaussians:
        """The set, differentiable in the field's parameters, in the field's own frame."""

    def __len__(self) -> int:
        """How many they are."""


@final
class GaussianField(Field):
    """Anisotropic Gaussians with colours in spherical harmonics and, where the set has them, lobes.

    As a volume, a Gaussian's density is ``a G(x)`` with ``a = -log(1 - opacity) / (sqrt(2 pi) s)`` and s the least of
    its three standard deviations: a ray through its middle along its shortest axis absorbs just what its splat covers.
    The colour at a point is the density-weighted mean of the Gaussians' colours, and grey where there are none. Lobes
    belong to no point but to a Gaussian and a direction: renderers of Gaussians take them as they are, `query` in
    harmonics, which show sharp highlights softer.

    Attributes:
        degree: of the harmonics in use; those above have no influence and get no gradient. Lobes come after the last.
    """

    provides = frozenset({"density", "color"})
    needs_directions = frozenset({"color"})

    def __init__(self, domain: Bounds, gaussians: Gaussians, degree: int | None = None) -> None:
        """Takes a set over.

        Args:
            domain: where most of them are; those outside count as well.
            gaussians: copied.
            degree: in use at first, without lobes; None takes all that the set has.

        Raises:
            UsageError: the domain is not of three dimensions, or the degree is beyond the set's.
            DataError: the set has more of one thing than of another.
        """
        super().__init__()
        check_numbers(gaussians, "A field of Gaussians")
        if domain.dimension != 3:
            raise UsageError(f"Gaussians live in three dimensions, not in {domain.dimension}.")
        self.domain = domain
        self.means = nn.Parameter(gaussians.means.detach().clone())
        self.log_scales = nn.Parameter(gaussians.log_scales.detach().clone())
        self.quaternions = nn.Parameter(gaussians.quaternions.detach().clone())
        self.opacities = nn.Parameter(gaussians.opacities.detach().clone())
        self.harmonics = nn.ParameterList([nn.Parameter(band.detach().clone()) for band in gaussians.harmonics])
        self.lobes = None
        if gaussians.lobes is not None:
            parts = {name: nn.Parameter(part.detach().clone()) for name, part in vars(gaussians.lobes).items()}
            self.lobes = nn.ParameterDict(parts)
        if degree is not None and not 0 <= degree <= gaussians.degree:
            raise UsageError(f"The set has harmonics of degree 0 to {gaussians.degree}; degree {degree} is not there.")
        # lobes count as one band more
        self.register_buffer("bands", torch.tensor(self._all_bands if degree is None else degree + 1))

    @staticmethod
    def from_points(domain: Bounds, cloud: PointCloud, degree: int = MOST_DEGREE, lobes: int = 0) -> GaussianField:
        """A round Gaussian at each point, as large as the distance to its neighbours, with colours of degree 0 in use.

        Args:
            cloud: its points in the domain's frame; grey where it has no colours.
            degree: that colours may reach later.
            lobes: that each may have later.

        Raises:
            DataError: fewer than two points, or points that are not finite.
        """
        points = cloud.points.detach().float().cpu()
        if len(points) < 2 or not bool(torch.isfinite(points).all()):
            raise DataError(f"Gaussians start from at least 2 finite points, got {len(points)}; check the point cloud.")
        scales = neighbour_distances(points).clamp(min=_LEAST_SCALE * domain.diagonal)
        colors = torch.full((len(points), 3), GREY) if cloud.colors is None else cloud.colors.detach().float().cpu()
        return GaussianField(domain, _round(points, scales, colors, degree, lobes), degree=0)

    @staticmethod
    def at_random(
        domain: Bounds, count: int, degree: int = MOST_DEGREE, generator: torch.Generator | None = None
    ) -> GaussianField:
        """Round Gaussians of random colours, spread evenly over the domain and as large as their mean distance.

        Raises:
            UsageError: no Gaussians.
        """
        if count < 1:
            raise UsageError(f"A set of Gaussians needs at least one, got {count}.")
        points = domain.from_unit(torch.rand(count, 3, generator=generator))
        # half the edge of the cube that each has for itself, near the mean distance of points spread at random
        size = 0.5 * (math.prod(domain.extent) / count) ** (1 / 3)
        colors = torch.rand(count, 3, generator=generator)
        return GaussianField(domain, _round(points, points.new_full((count,), size), colors, degree), degree=0)

    def __len__(self) -> int:
        return self.means.shape[0]

    @property
    def degree(self) -> int:
        return min(int(self.bands), len(self.harmonics)) - 1

    @property
    def _all_bands(self) -> int:
        return len(self.harmonics) + (self.lobes is not None)

    @property
    def most_degree(self) -> int:
        """That the harmonics can be raised to."""
        return len(self.harmonics) - 1

    def raise_degree(self, degree: int) -> None:
        """Puts the harmonics up to this degree, or the most that there are, in use; never fewer than now.

        One degree more than there are of harmonics puts lobes in use.
        """
        self.bands.fill_(max(int(self.bands), min(degree + 1, self._all_bands)))

    @torch.no_grad()
    def flatten(self, generator: torch.Generator | None = None) -> None:
        """Makes a thin disc of each, its third axis turned anywhere at random: what surfels start as."""
        self.log_scales[:, 2] = math.log(_THICKNESS * self.domain.diagonal)
        self.quaternions.copy_(torch.randn(self.quaternions.shape, generator=generator))

    def put(self, name: str, values: Tensor) -> nn.Parameter:
        """Replaces a parameter by another of any number of Gaussians; all must be given the same number in turn."""
        owner, _, own = name.rpartition(".")
        parameter = nn.Parameter(values)
        setattr(self.get_submodule(owner), own, parameter)
        return parameter

    def gaussians(self) -> Gaussians:
        """See `HasGaussians`; harmonics and lobes that are not in use are left out."""
        bands = tuple(self.harmonics)[: int(self.bands)]
        lobes = None
        if self.lobes is not None and int(self.bands) > len(self.harmonics):
            lobes = Lobes(**dict(self.lobes.items()))
        return Gaussians(self.means, self.log_scales, self.quaternions, self.opacities, bands, lobes)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """A group a kind of parameter, as each learns at a rate of its own."""
        constant, *others = self.harmonics
        lobes = {}
        if self.lobes is not None:
            shapes = [self.lobes["axes"], self.lobes["log_sharpness"]]
            lobes = {"lobe_colors": [self.lobes["colors"]], "lobe_shapes": shapes}
        return {
            "means": [self.means],
            "scales": [self.log_scales],
            "rotations": [self.quaternions],
            "opacities": [self.opacities],
            "colors": [constant],
            "harmonics": others,
            **lobes,
        }

    def _evaluate(
        self,
        points: Float[Tensor, "n d"],
        directions: Float[Tensor, "n 3"] | None,
        time: Float[Tensor, "n"] | None,
        want: frozenset[str],
    ) -> Sample:
        return sample_gaussians(self.gaussians(), points, directions, want)


def sample_gaussians(
    gaussians: Gaussians,
    points: Float[Tensor, "n 3"],
    directions: Float[Tensor, "n 3"] | None,
    want: frozenset[str],
) -> Sample:
    """Density and colour of a set at points, as `GaussianField` defines them.

    Args:
        directions: unit vectors along which the points are looked at; None where no colour is wanted.
        want: of ``density`` and ``color``.
    """
    gaussians = without_lobes(gaussians)
    points = points.to(gaussians.means)
    scales = gaussians.log_scales.exp()
    whitening = rotations(gaussians.quaternions).mT / scales[:, :, None]
    amplitudes = peak_densities(gaussians.opacities, scales)
    carried = gaussians.means.new_zeros(len(gaussians), 0)
    if "color" in want:
        carried = torch.cat(gaussians.harmonics, dim=1).flatten(1)
    density, sums = gaussian_mixture(points, gaussians.means, whitening, amplitudes, carried)
    color = None
    if "color" in want:
        basis = harmonic_basis(functional.normalize(directions.to(points), dim=-1), gaussians.degree)
        seen = density > 0
        mean = (sums.unflatten(1, (-1, 3)) * basis[:, :, None]).sum(1) / torch.where(seen, density, 1.0)[:, None]
        color = (mean + GREY).clamp(0, 1)
    return Sample(density=density if "density" in want else None, color=color)


def peak_densities(opacities: Float[Tensor, "P"], scales: Float[Tensor, "P 3"]) -> Float[Tensor, "P"]:
    """Density in the middle of each Gaussian, see `GaussianField`, from logits of opacities and standard deviations."""
    # -log(1 - sigmoid(x)) = softplus(x)
    return functional.softplus(opacities) / (math.sqrt(2 * math.pi) * scales.amin(1))


def neighbour_distances(points: Float[Tensor, "P 3"]) -> Float[Tensor, "P"]:
    """Root of the mean squared distance of each point to its three nearest others (fewer where there are fewer)."""
    from scipy.spatial import cKDTree

    places = np.asarray(points, dtype=np.float64)
    among = min(NEIGHBOURS, len(places) - 1)
    distances = cKDTree(places).query(places, k=among + 1)[0][:, 1:]
    return torch.from_numpy(np.sqrt(np.square(distances).mean(1))).to(points.dtype)


def _round(points: Tensor, scales: Tensor, colors: Tensor, degree: int, lobes: int = 0) -> Gaussians:
    if not 0 <= degree <= MOST_DEGREE:
        raise UsageError(f"Colours take harmonics of degree 0 to {MOST_DEGREE}, not {degree}.")
    count = len(points)
    constant = ((colors - GREY) / CONSTANT_HARMONIC)[:, None]
    higher = [points.new_zeros(count, 2 * band + 1, 3) for band in range(1, degree + 1)]
    return Gaussians(
        points,
        scales.log()[:, None].expand(count, 3),
        points.new_tensor([1.0, 0.0, 0.0, 0.0]).expand(count, 4),
        points.new_full((count,), math.log(FIRST_OPACITY / (1 - FIRST_OPACITY))),
        (constant, *higher),
        first_lobes(count, lobes) if lobes else None,
    )
