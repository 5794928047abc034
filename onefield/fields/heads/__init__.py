"""Heads: from features to one named quantity."""

from onefield.fields.heads.closest_point import ClosestPointHead, UnsignedDistanceHead
from onefield.fields.heads.color import ColorHead, PlainColor
from onefield.fields.heads.density import ExponentialDensity, SoftplusDensity
from onefield.fields.heads.distance import DistanceHead
from onefield.fields.heads.head import Head
from onefield.fields.heads.occupancy import OccupancyHead
from onefield.fields.heads.value import ValueHead

__all__ = [
    "ClosestPointHead",
    "ColorHead",
    "DistanceHead",
    "ExponentialDensity",
    "Head",
    "OccupancyHead",
    "PlainColor",
    "SoftplusDensity",
    "UnsignedDistanceHead",
    "ValueHead",
]
