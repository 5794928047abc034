"""A field that starts again once the poses that it is learned from have settled."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from onefield.fields.field import Field
from onefield.training.method import Strategy
from onefield.training.optimizer import Adam, GroupRate

# Share of the poses' rate that is left before the field starts again: small enough that noise moves them no more.
_LAST_POSE_RATE = 0.03


class FreshStart(Strategy):
    """Forgets the field once: what it learned from wrong poses stays in its details, and holds the poses there.

    Sampler and background go on as they are. Poses stay as they are from then on (`pose_rate`): an untrained field
    would lead them astray, and a trained one moves them to and fro.
    """

    def __init__(self, build: Callable[[], Field], share: float) -> None:
        """Args:
        build: the field as it was before training.
        share: of the run, after which it starts again.
        """
        self.build = build
        self.share = share
        self.done = False

    @torch.no_grad()
    def before_step(self, field: Field, optimizer: Adam, progress: float) -> None:
        """Takes the first values back, with zero moments, once it is time."""
        if self.done or progress < self.share:
            return
        self.done = True
        fresh = dict(self.build().named_parameters())
        for name, parameter in field.named_parameters():
            parameter.copy_(fresh[name])
            optimizer.replace(f"field.{name}", parameter)

    def pose_rate(self, rate: float) -> GroupRate:
        """The schedule of the poses that goes with it."""
        return GroupRate(rate, final=_LAST_POSE_RATE, end=self.share)

    def state(self) -> dict[str, Tensor]:
        """Whether it has started again."""
        return {"done": torch.tensor(self.done)}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """See `Strategy`."""
        self.done = bool(state["done"])

    def match(self, field: Field, saved: dict[str, Tensor], optimizer: Adam | None = None) -> None:
        """Shapes stay."""
