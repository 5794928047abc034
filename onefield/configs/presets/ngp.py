"""instant-ngp (Mueller et al. 2022): hash grid and occupancy grid. The default, best for its time."""

from onefield.configs.fields import HashField
from onefield.configs.method import MethodConfig
from onefield.configs.samplers import Occupancy

NGP = MethodConfig(method="ngp", field=HashField(), sampler=Occupancy(), losses={"huber": 1.0})
