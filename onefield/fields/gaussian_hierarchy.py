"""Gaussians in levels, each placed and sized relative to a parent: near it, and smaller.

Source: Hyun and Heo, "Adversarial generation of hierarchical Gaussians for 3D generative model" (GSGAN, 2024): the
parameterisation alone, learned for one scene instead of generated.
"""

from __future__ import annotations

import math
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from onefield.errors import DataError, UsageError
from onefield.fields.field import Field
from onefield.fields.gaussian_sets import merged_gaussians
from onefield.fields.gaussians import CONSTANT_HARMONIC, GREY, neighbour_distances, sample_gaussians
from onefield.kernels.gaussian_footprints import rotations
from onefield.types import Bounds, Gaussians, PointCloud, Sample

CHILDREN = 4
# Four of half the size cover a surface as one did.
SPLIT = 2.0
# No logarithm of a scale falls below this (GSGAN's clamp) by more than a step a level.
LEAST_LOG_SCALE = -8.0
# Each level is smaller by at least so much: what softplus takes away can vanish in rounding.
STEP = 1e-3
# Shrinkage at first: softplus(-2) = 0.13, so that a child is 0.88 of its size after the split.
_FIRST_SHRINKAGE = 2.0
# Children start spread over so much of their parent's box.
_FIRST_SPREAD = 0.8


class _Offsets(nn.Module):
    """How the members of one level differ from their parents."""

    def __init__(self, shifts: Float[Tensor, "n 3"]) -> None:
        super().__init__()
        count = len(shifts)
        self.shifts = nn.Parameter(shifts.clone())
        self.shrinkage = nn.Parameter(torch.full((count, 3), _FIRST_SHRINKAGE))
        self.turns = nn.Parameter(torch.zeros(count, 4))
        self.opacities = nn.Parameter(torch.zeros(count))
        self.colors = nn.Parameter(torch.zeros(count, 1, 3))


def offspring(
    parents: Gaussians,
    shifts: Float[Tensor, "n 3"],
    shrinkage: Float[Tensor, "n 3"],
    *,
    level: int,
    dense: float | Float[Tensor, ""],
) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n 3"]]:
    """Where children are and how large (natural logarithms).

    They lie within a standard deviation of their parent along each of its axes, and are smaller along each.

    Args:
        parents: one for each child.
        shifts, shrinkage: any numbers.
        level: of the children, from 0.
        dense: standard deviation above which children are half as large before they shrink.
    """
    reach = torch.tanh(shifts) * parents.log_scales.exp()
    means = parents.means + (rotations(parents.quaternions) @ reach[:, :, None])[:, :, 0]
    large = parents.log_scales.amax(dim=1, keepdim=True).exp() > dense
    split = torch.where(large, parents.log_scales - math.log(SPLIT), parents.log_scales)
    smaller = split - functional.softplus(-shrinkage) - STEP
    return means, smaller.clamp(min=LEAST_LOG_SCALE - STEP * (level + 1))


@final
class GaussianHierarchy(Field):
    """Levels of Gaussians below a number of roots: as many as there are roots, then four times as many a level.

    Each level has anchors, which nobody sees, and Gaussians, which are drawn; both are children of the anchors of the
    level above: near them and smaller (`offspring`), with orientation, opacity and colour added to theirs. So a step
    that moves an anchor moves all below it.

    Attributes:
        levels: of Gaussians.
    """

    provides = frozenset({"density", "color"})
    needs_directions = frozenset({"color"})

    def __init__(self, domain: Bounds, roots: Gaussians, levels: int, dense: float = 0.01) -> None:
        """Grows levels below roots, their places drawn at random.

        Args:
            domain: where most of them are; those outside count as well.
            roots: fixed; of degree 0.
            levels: at least 1.
            dense: see `offspring`, world units.

        Raises:
            UsageError: the domain is not of three dimensions, no level, or roots with higher harmonics or lobes.
        """
        super().__init__()
        if domain.dimension != 3:
            raise UsageError(f"Gaussians live in three dimensions, not in {domain.dimension}.")
        if levels < 1:
            raise UsageError(f"A hierarchy of Gaussians needs at least 1 level, got {levels}.")
        if roots.degree != 0 or roots.lobes is not None:
            raise UsageError("The roots of a hierarchy have colours of degree 0 alone; drop the rest (with_degree).")
        self.domain = domain
        self.levels = levels
        self.register_buffer("dense", torch.tensor(dense))
        # a root no smaller than the least leaves room for all levels below it
        sizes = roots.log_scales.clamp(min=LEAST_LOG_SCALE)
        for name, tensor in (("means", roots.means), ("log_scales", sizes), ("quaternions", roots.quaternions)):
            self.register_buffer("root_" + name, tensor.detach().clone())
        self.register_buffer("root_opacities", roots.opacities.detach().clone())
        self.register_buffer("root_colors", roots.harmonics[0].detach().clone())
        shifts = [self._first_shifts(level) for level in range(levels)]
        self.members = nn.ModuleList(_Offsets(some) for some in shifts)
        # nobody descends from the last level
        self.anchors = nn.ModuleList(_Offsets(some) for some in shifts[:-1])

    @staticmethod
    def from_points(
        domain: Bounds, cloud: PointCloud, levels: int, first_opacity: float = 0.1, dense: float = 0.01
    ) -> GaussianHierarchy:
        """A root at each point, as large as the distance to its neighbours.

        Args:
            cloud: its points in the domain's frame; grey where it has no colours.
            levels, dense: as in the constructor.
            first_opacity: that all start with.

        Raises:
            DataError: fewer than two points, or points that are not finite.
        """
        points = cloud.points.detach().float().cpu()
        if len(points) < 2 or not bool(torch.isfinite(points).all()):
            raise DataError(f"Gaussians start from at least 2 finite points, got {len(points)}; check the point cloud.")
        scales = neighbour_distances(points).log().clamp(min=LEAST_LOG_SCALE)
        colors = torch.full((len(points), 3), GREY) if cloud.colors is None else cloud.colors.detach().float().cpu()
        roots = Gaussians(
            points,
            scales[:, None].expand(-1, 3),
            points.new_tensor([1.0, 0.0, 0.0, 0.0]).expand(len(points), 4),
            points.new_full((len(points),), math.log(first_opacity / (1 - first_opacity))),
            (((colors - GREY) / CONSTANT_HARMONIC)[:, None],),
        )
        return GaussianHierarchy(domain, roots, levels, dense)

    def __len__(self) -> int:
        return sum(len(level.shifts) for level in self.members)

    def gaussians(self) -> Gaussians:
        """See `onefield.fields.gaussians.HasGaussians`; the levels one after the other."""
        parents = Gaussians(
            self.root_means, self.root_log_scales, self.root_quaternions, self.root_opacities, (self.root_colors,)
        )
        shown = []
        for level, members in enumerate(self.members):
            if level:
                # each anchor of the level above has its children side by side
                parents = self._below(parents, self.anchors[level - 1], level - 1)
                parents = parents[torch.arange(len(members.shifts), device=parents.means.device) // CHILDREN]
            shown.append(self._below(parents, members, level))
        return merged_gaussians(shown)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """A group a kind of parameter, as each learns at a rate of its own."""
        nodes = [*self.members, *self.anchors]
        return {
            "means": [node.shifts for node in nodes],
            "scales": [node.shrinkage for node in nodes],
            "rotations": [node.turns for node in nodes],
            "opacities": [node.opacities for node in nodes],
            "colors": [node.colors for node in nodes],
        }

    def _below(self, parents: Gaussians, offsets: _Offsets, level: int) -> Gaussians:
        means, log_scales = offspring(parents, offsets.shifts, offsets.shrinkage, level=level, dense=self.dense)
        return Gaussians(
            means,
            log_scales,
            parents.quaternions + offsets.turns,
            parents.opacities + offsets.opacities,
            (parents.harmonics[0] + offsets.colors,),
        )

    def _first_shifts(self, level: int) -> Float[Tensor, "n 3"]:
        count = len(self.root_means) * CHILDREN**level
        # the first level stands where the roots are
        spread = 0.0 if level == 0 else _FIRST_SPREAD
        return torch.atanh((2 * torch.rand(count, 3) - 1) * spread)

    def _evaluate(
        self,
        points: Float[Tensor, "n d"],
        directions: Float[Tensor, "n 3"] | None,
        time: Float[Tensor, "n"] | None,
        want: frozenset[str],
    ) -> Sample:
        return sample_gaussians(self.gaussians(), points, directions, want)
