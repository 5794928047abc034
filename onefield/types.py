"""Frozen records that all layers exchange. Letters in shapes: see docs/conventions.md."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from onefield.errors import DataError, UsageError

QUANTITIES = frozenset({"value", "deviation", "density", "distance", "closest_point", "occupancy", "color", "features"})


@dataclass(frozen=True)
class Bounds:
    """An axis-aligned box in world units; owns the map to the unit cube.

    Attributes:
        minimum: lower corner, one float an axis.
        maximum: upper corner, greater than ``minimum`` on each axis.
    """

    minimum: tuple[float, ...]
    maximum: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.minimum) != len(self.maximum):
            raise UsageError(f"Bounds need corners of one dimension, got {self.minimum} and {self.maximum}.")
        pairs = zip(self.minimum, self.maximum, strict=True)
        if not all(-math.inf < low < high < math.inf for low, high in pairs):
            raise UsageError(
                f"Bounds need finite minimum < maximum on each axis, got {self.minimum} and {self.maximum}."
            )

    @staticmethod
    def cube(half_extent: float = 1.0, dimension: int = 3) -> Bounds:
        """The cube ``[-half_extent, half_extent]^dimension``."""
        return Bounds((-half_extent,) * dimension, (half_extent,) * dimension)

    @property
    def dimension(self) -> int:
        return len(self.minimum)

    @property
    def extent(self) -> tuple[float, ...]:
        return tuple(high - low for low, high in zip(self.minimum, self.maximum, strict=True))

    @property
    def center(self) -> tuple[float, ...]:
        return tuple((high + low) / 2 for low, high in zip(self.minimum, self.maximum, strict=True))

    @property
    def diagonal(self) -> float:
        return sum(side * side for side in self.extent) ** 0.5

    def to_unit(self, points: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """World points to coordinates in which the box is the unit cube [0, 1]^d (points outside leave it)."""
        return (points - points.new_tensor(self.minimum)) / points.new_tensor(self.extent)

    def from_unit(self, points: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """Inverse of `to_unit`."""
        return points * points.new_tensor(self.extent) + points.new_tensor(self.minimum)

    def contains(self, points: Float[Tensor, "*b d"]) -> Tensor:
        """Bool ``*b``: inside or on the border."""
        unit = self.to_unit(points)
        return ((unit >= 0) & (unit <= 1)).all(-1)


@dataclass(frozen=True)
class Sample:
    """What a field answers at points; a slot is None when it was not asked for.

    Attributes:
        value: signal values, any unit.
        deviation: standard deviation of a new sample about ``value``, in its unit, >= 0.
        density: differential opacity per world unit, >= 0.
        distance: signed distance in world units, negative inside; of fields that provide ``closest_point`` unsigned.
        closest_point: the nearest point of a surface that may be open, world units.
        occupancy: probability of being inside, in [0, 1].
        color: RGB in [0, 1], in the scene's colour space.
        features: latent vector of the field's network.
    """

    value: Float[Tensor, "*b c"] | None = None
    deviation: Float[Tensor, "*b c"] | None = None
    density: Float[Tensor, "*b"] | None = None
    distance: Float[Tensor, "*b"] | None = None
    closest_point: Float[Tensor, "*b 3"] | None = None
    occupancy: Float[Tensor, "*b"] | None = None
    color: Float[Tensor, "*b 3"] | None = None
    features: Float[Tensor, "*b f"] | None = None

    def reshape_batch(self, batch: Sequence[int]) -> Sample:
        """The same answers with the single batch axis unfolded to ``batch``."""
        changed = {}
        for field in fields(self):
            tensor = getattr(self, field.name)
            if tensor is not None:
                changed[field.name] = tensor.reshape((*batch, *tensor.shape[1:]))
        return replace(self, **changed)


@dataclass(frozen=True)
class Rays:
    """Rays in world space.

    Attributes:
        origins: start points, world units.
        directions: unit vectors.
        near, far: limits along the ray in world units; None leaves them to the renderer.
        camera_indices: the camera that each ray came from, for per-image models.
    """

    origins: Float[Tensor, "R 3"]
    directions: Float[Tensor, "R 3"]
    near: Float[Tensor, "R"] | None = None
    far: Float[Tensor, "R"] | None = None
    camera_indices: Int[Tensor, "R"] | None = None

    def __post_init__(self) -> None:
        count = self.origins.shape[:1]
        expected = {"origins": (*count, 3), "directions": (*count, 3)}
        for field in fields(Rays):
            given, shape = getattr(self, field.name), expected.get(field.name, tuple(count))
            if given is not None and tuple(given.shape) != shape:
                raise UsageError(
                    f"Rays need origins of shape (R, 3) and as many {field.name}, got {tuple(self.origins.shape)} and "
                    f"{tuple(given.shape)}."
                )

    def __len__(self) -> int:
        return self.origins.shape[0]

    def __getitem__(self, selection: slice | Tensor) -> Rays:
        picked = {f.name: getattr(self, f.name) for f in fields(Rays)}
        return Rays(**{name: None if t is None else t[selection] for name, t in picked.items()})

    def detach(self) -> Rays:
        """The same rays without a gradient to whatever moved them."""
        return replace(self, origins=self.origins.detach(), directions=self.directions.detach())

    def to(self, device: torch.device | str) -> Rays:
        """The same rays on another device."""
        moved = {f.name: getattr(self, f.name) for f in fields(Rays)}
        return Rays(**{name: None if t is None else t.to(device) for name, t in moved.items()})


@dataclass(frozen=True)
class RaySamples:
    """Packed intervals along rays: ray r owns the entries ``offsets[r] : offsets[r + 1]``, near to far.

    Attributes:
        ray_indices: the ray of each interval, ascending.
        starts, ends: interval limits along the unit direction, world units.
        offsets: where each ray's intervals begin; the last entry is N.
    """

    ray_indices: Int[Tensor, "N"]
    starts: Float[Tensor, "N"]
    ends: Float[Tensor, "N"]
    offsets: Int[Tensor, "R+1"]

    def __len__(self) -> int:
        return self.starts.shape[0]

    @property
    def midpoints(self) -> Float[Tensor, "N"]:
        return (self.starts + self.ends) / 2


@dataclass(frozen=True)
class Splats:
    """What Gaussians did on a picture, for those who decide which to clone, split or drop.

    Attributes:
        pixels: middles on the picture; its ``grad`` is there after the backward.
        tally: whose ``grad`` then is the sum of each pixel's absolute gradient of ``pixels``, where it was asked for.
        reach: half width and half height on the picture in pixels, 0 for those that were not seen.
        size: height and width of the picture.
        means: the middles in space that were projected.
        normals: sums of the Gaussians' normals, turned to the camera, by their weights at each pixel; None unless asked
            for.
    """

    pixels: Float[Tensor, "P 2"]
    tally: Float[Tensor, "P 2"]
    reach: Float[Tensor, "P 2"]
    size: tuple[int, int]
    means: Float[Tensor, "P 3"]
    normals: Float[Tensor, "R 3"] | None = None


@dataclass(frozen=True)
class FlexiCubesSurface:
    """A surface whose vertices carry gradients.

    Attributes:
        vertices: in the frame of the positions; centres of quadrilaterals come last.
        faces: counter-clockwise seen from outside.
        deviations: for each crossing of each vertex, how much its distance from the vertex differs from the mean over
            the vertex's crossings, the crossings without weights; their mean is the regulariser.
    """

    vertices: Float[Tensor, "V 3"]
    faces: Int[Tensor, "F 3"]
    deviations: Float[Tensor, "I"]


@dataclass(frozen=True)
class Rendering:
    """What a renderer answers for rays.

    Attributes:
        color: composited over the background, same colour space as the field's.
        depth: opacity-weighted mean distance along the unit ray direction, world units (0 where nothing was hit); None
            from a renderer that was made without.
        opacity: accumulated opacity in [0, 1].
        normal: opacity-weighted unit normal, pointing out, where the renderer was asked for it.
        distortion: how far what was blended lies apart in depth, where the renderer knows it.
        splats: where Gaussians were splatted.
        surface: that was drawn, where it was one of FlexiCubes.
        samples, weights: the packed intervals and their compositing weights (renderers that have them).
        densities, colors: density and colour at the packed intervals.
        occupied: the same rays by the field's occupancy as opacity, where the renderer was made for it.
        proposals: for each proposal round (edges ``R S+1``, weights ``R S``); empty for other samplers.
        looks: points at which the field was asked, those included that turned out not to show.
    """

    color: Float[Tensor, "R 3"]
    depth: Float[Tensor, "R"] | None
    opacity: Float[Tensor, "R"]
    normal: Float[Tensor, "R 3"] | None = None
    distortion: Float[Tensor, "R"] | None = None
    splats: Splats | None = None
    surface: FlexiCubesSurface | None = None
    samples: RaySamples | None = None
    weights: Float[Tensor, "N"] | None = None
    densities: Float[Tensor, "N"] | None = None
    colors: Float[Tensor, "N 3"] | None = None
    occupied: Rendering | None = None
    proposals: tuple[tuple[Tensor, Tensor], ...] = ()
    looks: int = 0


@dataclass(frozen=True)
class RenderedImage:
    """A rendered view; the quantities are those of `Rendering`, row by row from the top left.

    Attributes:
        quantiles: distances along the ray at which so much opacity has accumulated as was asked for; infinite where it
            never does.
    """

    color: Float[Tensor, "H W 3"]
    depth: Float[Tensor, "H W"]
    opacity: Float[Tensor, "H W"]
    normal: Float[Tensor, "H W 3"] | None = None
    quantiles: Float[Tensor, "H W Q"] | None = None


@dataclass(frozen=True)
class Texture:
    """Pictures that lie on the faces of a mesh.

    Attributes:
        coordinates: of each corner of each face: (0, 0) is the pictures' upper left corner, (1, 1) the lower right.
        color: sRGB, 8 bits.
        normals: of the surface in the frame of tangent, bitangent and normal, as ``(n + 1) / 2`` in 8 bits; None where
            the mesh's own will do.
        tangents: of each corner: the unit vector along which the pictures' x grows, in the mesh's frame, and the sign
            that makes ``sign * normal x tangent`` the bitangent, which points up in the pictures; None without normals.
    """

    coordinates: Float[Tensor, "F 3 2"]
    color: UInt8[Tensor, "H W 3"]
    normals: UInt8[Tensor, "H W 3"] | None = None
    tangents: Float[Tensor, "F 3 4"] | None = None


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh; faces counter-clockwise seen from outside.

    Attributes:
        vertices: positions in the frame that the producer states.
        faces: vertex indices.
        colors: RGB in [0, 1], sRGB, one a vertex.
        normals: unit vectors pointing out, one a vertex.
        texture: stands for the colours in formats that hold one.
    """

    vertices: Float[Tensor, "V 3"]
    faces: Int[Tensor, "F 3"]
    colors: Float[Tensor, "V 3"] | None = None
    normals: Float[Tensor, "V 3"] | None = None
    texture: Texture | None = None

    def __post_init__(self) -> None:
        if self.faces.numel():
            least, most = int(self.faces.min()), int(self.faces.max())
            if least < 0 or most >= self.vertices.shape[0]:
                wrong = least if least < 0 else most
                raise DataError(f"A face names vertex {wrong}, but the mesh has {self.vertices.shape[0]} vertices.")
        if self.texture is not None and self.texture.coordinates.shape[0] != self.faces.shape[0]:
            raise DataError(
                f"A texture for {self.texture.coordinates.shape[0]} faces can't lie on a mesh of {self.faces.shape[0]}."
            )


@dataclass(frozen=True)
class TetrahedralMesh:
    """A solid of tetrahedra a, b, c, d with ``(b - a) . ((c - a) x (d - a)) > 0`` where none is turned over.

    Attributes:
        vertices: positions in the frame that the producer states.
        tetrahedra: vertex indices.
    """

    vertices: Float[Tensor, "V 3"]
    tetrahedra: Int[Tensor, "T 4"]

    def volumes(self) -> Float[Tensor, "T"]:
        """Of the tetrahedra, negative for those that are turned over."""
        a, b, c, d = self.vertices.index_select(0, self.tetrahedra.flatten()).reshape(-1, 4, 3).unbind(1)
        return ((b - a) * torch.linalg.cross(c - a, d - a)).sum(1) / 6


@dataclass(frozen=True)
class PointCloud:
    """Points with optional colours (RGB in [0, 1], sRGB) and unit normals."""

    points: Float[Tensor, "N 3"]
    colors: Float[Tensor, "N 3"] | None = None
    normals: Float[Tensor, "N 3"] | None = None


@dataclass(frozen=True)
class Lobes:
    """Spherical Gaussians that a set's colours have besides harmonics (Blanc et al., "RayGauss" (2025)).

    Along a unit direction d a lobe adds ``color exp(sharpness (d . axis - 1))``.

    Attributes:
        axes: where each is brightest, of any length but 0.
        log_sharpness: natural logarithms.
        colors: at the peaks.
    """

    axes: Float[Tensor, "P J 3"]
    log_sharpness: Float[Tensor, "P J"]
    colors: Float[Tensor, "P J 3"]

    def __getitem__(self, selection: slice | Tensor) -> Lobes:
        return Lobes(self.axes[selection], self.log_sharpness[selection], self.colors[selection])


@dataclass(frozen=True)
class Gaussians:
    """A set of anisotropic Gaussians as 3D Gaussian splatting stores them (Kerbl et al. 2023), before activation.

    Attributes:
        means: centres, world units.
        log_scales: natural logarithms of the standard deviations along the three axes.
        quaternions: orientation of the axes, wxyz, of any length but 0.
        opacities: logits of the opacity that a splat has in its middle.
        harmonics: colour in real spherical harmonics, a tensor a band (1, 3, 5, 7 coefficients), bands 0 to at most 3,
            with the signs of Condon and Shortley; the colour seen along a direction is the sum plus 0.5.
        lobes: added to the harmonics, where there are any.
    """

    means: Float[Tensor, "P 3"]
    log_scales: Float[Tensor, "P 3"]
    quaternions: Float[Tensor, "P 4"]
    opacities: Float[Tensor, "P"]
    harmonics: tuple[Float[Tensor, "P k 3"], ...]
    lobes: Lobes | None = None

    def __len__(self) -> int:
        return self.means.shape[0]

    @property
    def degree(self) -> int:
        """Of the spherical harmonics, 0 to 3."""
        return len(self.harmonics) - 1

    def __getitem__(self, selection: slice | Tensor) -> Gaussians:
        return Gaussians(
            self.means[selection],
            self.log_scales[selection],
            self.quaternions[selection],
            self.opacities[selection],
            tuple(band[selection] for band in self.harmonics),
            None if self.lobes is None else self.lobes[selection],
        )
