"""Rounding a field's numbers together, so that the error of each is made up for by those that are rounded after it.

To second order, a change e of all numbers changes the field's values by ``e' H e`` in the mean square, where H is the
mean of products of their derivatives. With ``H = U' U``, U upper triangular, that is a sum of squares, one a row: from
the last number to the first each is rounded to where its row is least, given those before (Babai's nearest plane, 1986;
in networks Frantar and Alistarh 2022, "Optimal brain compression").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.func import grad, vmap

from onefield.fields.field import Field
from onefield.kernels import use
from onefield.training.field_function import Weights, field_function, weights_of
from onefield.training.recipes import Target

# Fields of more numbers are rounded one by one: H grows with the square.
MOST_JOINT = 6000
# Places for each number at which derivatives are measured, and how many at a time.
_PLACES_A_NUMBER, _LEAST_PLACES, _CHUNK = 3, 4096, 512
# Share of the mean curvature that every number has besides, as rounding is no small change and places are not all.
_DAMPING = 1e-2


@dataclass(frozen=True)
class Curvature:
    """H of a field, made triangular.

    Attributes:
        order: places of the numbers in the field's row, in the order of the factor.
        factor: U, in this order.
    """

    order: np.ndarray
    factor: np.ndarray

    def conditional(self) -> np.ndarray:
        """Mean square of the values' change by a change of each number that those rounded after it make up for."""
        found = np.empty(len(self.order))
        found[self.order] = np.square(np.diag(self.factor))
        return found

    def rounded(self, values: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Whole numbers of steps.

        Args:
            values: of the field's row, float64 of shape ``n``.
            steps: of each number.
        """
        values, steps = values[self.order], steps[self.order]
        numbers, errors = np.empty(len(values)), np.zeros(len(values))
        for place in range(len(values) - 1, -1, -1):
            row = self.factor[place]
            best = values[place] + row[place + 1 :] @ errors[place + 1 :] / row[place]
            numbers[place] = np.rint(best / steps[place])
            errors[place] = values[place] - numbers[place] * steps[place]
        found = np.empty(len(values), np.int64)
        found[self.order] = numbers.astype(np.int64)
        return found


def curvature_of(field: Field, names: list[str], target: Target, seed: int) -> Curvature | None:
    """The curvature of a field's values by the parameters of these names; None where it has too many numbers, or
    formulas that can't be mapped over points.

    Args:
        seed: of the places, and of the random signs of channels (Hutchinson 1990).
    """
    count = sum(field.get_parameter(name).numel() for name in names)
    if count > MOST_JOINT:
        return None
    generator = torch.Generator().manual_seed(seed)
    places = max(_LEAST_PLACES, _PLACES_A_NUMBER * count)
    points = target.domain.from_unit(torch.rand(places, target.domain.dimension, generator=generator))
    signs = 2.0 * torch.randint(0, 2, (places, target.channels), generator=generator) - 1
    function, weights = field_function(field, target.quantity), weights_of(field)

    def answer(weights: Weights, point: Tensor, sign: Tensor) -> Tensor:
        return (function(weights, point[None]).flatten() * sign).sum() / target.scale

    products = np.zeros((count, count))
    # the plain formulas can be mapped over points, compiled kernels can't
    with use("reference"):
        for part, sign in zip(points.split(_CHUNK), signs.split(_CHUNK), strict=True):
            try:
                slopes = vmap(grad(answer), in_dims=(None, 0, 0))(weights, part, sign)
            except RuntimeError:
                return None
            rows = torch.cat([slopes[name].flatten(1) for name in names], 1)
            products += (rows.T @ rows).double().numpy()
    products /= places * target.channels
    return _factored(products)


def _factored(products: np.ndarray) -> Curvature:
    """Flat numbers first in the factor, to be rounded last, so that no row of it is steep."""
    damped = products + np.eye(len(products)) * _DAMPING * np.diag(products).mean()
    order = np.argsort(np.diag(damped), kind="stable")
    return Curvature(order, np.linalg.cholesky(damped[np.ix_(order, order)]).T)
