"""Configuration of sets of Gaussians: how they start, at which rates they learn, and how many they become."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from onefield.data.point_files import read_point_cloud
from onefield.data.scene import Scene
from onefield.errors import DataError, UsageError, nearest_name
from onefield.fields.gaussians import GaussianField
from onefield.kernels.gaussian_ray_casting import LOBE
from onefield.kernels.harmonic_colors import MOST_DEGREE
from onefield.training.densification import Adaptive, DegreeSchedule, Densification, Mcmc, Rhythm
from onefield.training.method import Strategy
from onefield.training.optimizer import GroupRate
from onefield.training.visual_hull import inside_outlines
from onefield.types import Bounds, Gaussians, Lobes, PointCloud

# The extent that rates and sizes are relative to is so many times the distance of the outermost camera (INRIA's code).
_EXTENT_MARGIN = 1.1
_DENSIFICATIONS = ("mcmc", "original", "absolute", "none")
# Higher harmonics learn at a share of the rate of the constant one (INRIA's code).
HARMONIC_SHARE = 1 / 20
_MEBIBYTE = 2**20
# Points drawn at once to find some within outlines, how often at most, from how many a box is drawn, and the share of
# its sides by which it is widened.
_DRAW, _MOST_DRAWS, _ENOUGH_FOR_A_BOX, _ROOM = 2**16, 16, 20, 0.1


@dataclass(frozen=True)
class GaussianSet:
    """3D Gaussian splatting's set (Kerbl et al. 2023), by default densified as MCMC (Kheradmand et al. 2024).

    Attributes:
        points: PLY file whose vertices they start from, in the dataset's coordinates and units: any point cloud, or the
            mesh that another run exported; None takes the scene's own points, or random ones.
        first: Gaussians that a scene without points starts with; points beyond ``most`` are thinned out.
        most: Gaussians that there may be.
        most_mebibytes: the same as memory of their parameters, gradients and moments; None leaves it to ``most``.
        degree: of the spherical harmonics at the end.
        lobes: spherical Gaussians that each colour has besides, in use after the last degree.
        first_opacity: that all start with.
        first_scale: factor on the distance to neighbours, which sets the first size.
        mean_rate: of the middles, times the extent of the cameras.
        final_mean_rate: share of it that is left at the end of the run.
        color_rate: of the constant harmonics; higher ones take a twentieth.
        densification: ``mcmc``, ``original``, ``absolute`` (the original one on absolute gradients), or ``none``.
        start, end: shares of the run between which it acts.
        events: how often.
        growth: of MCMC, at each event.
        noise: of MCMC, factor on the rate of the means.
        pull: gradient from which on the original one densifies (0.0002; 0.0008 where absolute); None takes that. Rays
            know gradients in space alone, for which RayGauss takes 0.00004.
        least_opacity: below which a Gaussian is dead.
    """

    kind: ClassVar[str] = "gaussians"
    points: str | None = None
    first: int = 10_000
    most: int = 60_000
    most_mebibytes: float | None = None
    degree: int = 3
    lobes: int = 0
    first_opacity: float = 0.5
    first_scale: float = 0.5
    mean_rate: float = 1.6e-4
    final_mean_rate: float = 0.01
    scale_rate: float = 5e-3
    rotation_rate: float = 1e-3
    opacity_rate: float = 0.05
    color_rate: float = 2.5e-3
    lobe_color_rate: float = 3.6e-4
    lobe_shape_rate: float = 3e-3
    densification: str = "mcmc"
    start: float = 1 / 60
    end: float = 5 / 6
    events: int = 100
    growth: float = 1.05
    noise: float = 5e5
    pull: float | None = None
    least_opacity: float = 0.005

    def __post_init__(self) -> None:
        if self.densification not in _DENSIFICATIONS:
            raise UsageError(
                f"Unknown densification '{self.densification}': {nearest_name(self.densification, _DENSIFICATIONS)}."
            )
        kinds = ("mean", "scale", "rotation", "opacity", "color", "lobe_color", "lobe_shape", "final_mean")
        positive = ["first_scale", *(f"{kind}_rate" for kind in kinds)]
        for name in positive:
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise UsageError(f"field.{name} must be positive, got {getattr(self, name)}.")
        if self.most_mebibytes is not None and not math.isfinite(self.most_mebibytes):
            raise UsageError(f"field.most_mebibytes must be a finite number, got {self.most_mebibytes}.")
        if self.first < 2 or self.bound < 2:
            raise UsageError(
                f"A set of Gaussians starts with at least 2 and may hold at least 2, got field.first={self.first} and "
                f"a bound of {self.bound}; raise field.first, field.most or field.most_mebibytes."
            )
        if not 0 <= self.degree <= MOST_DEGREE:
            raise UsageError(f"field.degree must be 0 to {MOST_DEGREE}, got {self.degree}.")
        if self.lobes < 0:
            raise UsageError(f"field.lobes must be 0 or more, got {self.lobes}.")
        if not 0 < self.first_opacity < 1:
            raise UsageError(f"field.first_opacity must lie between 0 and 1, got {self.first_opacity}.")

    @property
    def bytes_each(self) -> int:
        """Of one Gaussian in training: its numbers, their gradient and two moments."""
        return 4 * 4 * (11 + 3 * (self.degree + 1) ** 2 + LOBE * self.lobes)

    @property
    def bound(self) -> int:
        """Gaussians that there may be."""
        if self.most_mebibytes is None:
            return self.most
        return min(self.most, int(self.most_mebibytes * _MEBIBYTE / self.bytes_each))

    def build(self, bounded: bool, extent: float) -> GaussianField:
        """A set as large as it may become, of values without meaning: for what asks about sizes."""
        count = self.bound
        return GaussianField(
            Bounds.cube(1.0 if bounded else extent),
            Gaussians(
                torch.zeros(count, 3),
                torch.zeros(count, 3),
                torch.ones(count, 4),
                torch.zeros(count),
                tuple(torch.zeros(count, 2 * band + 1, 3) for band in range(self.degree + 1)),
                Lobes(
                    torch.zeros(count, self.lobes, 3),
                    torch.zeros(count, self.lobes),
                    torch.zeros(count, self.lobes, 3),
                )
                if self.lobes
                else None,
            ),
        )

    def started(self, scene: Scene, flat: bool = False) -> GaussianField:
        """The set that training starts from: given points, the scene's own, or random ones in what its cameras see.

        Args:
            flat: discs, turned at random, for a renderer that draws surfels.

        Raises:
            DataError: the file of points can't be read, or holds fewer than two.
        """
        cloud = start_points(scene, self.points, min(self.first, self.bound), self.bound)
        field = GaussianField.from_points(scene_domain(scene), cloud, self.degree, self.lobes)
        with torch.no_grad():
            field.log_scales += math.log(self.first_scale)
            field.opacities.fill_(math.log(self.first_opacity / (1 - self.first_opacity)))
        if flat:
            field.flatten()
        return field

    def rates(self, scene: Scene) -> dict[str, GroupRate]:
        """Learning rates of the set's groups of parameters."""
        mean_rate = self.mean_rate * camera_extent(scene)
        rates = {
            "scales": self.scale_rate,
            "rotations": self.rotation_rate,
            "opacities": self.opacity_rate,
            "colors": self.color_rate,
            "harmonics": self.color_rate * HARMONIC_SHARE,
            "lobe_colors": self.lobe_color_rate,
            "lobe_shapes": self.lobe_shape_rate,
        }
        constant = {name: GroupRate(rate, final=1.0) for name, rate in rates.items()}
        return constant | {"means": GroupRate(mean_rate, final=self.final_mean_rate)}

    def strategies(self, scene: Scene) -> tuple[Strategy, ...]:
        """What changes the set while it is trained."""
        rhythm, degrees = Rhythm(self.start, self.end, self.events), DegreeSchedule()
        if self.densification == "none":
            return (degrees, Densification(Rhythm(0.0, 0.0, 0), self.bound))
        if self.densification == "mcmc":
            chain = Mcmc(rhythm, self.bound, growth=self.growth, least_opacity=self.least_opacity, noise=self.noise)
            return (degrees, chain)
        absolute = self.densification == "absolute"
        usual = 8e-4 if absolute else 2e-4
        adaptive = Adaptive(
            rhythm,
            self.bound,
            extent=camera_extent(scene),
            pull=usual if self.pull is None else self.pull,
            absolute=absolute,
            least_opacity=self.least_opacity,
        )
        return (degrees, adaptive)


def camera_extent(scene: Scene) -> float:
    """The distance of the outermost training camera from their mean and a tenth more, normalised units."""
    positions = scene.cameras.positions[scene.train_indices]
    return _EXTENT_MARGIN * float((positions - positions.mean(0)).norm(dim=-1).max())


def scene_domain(scene: Scene) -> Bounds:
    """Where the Gaussians of a scene are."""
    return Bounds.cube(1.0 if scene.bounded else scene.extent_scale)


def start_points(scene: Scene, file: str | None, first: int, most: int) -> PointCloud:
    """Points that Gaussians start from: given ones, the scene's own, or random ones in what its cameras see.

    Args:
        file: PLY file with vertices in the dataset's coordinates.
        first: how many random ones.
        most: to which the others are thinned out.

    Raises:
        DataError: the file can't be read, or holds fewer than two points.
    """
    if file is not None:
        return _thinned(_points_of(Path(file), scene), most)
    if scene.points is not None and len(scene.points.points) >= 2:
        return _thinned(scene.points, most)
    domain = scene_domain(scene)
    points = _points_in_outlines(scene, domain, first) if scene.alpha and scene.bounded else None
    return PointCloud(_spread_points(domain, first) if points is None else points, torch.rand(first, 3))


def _points_in_outlines(scene: Scene, domain: Bounds, count: int) -> torch.Tensor | None:
    """Even in what the photos' outlines leave; None where they leave nothing.

    Fog all around a small object is cleared by all rays that miss it, and the object's own share of it with it.
    """
    low, high = torch.tensor(domain.minimum), torch.tensor(domain.maximum)
    found: list[torch.Tensor] = []
    for _ in range(_MOST_DRAWS):
        drawn = low + torch.rand(_DRAW, 3) * (high - low)
        found.append(drawn[inside_outlines(scene, drawn)])
        inside = torch.cat(found)
        if len(inside) >= count:
            return inside[:count]
        if len(found) == 1 and len(inside) > _ENOUGH_FOR_A_BOX:
            # what has been drawn in the whole domain tells where to look on
            corners = inside.amin(0), inside.amax(0)
            room = (corners[1] - corners[0]) * _ROOM
            low, high = torch.maximum(low, corners[0] - room), torch.minimum(high, corners[1] + room)
            found = []
    return None


def _points_of(path: Path, scene: Scene) -> PointCloud:
    cloud = read_point_cloud(path)
    usable = torch.isfinite(cloud.points).all(dim=1)
    if int(usable.sum()) < 2:
        raise DataError(f"{path} holds {int(usable.sum())} usable points, but Gaussians start from at least 2.")
    placed = scene.transform.apply(cloud.points[usable].double()).float()
    return PointCloud(placed, None if cloud.colors is None else cloud.colors[usable])


def _thinned(cloud: PointCloud, most: int) -> PointCloud:
    count = len(cloud.points)
    if count <= most:
        return cloud
    chosen = torch.randperm(count)[:most]
    return PointCloud(cloud.points[chosen], None if cloud.colors is None else cloud.colors[chosen])


def _spread_points(domain: Bounds, count: int) -> torch.Tensor:
    """Even in the region of interest, and around it ever sparser: even in mip-NeRF 360's contracted cube."""
    half = domain.extent[0] / 2
    if half <= 1:
        return domain.from_unit(torch.rand(count, 3))
    # the cube of this half edge is contracted to one of 2 - 1 / half
    points = (torch.rand(count, 3) * 2 - 1) * (2 - 1 / half)
    norm = points.abs().amax(dim=-1, keepdim=True).clamp(min=1)
    return points / norm / (2 - norm)
