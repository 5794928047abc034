"""A mesh as a field: signed distances to its exact closest points."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor, nn

from onefield.fields.field import Field
from onefield.kernels.point_mesh import TriangleTree, build_tree, signed_distance
from onefield.types import Bounds, Mesh, Sample

# The tree's parts, as buffers, so that they follow the field to its device.
_TREE = ("triangles", "owners", "boxes", "dipoles")


class MeshDistance(Field):
    """Distances to a mesh that stays as it is, negative inside; see `onefield.kernels.point_mesh.signed_distance`.

    Nothing is learned. Gradients of the distance by a point are right, those of higher order vanish.

    Attributes:
        vertices, faces: of the mesh, float32 and int64, world units.
    """

    provides = frozenset({"distance"})

    def __init__(self, domain: Bounds, vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"]) -> None:
        """Distances to triangles; without a face the field waits for the state that it is to load.

        Raises:
            DataError: a coordinate that is not finite.
        """
        super().__init__()
        self.domain = domain
        self.register_buffer("vertices", vertices.detach().float())
        self.register_buffer("faces", faces.detach().long())
        for name in _TREE:
            self.register_buffer(name, vertices.new_zeros(0), persistent=False)
        self._build()
        self.register_load_state_dict_post_hook(lambda field, _: field._build())

    def _build(self) -> None:
        if len(self.faces) and not self.faces.is_meta:
            tree = build_tree(self.vertices, self.faces)
            self.triangles, self.owners, self.boxes, self.dipoles = tree.triangles, tree.faces, tree.boxes, tree.dipoles

    def mesh(self) -> Mesh:
        """The mesh whose distances these are."""
        return Mesh(self.vertices, self.faces)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Nothing learns."""
        return {}

    def _evaluate(
        self,
        points: Float[Tensor, "n 3"],
        directions: Float[Tensor, "n 3"] | None,
        time: Float[Tensor, "n"] | None,
        want: frozenset[str],
    ) -> Sample:
        if "distance" not in want:
            return Sample()
        tree = TriangleTree(self.triangles, self.owners, self.boxes, self.dipoles)
        return Sample(distance=signed_distance(points, tree))
