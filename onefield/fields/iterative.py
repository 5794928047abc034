"""A field of values that are refined step by step, around any other field."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from onefield.errors import UsageError
from onefield.fields.field import Field
from onefield.fields.heads.value import ValueHead
from onefield.types import Sample


def blended(
    signal: Float[Tensor, "n c"], start: Float[Tensor, "n c"], times: Float[Tensor, "n"]
) -> Float[Tensor, "n c"]:
    """What lies between a signal, at time 0, and where refinement starts, at time 1: ``(1 - t) I + t Z``."""
    return torch.lerp(signal, start, times[:, None])


def refined(
    estimate: Float[Tensor, "n c"], current: Float[Tensor, "n c"], earlier: float, time: float
) -> Float[Tensor, "n c"]:
    """The mean of the blend at an earlier time, given that of this time and an estimate of the signal by it.

    ``E[g_s | g_t] = (1 - s / t) E[g_0 | g_t] + (s / t) g_t`` for s < t.
    """
    return torch.lerp(estimate, current, earlier / time)


class IterativeField(Field):
    """Values that start at 0 and are refined in equal steps of time, from 1 to 0 (I-INR, arXiv 2504.17364).

    A second field, the backbone, is asked once a point. A small network embeds time and the current blend
    (FeedbackNet), another one joins that with features of the backbone (FuseNet). What they say is weighed by
    ``1 - t``: a blend at time 1 tells nothing of the signal, so that the first estimate is the backbone's alone, and
    with one step the field **is** its backbone.

    Attributes:
        backbone: answers values of ``channels`` and, after them, features.
        steps: of refinement.
        feedback, fusion: the small networks; what is fused begins at 0.
        head: from the units of a blend, in which Z has deviation 1, to the signal's.
    """

    def __init__(self, backbone: Field, channels: int, features: int, head: ValueHead, steps: int) -> None:
        """Wraps a backbone.

        Args:
            backbone: of ``channels + features`` values.
            channels: of the answer.

        Raises:
            UsageError: a size that is not positive, or a backbone without values.
        """
        super().__init__()
        if min(channels, features, steps) < 1 or "value" not in backbone.provides:
            raise UsageError(
                f"Iterative refinement needs channels, features and steps of 1 or more and a backbone of values, got "
                f"{channels}, {features}, {steps} and one of {', '.join(sorted(backbone.provides))}."
            )
        self.domain = backbone.domain
        self.provides = frozenset({"value"})
        self.backbone = backbone
        self.steps = steps
        self.channels = channels
        self.feedback = nn.Sequential(nn.Linear(channels + 1, features), nn.SiLU(), nn.Linear(features, features))
        self.fusion = nn.Sequential(nn.Linear(2 * features, features), nn.SiLU(), nn.Linear(features, channels))
        nn.init.zeros_(self.fusion[-1].weight)
        nn.init.zeros_(self.fusion[-1].bias)
        self.head = head

    def estimate(
        self, points: Float[Tensor, "n d"], current: Float[Tensor, "n c"], times: Float[Tensor, "n"]
    ) -> Float[Tensor, "n c"]:
        """The signal by a blend of it, ``E[g_0 | g_t]``; in the units of a blend."""
        return self._fused(self._of_backbone(points), current, times)

    def states(self, points: Float[Tensor, "n d"], steps: int | None = None) -> list[Float[Tensor, "n c"]]:
        """The blends from time 1 to time 0, in their units.

        Args:
            steps: the field's own number by default.
        """
        count = self.steps if steps is None else steps
        known = self._of_backbone(points)
        states = [known.new_zeros(len(points), self.channels)]
        for time, earlier in pairwise(1 - step / count for step in range(count + 1)):
            estimate = self._fused(known, states[-1], known.new_full((len(points),), time))
            states.append(refined(estimate, states[-1], earlier, time))
        return states

    def _of_backbone(self, points: Tensor) -> Tensor:
        return self.backbone.query(points, want=("value",)).value.to(self.feedback[0].weight)

    def _fused(self, known: Tensor, current: Tensor, times: Tensor) -> Tensor:
        fed_back = self.feedback(torch.cat([current, times[:, None]], dim=-1))
        correction = self.fusion(torch.cat([known[:, self.channels :], fed_back], dim=-1))
        return known[:, : self.channels] + (1 - times[:, None]) * correction

    def _evaluate(
        self,
        points: Float[Tensor, "n d"],
        directions: Float[Tensor, "n 3"] | None,
        time: Float[Tensor, "n"] | None,
        want: frozenset[str],
    ) -> Sample:
        return Sample(value=self.head(self.states(points)[-1]))

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Those of the backbone; the small networks learn as its network does."""
        groups = {name: list(members) for name, members in self.backbone.parameter_groups().items()}
        groups.setdefault("network", []).extend([*self.feedback.parameters(), *self.fusion.parameters()])
        return groups
