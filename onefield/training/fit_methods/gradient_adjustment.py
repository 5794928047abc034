"""Inductive gradient adjustment: errors are weighed so that slow parts of a signal are learned as fast as others."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from onefield.data.points import Points
from onefield.data.signals import Shape, Signal
from onefield.errors import UsageError
from onefield.fields.field import Field
from onefield.training.fit_methods.fit_method import FitMethod, FitParts, SampleBatch, squared_error
from onefield.training.memory import MemoryNeed, require
from onefield.training.recipes import Target
from onefield.training.tangent_kernel import tangent_kernel

# A gradient in float32, and a copy in float64 of one parameter's for the products.
_BYTES_PER_ENTRY = 12


@dataclass(frozen=True)
class GradientAdjustment(FitMethod):
    """IGA (Shi et al., "Inductive Gradient Adjustment for Spectral Bias in Implicit Neural Representations", 2025).

    Samples are grouped with their neighbours. The places within the groups at which some group has its largest error
    stand for each of them, as in the authors' program (one sample a group, as in their paper, brings less); the tangent
    kernel of these sums says how fast each pattern over the groups is learned. The fastest patterns are slowed down to
    the next one: residuals of each place within the groups are multiplied by ``S = I - sum_i (1 - l_k / l_i)
    v_i v_i^T`` over the k largest eigenvalues ``l_i`` of the kernel. In each step all groups are looked at, and as many
    places within them as a batch allows.

    Attributes:
        groups: patterns that are told apart. The kernel costs as many gradients, of that many points at most, in each
            step.
        levelled: k, how many of the largest eigenvalues come down to the next; 0 leaves the fit as it is.
    """

    name: ClassVar[str] = "iga"
    groups: int = 128
    levelled: int = 20

    def __post_init__(self) -> None:
        if self.groups < 1 or self.levelled < 0:
            raise UsageError(
                f"GradientAdjustment needs a group and no negative number of levelled eigenvalues, got {self.groups} "
                f"and {self.levelled}."
            )

    def begin(
        self, field: Field, signal: Signal | Shape | Points, target: Target, generator: torch.Generator
    ) -> FitParts:
        """Groups the samples of one fit.

        Raises:
            UsageError: a signal without samples.
            ResourceError: the gradients of all groups don't fit into memory.
        """
        del target
        order = neighbour_order(self.samples_of(signal), self.groups)
        groups = min(self.groups, len(order))
        entries = groups * sum(p.numel() for p in field.parameters() if p.requires_grad)
        need = MemoryNeed(samples=_BYTES_PER_ENTRY * entries)
        require(need, f"The method '{self.name}' with {groups} groups", "take fewer groups, or a smaller field")
        adjusted = _Adjusted(order, groups, self.levelled, generator)
        return FitParts(pick=adjusted.pick, error=adjusted.error)


def neighbour_order(signal: Signal, groups: int) -> Int[Tensor, "known"]:
    """Flat indices of the known samples, so sorted that equal parts of the list are blocks of neighbours or nearly."""
    known = signal.known()
    edge = max(1, math.ceil((len(known) / groups) ** (1 / len(signal.shape))))
    block, rest = torch.zeros_like(known), known
    strides = 1
    for side in reversed(signal.shape):
        block = block + strides * torch.div(rest % side, edge, rounding_mode="floor")
        strides *= math.ceil(side / edge)
        rest = torch.div(rest, side, rounding_mode="floor")
    return known[torch.argsort(block, stable=True)]


def levelling(kernel: Float[Tensor, "n n"], levelled: int) -> Float[Tensor, "n n"]:
    """The matrix that brings the largest eigenvalues of a kernel down to the next one: ``S`` of IGA.

    Args:
        kernel: symmetric, without negative eigenvalues.
        levelled: how many; at most all but the last.
    """
    amounts, patterns = torch.linalg.eigh(kernel)
    count = min(levelled, len(amounts) - 1)
    identity = torch.eye(len(amounts), dtype=kernel.dtype, device=kernel.device)
    if count == 0:
        return identity
    first = patterns[:, -count:]
    # in rising order; rounding may leave the smallest eigenvalues just below 0
    shares = amounts[-count - 1].clamp(min=0) / amounts[-count:]
    return identity - (first * (1 - shares)) @ first.T


class _Adjusted:
    """Groups of neighbours, and their errors with adjusted gradients."""

    def __init__(self, order: Tensor, groups: int, levelled: int, generator: torch.Generator) -> None:
        self._order = order
        self._groups = groups
        self._levelled = levelled
        self._generator = generator

    def pick(self, field: Field, batch: int) -> Int[Tensor, "n"]:
        """The same places within all groups, group after group."""
        del field
        members = len(self._order) // self._groups
        left = len(self._order) - members * self._groups
        # groups begin elsewhere in each step, so that none is left out for ever
        start = int(torch.randint(left + 1, (1,), generator=self._generator))
        table = self._order[start : start + members * self._groups].reshape(self._groups, members)
        taken = max(1, min(members, batch // self._groups))
        if taken < members:
            table = table[:, torch.randperm(members, generator=self._generator)[:taken]]
        return table.flatten()

    def error(self, field: Field, batch: SampleBatch) -> Tensor:
        """The mean square of the errors, whose gradient is that of the adjusted ones."""
        whole = squared_error(field, batch)
        if self._levelled == 0:
            return whole
        residual = ((batch.answer - batch.truth) / batch.scale).detach()
        grouped = residual.reshape(self._groups, -1, residual.shape[-1])
        worst, counts = grouped.abs().sum(-1).argmax(1).unique(return_counts=True)
        points = batch.points.reshape(self._groups, -1, batch.points.shape[-1])
        kernel = tangent_kernel(field, points[:, worst], counts.to(residual))
        turned = levelling(kernel, self._levelled).to(residual) @ grouped.flatten(1)
        moved = 2 * (batch.answer / batch.scale * turned.reshape(residual.shape)).mean()
        return whole.detach() + moved - moved.detach()
