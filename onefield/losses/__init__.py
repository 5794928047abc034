"""Losses and regularisers: pure functions, and terms that weigh them in an objective."""

from onefield.losses.depth import depth_term
from onefield.losses.distortion import distortion_term
from onefield.losses.eikonal import eikonal_term
from onefield.losses.interlevel import interlevel_term
from onefield.losses.opacity import carve_term, mask_term, opacity_entropy_term
from onefield.losses.photometric import photometric_term
from onefield.losses.smoothness import decay_term, variation_term
from onefield.losses.term import Evidence, LossTerm

__all__ = [
    "Evidence",
    "LossTerm",
    "carve_term",
    "decay_term",
    "depth_term",
    "distortion_term",
    "eikonal_term",
    "interlevel_term",
    "mask_term",
    "opacity_entropy_term",
    "photometric_term",
    "variation_term",
]
