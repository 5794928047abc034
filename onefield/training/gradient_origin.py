"""Gradient origin networks: a set of signals in one decoder, whose codes are gradients, without an encoder."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from onefield.data.signals import Signal
from onefield.errors import DivergedError, UsageError
from onefield.fields.field import Field
from onefield.fields.held_coordinates import HeldCoordinates
from onefield.training.optimizer import Adam, GroupRate
from onefield.training.recipes import Recipe, Target, build_field, initial_field, recipe_for
from onefield.training.seeds import cpu_generator
from onefield.training.tensor_file import TensorFile
from onefield.types import Bounds

DECODER_FILE = TensorFile(
    "onefield_gradient_origin",
    2,
    "gradient-origin decoder",
    "learn one by 'onefield learn FOLDER --by gradient-origin'",
)
_MOMENTS = ("mean", "covariance")
_REPORTS = 20
# Adam's as in its paper; tables of features want others.
_BETA2, _EPSILON = 0.999, 1e-8  # keeps the quotient finite where a gradient is 0
_MOST_BROKEN_STEPS = 10
# The authors' program averages errors over batches of so many signals, and over channels, before it takes the gradient
# that is a code: with longer codes less is learned.
_AVERAGED = 64
# Nothing is learned from codes that add up the errors of more numbers than so many.
_NUMBERS_SUMMED = 64


@dataclass(frozen=True)
class GradientOriginDecoder:
    """A field over the coordinates of a signal followed by those of a code.

    Attributes:
        field: of a value, on the box of the signals and [-1, 1] along each axis of the code.
        target, recipe: how it was built.
        shape: samples along the axes of a signal's array.
        mean, covariance: of the codes of the signals that taught it, for new ones.
    """

    field: Field
    target: Target
    recipe: Recipe
    shape: tuple[int, ...]
    mean: Float[Tensor, "k"]
    covariance: Float[Tensor, "k k"]

    def code_of(self, signal: Signal) -> Float[Tensor, "k"]:
        """The code of a signal by its known samples: one gradient at the origin.

        Raises:
            UsageError: a signal of another shape.
        """
        if signal.shape != self.shape:
            raise UsageError(f"The decoder knows signals of shape {self.shape}, got one of {signal.shape}.")
        known = signal.known()
        step = code_step(self.target, math.prod(self.shape), len(known))
        codes = origin_codes(self.field, signal.points(known), signal.at(known)[None], len(self.mean), step)
        return codes[0].detach()

    def field_of(self, code: Float[Tensor, "k"]) -> Field:
        """The signal with this code, as a field over the signals' box."""
        return HeldCoordinates(self.field, code)

    @torch.no_grad()
    def values_of(self, code: Float[Tensor, "k"]) -> Float[Tensor, "*axes c"]:
        """The samples of the signal with this code."""
        points = _grid(self.shape)
        return self.field_of(code).query(points, want=("value",)).value.reshape(*self.shape, -1)

    def drawn(self, count: int, seed: int = 0) -> Float[Tensor, "n k"]:
        """New codes from the normal distribution of the known ones."""
        amounts, axes = torch.linalg.eigh(self.covariance.double())
        # rounding may leave the smallest variances just below 0
        spread = (axes * amounts.clamp(min=0).sqrt()).to(self.mean)
        normal = torch.randn(count, len(self.mean), generator=cpu_generator(seed))
        return self.mean + normal @ spread.T

    def save(self, path: str | Path) -> None:
        """Writes one safetensors file that `load_gradient_origin` opens.

        Raises:
            ResourceError: the file can't be written.
        """
        facts = {"target": asdict(self.target), "recipe": asdict(self.recipe), "shape": self.shape}
        tensors = {f"field.{name}": tensor for name, tensor in self.field.state_dict().items()}
        DECODER_FILE.write(path, facts, tensors | {name: getattr(self, name) for name in _MOMENTS})


def load_gradient_origin(path: str | Path) -> GradientOriginDecoder:
    """Opens what `GradientOriginDecoder.save` wrote.

    Raises:
        DataError: missing, damaged, or no such decoder.
    """
    with DECODER_FILE.opened(path) as (facts, tensors):
        recipe, target = Recipe(**facts["recipe"]), Target.of(facts["target"])
        field = build_field(recipe.field, recipe.options, target)
        mean, covariance = (tensors.pop(name) for name in _MOMENTS)
        field.load_state_dict({name.removeprefix("field."): tensor for name, tensor in tensors.items()})
        return GradientOriginDecoder(field, target, recipe, tuple(facts["shape"]), mean, covariance)


def code_step(target: Target, samples: int, known: int) -> float:
    """The factor on the gradient that is a code.

    A 64th of the errors' sum over samples and their mean over channels, as in the authors' program, but of 64 numbers
    at most; errors count relative to the signals' range.

    Args:
        samples: of a signal.
        known: how many of them; few count for all.
    """
    summed = min(samples / _AVERAGED, _NUMBERS_SUMMED)
    return summed / (known * target.channels) / (2 * target.scale) ** 2


def origin_codes(
    field: Field, points: Float[Tensor, "n d"], values: Float[Tensor, "b n c"], length: int, step: float = 1.0
) -> Float[Tensor, "b k"]:
    """The codes of signals: for each the negative gradient, at the origin, of its sum of squared errors.

    Bond-Taylor and Willcocks, "Gradient Origin Networks", ICLR 2021. Differentiable by the field's parameters.

    Args:
        field: of the points' coordinates and a code.
        points: of all signals alike.
        length: numbers of a code.
        step: factor on the gradient.
    """
    with torch.enable_grad():
        origin = torch.zeros(len(values), length, requires_grad=True)
        error = squared_errors(field, points, values, origin).sum()
        (slope,) = torch.autograd.grad(error, origin, create_graph=True)
    return -step * slope


def squared_errors(
    field: Field, points: Float[Tensor, "n d"], values: Float[Tensor, "b n c"], codes: Float[Tensor, "b k"]
) -> Float[Tensor, "b"]:
    """Of each signal, summed over its samples and channels."""
    count = len(points)
    places = torch.cat([points.repeat(len(codes), 1), codes.repeat_interleave(count, 0)], dim=-1)
    answer = field.query(places, want=("value",)).value
    return (answer.reshape(values.shape) - values).square().sum((1, 2))


def learn_gradient_origin(
    signals: Sequence[Signal],
    field: str | Recipe = "siren",
    *,
    code: int = 32,
    steps: int = 500,
    batch: int = 64,
    rate: float = 1e-4,
    seed: int = 0,
    observe: Callable[[str], None] | None = None,
) -> GradientOriginDecoder:
    """Learns one decoder for a set of signals, each of which is a code: its own gradient at the origin.

    Args:
        signals: all known, of one shape and number of channels.
        field: a representation that takes any number of axes, such as ``"siren"`` or ``"fourier"``, or a recipe.
        code: numbers of a code.
        steps: of Adam, at a rate that falls by half a cosine; the weights with the least loss of a batch are kept.
        rate: as in the paper, for the recipe's width; networks of 64 units bear five times as much.
        batch: signals of a step.
        seed: of first weights and batches.
        observe: is told, some twenty times, how far it is.

    Raises:
        UsageError: no signals, signals that differ in shape, or a number that is not positive.
        DivergedError: errors were not finite ten times in a row.
    """
    if len({signal.values.shape for signal in signals}) != 1:
        raise UsageError("Gradient origin networks learn from one signal or more, all of one shape.")
    if min(code, steps, batch) < 1 or not (math.isfinite(rate) and rate > 0):
        raise UsageError(
            f"A decoder needs positive sizes, got code {code}, steps {steps}, batch {batch} and rate {rate}."
        )
    values = torch.stack([signal.values.reshape(-1, signal.channels) for signal in signals])
    if not bool(torch.isfinite(values).all()):
        raise UsageError("Gradient origin networks learn from signals without unknown samples; fill them in first.")
    first = signals[0]
    recipe = recipe_for(field, first) if isinstance(field, str) else field
    box = first.domain
    domain = Bounds((*box.minimum, *(-1.0,) * code), (*box.maximum, *(1.0,) * code))
    low, high = values.min().item(), values.max().item()
    # a set of one constant has no range
    target = Target("value", domain, first.channels, (low + high) / 2, (high - low) / 2 or 1.0)
    decoder = initial_field(recipe, target, seed)
    points = _grid(first.shape)
    _descend(decoder, target, points, values, (code, steps, batch, rate), seed, observe or (lambda said: None))
    step = code_step(target, len(points), len(points))
    codes = torch.cat([origin_codes(decoder, points, part, code, step).detach() for part in values.split(batch)])
    centred = codes - codes.mean(0)
    covariance = centred.T @ centred / len(codes)
    return GradientOriginDecoder(decoder, target, recipe, first.shape, codes.mean(0), covariance)


def _descend(
    decoder: Field,
    target: Target,
    points: Tensor,
    values: Tensor,
    sizes: tuple[int, int, int, float],
    seed: int,
    observe: Callable[[str], None],
) -> None:
    code, steps, batch, rate = sizes
    length = code_step(target, len(points), len(points))
    generator = cpu_generator(seed)
    parameters = dict(decoder.named_parameters())
    optimizer = Adam(
        parameters, dict.fromkeys(parameters, "all"), {"all": GroupRate(rate)}, beta2=_BETA2, epsilon=_EPSILON
    )
    broken, least, best = 0, math.inf, {}
    for step in range(steps):
        chosen = values[torch.randperm(len(values), generator=generator)[:batch]]
        optimizer.zero_gradients()
        codes = origin_codes(decoder, points, chosen, code, length)
        loss = squared_errors(decoder, points, chosen, codes).mean()
        loss.backward()
        broken = 0 if bool(torch.isfinite(loss)) else broken + 1
        if loss.item() < least:
            least = loss.item()
            best = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        if broken == 0:
            optimizer.step((1 + math.cos(math.pi * step / steps)) / 2)
        if broken >= _MOST_BROKEN_STEPS:
            raise DivergedError(f"The codes lost all finite values at step {step}; take a rate below {rate:g}.")
        if step % max(1, steps // _REPORTS) == 0:
            observe(f"{step / steps:4.0%}  step {step}  squared error of a signal {loss.item():.3g}")
    # codes may run away late in training, and all that was learned with them
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(best[name])


def _grid(shape: tuple[int, ...]) -> Tensor:
    whole = Signal({1: "audio", 2: "image", 3: "volume"}[len(shape)], torch.zeros(*shape, 1), 1.0)
    return whole.points(torch.arange(math.prod(shape)))
