"""The one way to change how many Gaussians a field has, and its optimiser with it."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from onefield.errors import DataError
from onefield.fields.field import Field
from onefield.fields.gaussians import GaussianField
from onefield.training.optimizer import Adam
from onefield.types import Gaussians, Lobes

PREFIX = "field."
"""Before a field's own names of its parameters in `Method.model`."""


def gaussian_part(field: Field) -> tuple[str, GaussianField]:
    """The set of Gaussians inside wrappers, and what its parameters' names begin with in `Method.model`.

    Raises:
        DataError: there is none.
    """
    for name, module in field.named_modules():
        if isinstance(module, GaussianField):
            return f"{PREFIX}{name}." if name else PREFIX, module
    raise DataError(f"{type(field).__name__} holds no set of Gaussians.")


@torch.no_grad()
def regroup(
    field: Field,
    optimizer: Adam | None,
    rows: Int[Tensor, "m"],
    fresh: Bool[Tensor, "m"],
    changes: dict[str, Tensor] | None = None,
) -> None:
    """Makes Gaussian k of the new set from Gaussian ``rows[k]`` of the old one; cloning, splitting and dropping are all
    choices of rows.

    Args:
        optimizer: whose moments follow; None where the field is only looked at.
        rows: indices, any number of times each.
        fresh: those that start without moments.
        changes: whole new values of some parameters, by their names in `GaussianField`.
    """
    prefix, gaussians = gaussian_part(field)
    changes = {} if changes is None else changes
    for name, old in list(gaussians.named_parameters()):
        parameter = gaussians.put(name, changes[name] if name in changes else old.detach()[rows])
        if optimizer is not None:
            optimizer.rearrange(prefix + name, parameter, rows, fresh)


def resize(field: Field, optimizer: Adam | None, saved: dict[str, Tensor]) -> None:
    """Gives the field the number of Gaussians of a checkpoint, whose values are loaded afterwards.

    Args:
        saved: tensors under the names of `Method.model`.

    Raises:
        DataError: the checkpoint holds no Gaussians.
    """
    prefix, gaussians = gaussian_part(field)
    means = saved.get(prefix + "means")
    if means is None or means.dim() != 2 or len(means) == 0:
        raise DataError(f"The checkpoint holds no Gaussians under '{prefix}means'; it belongs to another method.")
    if len(means) != len(gaussians):
        rows = torch.zeros(len(means), dtype=torch.int64)
        regroup(field, optimizer, rows, torch.ones_like(rows, dtype=torch.bool))


@torch.no_grad()
def averaged_gaussians(field: Field, optimizer: Adam) -> GaussianField:
    """A field of the same Gaussians with the running averages of their parameters, which no gradient reaches.

    Raises:
        DataError: the field holds no Gaussians.
        UsageError: the optimiser keeps no averages.
    """
    prefix, gaussians = gaussian_part(field)
    average = {name: optimizer.average(prefix + name) for name, _ in gaussians.named_parameters()}
    lobes = None
    if gaussians.lobes is not None:
        lobes = Lobes(**{name: average[f"lobes.{name}"] for name in gaussians.lobes})
    copy = GaussianField(
        gaussians.domain,
        Gaussians(
            *(average[name] for name in ("means", "log_scales", "quaternions", "opacities")),
            tuple(average[f"harmonics.{band}"] for band in range(len(gaussians.harmonics))),
            lobes,
        ),
    )
    copy.bands.copy_(gaussians.bands)
    return copy
