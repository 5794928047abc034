"""Adam over named parameter groups, with its whole state as plain tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from onefield.errors import DataError, UsageError
from onefield.kernels.adam import adam_step

# Tables get tiny gradients, which the usual 1e-8 would hold back (instant-ngp, section 4).
EPSILON = 1e-15


@dataclass(frozen=True)
class GroupRate:
    """How one group of parameters learns.

    Attributes:
        rate: peak learning rate.
        skip_zeros: leave entries alone that got no gradient in a step (tables and grids).
        weight_decay: L2 penalty's factor, added to the gradient.
        final: share of the rate that is left at the end of the run, to which it falls exponentially from the start;
            None follows the run's own schedule.
    """

    rate: float
    skip_zeros: bool = False
    weight_decay: float = 0.0
    final: float | None = None


class Adam:
    """Adam (Kingma and Ba, arXiv 1412.6980) for parameters with names, grouped by rate.

    Attributes:
        step_count: how many steps were taken.
    """

    def __init__(
        self,
        parameters: dict[str, nn.Parameter],
        groups: dict[str, str],
        rates: dict[str, GroupRate],
        beta1: float = 0.9,
        beta2: float = 0.99,
        epsilon: float = EPSILON,
        average_decay: float | None = None,
    ) -> None:
        """Starts with zero moments.

        Args:
            parameters: by name, as they are saved.
            groups: the group of each parameter, by the parameter's name.
            rates: of each group.
            epsilon: keeps the quotient finite where a moment is 0.
            average_decay: also keep a running average of all parameters, of which this share stays at each step.
        """
        self.parameters = parameters
        self.groups = groups
        self.rates = rates
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.step_count = 0
        self._first = {name: torch.zeros_like(p, requires_grad=False) for name, p in parameters.items()}
        self._second = {name: torch.zeros_like(p, requires_grad=False) for name, p in parameters.items()}
        self.average_decay = average_decay
        averaged = {} if average_decay is None else parameters
        self._averages = {name: parameter.detach().clone() for name, parameter in averaged.items()}

    def zero_gradients(self) -> None:
        """Forgets all gradients."""
        for parameter in self.parameters.values():
            parameter.grad = None

    @torch.no_grad()
    def step(self, rate_factor: float, progress: float = 0.0, scale: float = 1.0) -> None:
        """Moves each parameter that has a gradient, with its group's rate at this point of the run.

        Args:
            rate_factor: of groups that follow the run's schedule.
            progress: share of the run that is done, for groups with a schedule of their own.
            scale: factor on all rates.
        """
        self.step_count += 1
        for name, parameter in self.parameters.items():
            if parameter.grad is None:
                continue
            group = self.rates[self.groups[name]]
            rate = self.rate(self.groups[name], rate_factor, progress, scale)
            gradient = parameter.grad
            if group.weight_decay:
                gradient = gradient + group.weight_decay * parameter
            adam_step(
                parameter,
                gradient,
                self._first[name],
                self._second[name],
                rate,
                self.beta1,
                self.beta2,
                self.epsilon,
                self.step_count,
                group.skip_zeros,
            )
        for name, average in self._averages.items():
            average.lerp_(self.parameters[name].detach(), 1 - self.average_decay)

    def average(self, name: str) -> Tensor:
        """The running average of a parameter, as it stands.

        Raises:
            UsageError: none is kept.
        """
        if name not in self._averages:
            raise UsageError(f"No running average of '{name}' is kept; make the optimiser with average_decay.")
        return self._averages[name]

    def rate(self, group: str, rate_factor: float, progress: float, scale: float) -> float:
        """A group's learning rate, see `step`."""
        settings = self.rates[group]
        return settings.rate * scale * (rate_factor if settings.final is None else settings.final**progress)

    def rearrange(self, name: str, parameter: nn.Parameter, rows: Int[Tensor, "m"], fresh: Bool[Tensor, "m"]) -> None:
        """Puts a parameter with other rows in the place of ``name``.

        Args:
            rows: the old row whose moments each new one takes over.
            fresh: rows that start with zero moments, and their averages with their values, instead.
        """
        self.parameters[name] = parameter
        for moments in (self._first, self._second):
            moments[name] = moments[name][rows]
            moments[name][fresh] = 0
        if name in self._averages:
            self._averages[name] = self._averages[name][rows]
            self._averages[name][fresh] = parameter.detach()[fresh]

    def replace(self, name: str, parameter: nn.Parameter) -> None:
        """Puts a parameter of another shape in the place of ``name``, with zero moments (grids that grow)."""
        self.parameters[name] = parameter
        self._first[name] = torch.zeros_like(parameter, requires_grad=False)
        self._second[name] = torch.zeros_like(parameter, requires_grad=False)
        if name in self._averages:
            self._averages[name] = parameter.detach().clone()

    def state_tensors(self) -> dict[str, Tensor]:
        """All state, for `load_tensors` of another run to continue to the same numbers."""
        state = {"step_count": torch.tensor(self.step_count)}
        state |= {f"first.{name}": tensor for name, tensor in self._first.items()}
        state |= {f"second.{name}": tensor for name, tensor in self._second.items()}
        state |= {f"average.{name}": tensor for name, tensor in self._averages.items()}
        return state

    def load_tensors(self, state: dict[str, Tensor]) -> None:
        """Takes over a state from `state_tensors`.

        Raises:
            DataError: a moment or average is missing or has another shape than its parameter.
        """
        for prefix, moments in (("first", self._first), ("second", self._second), ("average", self._averages)):
            for name, moment in moments.items():
                saved = state.get(f"{prefix}.{name}")
                if saved is None or saved.shape != moment.shape:
                    found = "none" if saved is None else f"shape {tuple(saved.shape)}"
                    raise DataError(
                        f"The optimiser's state for '{name}' should have shape {tuple(moment.shape)}, but the "
                        f"checkpoint has {found}; it belongs to another configuration."
                    )
                moment.copy_(saved)
        self.step_count = int(state["step_count"])
