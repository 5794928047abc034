"""Options of ``onefield export`` about the mesh that is taken home: what is cleaned, and how large it is."""

from __future__ import annotations

from dataclasses import dataclass

from onefield.errors import UsageError
from onefield.tools.output import count_of
from onefield.training.surface import LARGEST_HOLE, SMALLEST_COMPONENT

# A closed mesh has no fewer.
FEWEST_FACES = 4
# What a modelling program turns without effort, and a web page loads; a closed shape at 256 cells has about as many.
MOST_FACES = 500_000


@dataclass(frozen=True)
class MeshOptions:
    """What to make of a surface that was extracted.

    Attributes:
        faces: simplify to about so many triangles where there are more, such as 50000, 100k or 0.5M; 0 keeps all.
        smallest: drop pieces below this share of the largest one's area.
        holes: close holes whose box has a diagonal of at most this share of the mesh's; 0 leaves them open.
    """

    faces: str = "500k"
    smallest: float = SMALLEST_COMPONENT
    holes: float = LARGEST_HOLE

    def __post_init__(self) -> None:
        if 0 < self.face_count < FEWEST_FACES:
            raise UsageError(
                f"--faces must be 0 (all) or at least {FEWEST_FACES}, as a closed mesh has, got {self.faces}."
            )
        for name, share in (("smallest", self.smallest), ("holes", self.holes)):
            if not 0 <= share <= 1:
                raise UsageError(f"--{name} is a share in [0, 1], got {share}.")

    @property
    def face_count(self) -> int:
        """0 for all."""
        try:
            return count_of(self.faces)
        except UsageError as error:
            raise UsageError(f"--faces: {error}") from error


AS_EXTRACTED = MeshOptions()
