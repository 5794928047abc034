"""Networks: between an encoding and the heads. One of coordinates that is listed here is a name for ``fit``."""

from onefield.fields.networks.backbone import Backbone
from onefield.fields.networks.bacon import BACON
from onefield.fields.networks.band_split import BAND_SPLIT
from onefield.fields.networks.chebyshev import CHEBYSHEV
from onefield.fields.networks.finer import FINER
from onefield.fields.networks.gaussian import GAUSSIAN
from onefield.fields.networks.mlp import Mlp
from onefield.fields.networks.multiplicative import FOURIER_FILTERS, GABOR_FILTERS
from onefield.fields.networks.network import Network
from onefield.fields.networks.polynomial import POLYNOMIAL
from onefield.fields.networks.quadratic import QUADRATIC
from onefield.fields.networks.real_gabor import REAL_GABOR
from onefield.fields.networks.sinc import SINC
from onefield.fields.networks.siren import SIREN, Siren
from onefield.fields.networks.wire import WIRE

__all__ = ["BACKBONES", "Backbone", "Mlp", "Network", "Siren"]

BACKBONES: tuple[Backbone, ...] = (
    SIREN,
    FINER,
    GAUSSIAN,
    QUADRATIC,
    SINC,
    REAL_GABOR,
    WIRE,
    BAND_SPLIT,
    CHEBYSHEV,
    POLYNOMIAL,
    FOURIER_FILTERS,
    GABOR_FILTERS,
    BACON,
)
