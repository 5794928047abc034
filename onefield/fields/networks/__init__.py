"""Networks: between an encoding and the heads."""

from onefield.fields.networks.mlp import Mlp
from onefield.fields.networks.network import Network
from onefield.fields.networks.refinement import RefinementNetwork
from onefield.fields.networks.residual import ResidualNetwork
from onefield.fields.networks.siren import Siren

__all__ = ["Mlp", "Network", "RefinementNetwork", "ResidualNetwork", "Siren"]
