"""The objective of a method from the weights of its summands."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from onefield.errors import UsageError, nearest_name
from onefield.fields.composed import ComposedField
from onefield.fields.encodings import DenseGridEncoding, HashGridEncoding
from onefield.fields.encodings.hash_grid import grid_within
from onefield.fields.field import Field
from onefield.fields.pixel_gaussians import PixelGaussians
from onefield.fields.shaded_surface import HasSurface
from onefield.losses.curvature import curvature_term, wide_eikonal_term
from onefield.losses.depth import depth_term
from onefield.losses.depth_distortion import depth_distortion_term
from onefield.losses.distortion import distortion_term
from onefield.losses.eikonal import eikonal_term
from onefield.losses.feature_color import feature_color_term
from onefield.losses.gaussians import opacity_mean_term, scale_mean_term
from onefield.losses.interlevel import interlevel_term
from onefield.losses.line_of_sight import line_of_sight_term
from onefield.losses.near_space import near_space_term
from onefield.losses.normal_consistency import normal_consistency_term
from onefield.losses.normals import normals_term
from onefield.losses.occupied import by_occupancy
from onefield.losses.opacity import carve_term, mask_term, opacity_entropy_term, silhouette_term
from onefield.losses.photometric import covered_term, photometric_term
from onefield.losses.pixel_depths import depth_variation_term, match_distance_term
from onefield.losses.relative_depth import relative_depth_term
from onefield.losses.similarity import dissimilarity_term
from onefield.losses.smoothness import decay_term, variation_term
from onefield.losses.stochastic_similarity import stochastic_term
from onefield.losses.surfaces import (
    bending_term,
    developability_term,
    deviation_term,
    sign_changes_term,
    weight_change_term,
)
from onefield.losses.term import LossTerm

TERMS: dict[str, Callable[[float], LossTerm]] = {
    "l2": lambda weight: photometric_term("l2", weight),
    "l1": lambda weight: photometric_term("l1", weight),
    "huber": lambda weight: photometric_term("huber", weight),
    "charbonnier": lambda weight: photometric_term("charbonnier", weight),
    "covered_l1": covered_term,
    "feature_color": feature_color_term,
    "dssim": dissimilarity_term,
    "s3im": stochastic_term,
    "distortion": distortion_term,
    "depth_distortion": depth_distortion_term,
    "normal_consistency": normal_consistency_term,
    "interlevel": interlevel_term,
    "opacity_entropy": opacity_entropy_term,
    "mask": mask_term,
    "silhouette": silhouette_term,
    "carve": carve_term,
    "depth": depth_term,
    "relative_depth": relative_depth_term,
    "normals": normals_term,
    "line_of_sight": line_of_sight_term,
    "near_space": near_space_term,
    "eikonal": eikonal_term,
    "wide_eikonal": wide_eikonal_term,
    "curvature": curvature_term,
    "opacity_mean": opacity_mean_term,
    "scale_mean": scale_mean_term,
    "variation": lambda weight: variation_term(_dense_grids, weight),
    "depth_variation": depth_variation_term,
    "match_distance": match_distance_term,
    "deviation": deviation_term,
    "sign_changes": sign_changes_term,
    "weight_change": weight_change_term,
    "bending": bending_term,
    "developability": developability_term,
    "decay": lambda weight: decay_term(_hash_levels, weight),
    "occupied_l1": lambda weight: by_occupancy(photometric_term("l1", weight)),
    "occupied_feature_color": lambda weight: by_occupancy(feature_color_term(weight)),
    "occupied_mask": lambda weight: by_occupancy(mask_term(weight)),
    "occupied_depth": lambda weight: by_occupancy(depth_term(weight)),
    "occupied_relative_depth": lambda weight: by_occupancy(relative_depth_term(weight)),
    "occupied_normals": lambda weight: by_occupancy(normals_term(weight)),
}
"""Every summand by its name in configurations; a new loss is added here."""

# what a summand can't do without: quantities of the field, or a kind of encoding
_NEEDED_QUANTITY = {
    "eikonal": "distance",
    "wide_eikonal": "distance",
    "curvature": "distance",
    "near_space": "density",
    "occupied_l1": "occupancy",
    "occupied_feature_color": "occupancy",
    "occupied_mask": "occupancy",
    "occupied_depth": "occupancy",
    "occupied_relative_depth": "occupancy",
    "occupied_normals": "occupancy",
    "normals": "distance",
}
_NEEDED_ENCODING = {
    "variation": DenseGridEncoding,
    "decay": HashGridEncoding,
    "wide_eikonal": HashGridEncoding,
    "curvature": HashGridEncoding,
}
_OF_PIXELS = ("depth_variation", "match_distance")
_OF_SURFACES = ("deviation", "sign_changes", "weight_change", "bending", "developability")


def build_objective(weights: dict[str, float], field: Field) -> tuple[LossTerm, ...]:
    """The summands with a weight other than 0.

    Raises:
        UsageError: an unknown name, or a summand that does not fit the field.
    """
    terms = []
    for name, weight in weights.items():
        if name not in TERMS:
            raise UsageError(f"Unknown loss '{name}': {nearest_name(name, tuple(TERMS))}.")
        if not 0 <= weight < math.inf:
            raise UsageError(f"losses.{name} is a weight, 0 or more, got {weight}.")
        if weight == 0:
            continue
        quantity = _NEEDED_QUANTITY.get(name)
        if quantity is not None and quantity not in field.provides:
            raise UsageError(f"The loss '{name}' needs a field with {quantity}; {type(field).__name__} has none.")
        encoding = _NEEDED_ENCODING.get(name)
        if encoding is not None and not any(isinstance(module, encoding) for module in field.modules()):
            raise UsageError(f"The loss '{name}' needs a field with a {encoding.__name__}.")
        if name in _OF_PIXELS and not isinstance(field, PixelGaussians):
            raise UsageError(
                f"The loss '{name}' needs Gaussians of pixels, but this method has a {type(field).__name__}; leave it "
                "out, or train with '--method sparse-splat'."
            )
        if name in _OF_SURFACES and not isinstance(field, HasSurface):
            raise UsageError(
                f"The loss '{name}' needs a surface of FlexiCubes, but this method has a {type(field).__name__}; leave "
                "it out, or train with '--method flexicubes'."
            )
        terms.append(TERMS[name](weight))
    if not terms:
        raise UsageError("The objective is empty: give at least one loss a weight, such as losses.huber=1.")
    return tuple(terms)


def composed_part(field: Field) -> ComposedField:
    """The composed field inside wrappers.

    Raises:
        UsageError: there is none.
    """
    for module in field.modules():
        if isinstance(module, ComposedField):
            return module
    raise UsageError(f"{type(field).__name__} holds no composed field.")


def _dense_grids(field: Field) -> list[Tensor]:
    encoding = composed_part(field).encoding
    return [encoding.grid.movedim(-1, 0)]


def _hash_levels(field: Field) -> list[Tensor]:
    grid = grid_within(composed_part(field).encoding)
    return [grid.level(index) for index in range(grid.layout.levels)]
