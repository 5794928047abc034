"""Options of ``onefield export`` about the mesh that is taken home: what is cleaned, its size, and where it stands."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.data.scene import Similarity
from onefield.errors import UsageError
from onefield.export.formats import TEXTURED_FORMATS, UP_BY_STANDARD
from onefield.meshing.atlas import LARGEST_TEXTURE, SMALLEST_TEXTURE, unwrapping_library
from onefield.tools.output import count_of
from onefield.training.surface import LARGEST_HOLE, SMALLEST_COMPONENT
from onefield.training.texturing import TextureSettings

# A closed mesh has no fewer.
FEWEST_FACES = 4
# What a modelling program turns without effort, and a web page loads; a closed shape at 256 cells has about as many.
MOST_FACES = 500_000
# Flattening takes more than twice as long for twice as many; this many take a minute or two.
TEXTURED_FACES = 100_000
# The sixth has a thousandth of the faces.
MOST_LEVELS = 6
# Of a level's faces the next one has a quarter, and half of its texture's pixels along a side.
FEWER_FACES, FEWER_PIXELS = 4, 2
# (x, y, z) to (x, z, -y)
Y_UP = ((1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, -1.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))


@dataclass(frozen=True)
class MeshOptions:
    """What to make of a surface that was extracted.

    Attributes:
        faces: simplify to about so many triangles where there are more, such as 50000, 100k or 0.5M; 0 keeps all; 500k
            by default, 100k for a texture, since finding places in it for more takes minutes.
        smallest: drop pieces below this share of the largest one's area.
        holes: close holes whose box has a diagonal of at most this share of the mesh's; 0 leaves them open.
        texture: bake a texture with so many pixels along a side, into .glb, or beside .obj and .usda (needs the extra
            [mesh]); colours are at the vertices by default.
        texture_from: photos blends the training photos that see a texel best, levelled in exposure, and takes the field
            where none does; field takes what the field shows along the directions from which cameras see the texel,
            smoother, and without what passed by in single photos.
        normal_map: with a texture of normals of the surface as it was before it was simplified.
        levels: write so many levels of detail, each with a quarter of the faces and half of the texture's side:
            NAME.glb, NAME-lod1.glb, NAME-lod2.glb and so on.
        up: turn the mesh upright, with this axis up; dataset keeps the dataset's own axes, so that its cameras still
            fit. GLB files, and pages, are y up by their standard: there y and z both are just upright.
        scale: multiply the dataset's units by this, such as 1000 for metres to millimetres.
    """

    faces: str | None = None
    smallest: float = SMALLEST_COMPONENT
    holes: float = LARGEST_HOLE
    texture: int | None = None
    texture_from: Literal["photos", "field"] = "photos"
    normal_map: bool = False
    levels: int = 1
    up: Literal["dataset", "z", "y"] = "dataset"
    scale: float = 1.0

    def __post_init__(self) -> None:
        if 0 < self.face_count < FEWEST_FACES:
            raise UsageError(
                f"--faces must be 0 (all) or at least {FEWEST_FACES}, as a closed mesh has, got {self.faces}."
            )
        for name, share in (("smallest", self.smallest), ("holes", self.holes)):
            if not 0 <= share <= 1:
                raise UsageError(f"--{name} is a share in [0, 1], got {share}.")
        if self.texture is not None and not SMALLEST_TEXTURE <= self.texture <= LARGEST_TEXTURE:
            raise UsageError(
                f"--texture takes {SMALLEST_TEXTURE} to {LARGEST_TEXTURE} pixels along a side, got {self.texture}; "
                "leave it out for colours at the vertices."
            )
        if self.texture is None and (self.normal_map or self.texture_from != "photos"):
            raise UsageError("--normal-map and --texture-from need a texture; ask for one, such as --texture 2048.")
        if not 1 <= self.levels <= MOST_LEVELS:
            raise UsageError(f"--levels must be 1 to {MOST_LEVELS}, got {self.levels}.")
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise UsageError(f"--scale must be a number above 0, got {self.scale}.")

    @property
    def face_count(self) -> int:
        """0 for all."""
        if self.faces is None:
            return MOST_FACES if self.texture is None else TEXTURED_FACES
        try:
            return count_of(self.faces)
        except UsageError as error:
            raise UsageError(f"--faces: {error}") from error

    @property
    def file_up(self) -> str:
        """The axis that is up in files that don't say so by themselves."""
        return "y" if self.up == "y" else "z"

    def placement(self, transform: Similarity) -> Float[Tensor, "4 4"]:
        """From the scene's frame to that of the file, z up, float64.

        Args:
            transform: from the dataset's frame to the scene's, which is upright.
        """
        matrix = transform.inverse().matrix
        if self.up != "dataset":
            upright = torch.eye(4, dtype=torch.float64)
            upright[:3, :3] = transform.rotation
            matrix = upright @ matrix
        scaled = torch.eye(4, dtype=torch.float64) * self.scale
        scaled[3, 3] = 1.0
        return scaled @ matrix

    def read_back(self, placement: Float[Tensor, "4 4"], suffix: str) -> Float[Tensor, "4 4"]:
        """From the scene's frame to what reading the file gives: z up where the file says which axis is up.

        Args:
            placement: of `placement`.
        """
        if self.file_up == "z" or suffix.lower() in (*UP_BY_STANDARD, ".usda"):
            return placement
        return torch.tensor(Y_UP, dtype=torch.float64) @ placement

    def check_texture(self, path: Path) -> None:
        """Refuses a texture that can't be made or written, before anything is computed.

        Raises:
            UsageError: the format holds none; it names those that do.
            ResourceError: the library for it is not installed.
        """
        if self.texture is None:
            return
        if path.suffix.lower() not in TEXTURED_FORMATS:
            raise UsageError(
                f"{path.name} can't hold a texture; write {', '.join(TEXTURED_FORMATS)}, or leave --texture out."
            )
        unwrapping_library()

    def texture_settings(self, level: int) -> TextureSettings | None:
        """The texture of a level of detail; None without."""
        if self.texture is None:
            return None
        size = max(SMALLEST_TEXTURE, self.texture // FEWER_PIXELS**level)
        return TextureSettings(size, self.texture_from, self.normal_map)


AS_EXTRACTED = MeshOptions()
