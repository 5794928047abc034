"""Fits that begin with weights of equal variance in every layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from onefield.data.points import Points
from onefield.data.signals import Shape, Signal
from onefield.errors import UsageError
from onefield.fields.field import Field
from onefield.fields.networks.activated import ActivatedNetwork
from onefield.fields.networks.variance import keep_variance
from onefield.training.fit_methods.fit_method import FitMethod, FitParts
from onefield.training.recipes import Target


@dataclass(frozen=True)
class KeptVariance(FitMethod):
    """First weights that keep variance over the layers, whatever the activation; see `keep_variance`.

    Attributes:
        deviation: wanted of what the activations see, their factor included; the output then deviates by it over the
            factor.
        samples: of the activation, by Monte Carlo; None integrates.
    """

    name: ClassVar[str] = "variance"
    deviation: float = 1.0
    samples: int | None = None

    def begin(
        self, field: Field, signal: Signal | Shape | Points, target: Target, generator: torch.Generator
    ) -> FitParts:
        """Draws the weights anew.

        Raises:
            UsageError: a field without layers of one activation, or a deviation or number of samples out of range.
        """
        del signal, target
        networks = [module for module in field.modules() if isinstance(module, ActivatedNetwork)]
        if not networks:
            raise UsageError(
                f"The method '{self.name}' needs layers of one activation, which this field lacks; take another, such "
                "as 'siren', 'finer' or 'gaussian', or leave it out."
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
            for network in networks:
                keep_variance(network, self.deviation / network.factors[-1], samples=self.samples)
        return FitParts()
