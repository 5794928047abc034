"""Networks: between an encoding and the heads."""

from onefield.fields.networks.bacon import Bacon
from onefield.fields.networks.chebyshev import ChebyshevNetwork
from onefield.fields.networks.factorised import CpNetwork, TensorTrainNetwork, TuckerNetwork
from onefield.fields.networks.finer import Finer
from onefield.fields.networks.gaussian import GaussianNetwork
from onefield.fields.networks.mlp import Mlp
from onefield.fields.networks.multiplicative import FourierFilterNetwork, GaborFilterNetwork
from onefield.fields.networks.network import Network
from onefield.fields.networks.polynomial import PolynomialNetwork
from onefield.fields.networks.projected import ProjectedNetwork
from onefield.fields.networks.quadratic import QuadraticNetwork
from onefield.fields.networks.real_gabor import RealGaborNetwork
from onefield.fields.networks.refinement import RefinementNetwork
from onefield.fields.networks.residual import ResidualNetwork
from onefield.fields.networks.sinc import SincNetwork
from onefield.fields.networks.siren import Siren
from onefield.fields.networks.wire import Wire

__all__ = [
    "Bacon",
    "ChebyshevNetwork",
    "CpNetwork",
    "Finer",
    "FourierFilterNetwork",
    "GaborFilterNetwork",
    "GaussianNetwork",
    "Mlp",
    "Network",
    "PolynomialNetwork",
    "ProjectedNetwork",
    "QuadraticNetwork",
    "RealGaborNetwork",
    "RefinementNetwork",
    "ResidualNetwork",
    "SincNetwork",
    "Siren",
    "TensorTrainNetwork",
    "TuckerNetwork",
    "Wire",
]
