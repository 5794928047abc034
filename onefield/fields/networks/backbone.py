"""Networks of coordinates by name, each with the sizes and the learning rate that suit it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from onefield.fields.networks.network import Network

Options = dict[str, float]


@dataclass(frozen=True)
class Backbone:
    """A network that maps coordinates in [-1, 1] to values, as ``fit(field=name)`` builds and trains it.

    Attributes:
        name: for ``fit`` and ``--field``.
        kind: takes the numbers of inputs and outputs, then by name each of ``options`` and ``output_gain``, a factor on
            the first weights of its output.
        options: its arguments; whole numbers stay whole.
        rate: peak learning rate of Adam.
        stretched: whether its inputs may exceed [-1, 1], as those of long sounds do.
        growing: options that a larger network multiplies alike, its width among them.
    """

    name: str
    kind: Callable[..., Network]
    options: Options
    rate: float = 1e-3
    stretched: bool = True
    growing: tuple[str, ...] = ("width",)

    def build(self, inputs: int, outputs: int, options: Options) -> Network:
        """The network with these options, which may hold others besides its own.

        Raises:
            KeyError: an option or the ``output_gain`` is missing.
            UsageError: a size that the network can't have.
        """
        chosen = {name: type(default)(options[name]) for name, default in self.options.items()}
        return self.kind(inputs, outputs, **chosen, output_gain=options["output_gain"])
