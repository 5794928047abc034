"""nerfacto (Tancik et al. 2023, Nerfstudio): hash grid and proposals. The default of open scenes."""

from onefield.configs.fields import HashField
from onefield.configs.method import MethodConfig
from onefield.configs.samplers import Proposal

NERFACTO = MethodConfig(
    method="nerfacto",
    field=HashField(),
    sampler=Proposal(),
    losses={"huber": 1.0, "distortion": 0.002},
    prefilter=False,
)
