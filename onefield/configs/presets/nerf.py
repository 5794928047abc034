"""NeRF (Mildenhall et al. 2020) with mip-NeRF 360's proposals (Barron et al. 2022): slow, small, smooth."""

from onefield.configs.fields import FourierField
from onefield.configs.method import MethodConfig
from onefield.configs.samplers import Proposal
from onefield.training.settings import TrainingSettings

NERF = MethodConfig(
    method="nerf",
    field=FourierField(),
    sampler=Proposal(),
    losses={"huber": 1.0, "distortion": 0.002},
    prefilter=False,
    training=TrainingSettings(network_rate=1e-3),
)
