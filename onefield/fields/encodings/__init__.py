"""Encodings: maps from points of the unit cube (or directions) to feature vectors."""

from onefield.fields.encodings.dense_grid import DenseGridEncoding
from onefield.fields.encodings.encoding import Encoding
from onefield.fields.encodings.fourier import FourierEncoding, GaussianFourierEncoding
from onefield.fields.encodings.hash_grid import HashGridEncoding
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.fields.encodings.low_rank import CpEncoding, VmEncoding
from onefield.fields.encodings.planes import KPlanesEncoding, TriPlaneEncoding
from onefield.fields.encodings.planes_and_volume import PlaneVolumeEncoding
from onefield.fields.encodings.quantized import QuantizedEncoding
from onefield.fields.encodings.spherical_harmonics import SphericalHarmonicsEncoding

__all__ = [
    "CpEncoding",
    "DenseGridEncoding",
    "Encoding",
    "FourierEncoding",
    "GaussianFourierEncoding",
    "HashGridEncoding",
    "IdentityEncoding",
    "KPlanesEncoding",
    "PlaneVolumeEncoding",
    "QuantizedEncoding",
    "SphericalHarmonicsEncoding",
    "TriPlaneEncoding",
    "VmEncoding",
]
