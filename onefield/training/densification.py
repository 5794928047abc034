"""Strategies that decide how many Gaussians there are and where: the original, its variant on absolute gradients, MCMC.

All speak in shares of the run, so that a short run goes through the same stages as a long one; the defaults are the
papers' steps divided by their 30,000.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from onefield.fields.field import Field
from onefield.fields.gaussians import GaussianField
from onefield.kernels.gaussian_footprints import rotations
from onefield.training.gaussian_editing import gaussian_part, regroup, resize
from onefield.training.method import Strategy
from onefield.training.optimizer import Adam
from onefield.types import Rendering

# A standard deviation in a sum of this many binomial terms is as good as in more (3dgs-mcmc's bound).
MOST_COPIES = 51
# Steepness of the noise's gate about the opacity of the dead (Kheradmand et al. (2024), eq. 9).
GATE_SLOPE = 100.0


@dataclass(frozen=True)
class Rhythm:
    """When a strategy acts.

    Attributes:
        start, end: shares of the run between which it acts.
        events: how often, evenly spaced.
    """

    start: float
    end: float
    events: int

    def due(self, progress: float) -> int:
        """How many events should have happened by now."""
        if self.events == 0 or progress < self.start:
            return 0
        share = min(1.0, (progress - self.start) / max(self.end - self.start, 1 / self.events))
        return min(self.events, 1 + int(share * (self.events - 1)))


class DegreeSchedule(Strategy):
    """Raises the degree of colours one by one (Kerbl et al. (2023), section 7.1: every 1,000 of 30,000 steps)."""

    def __init__(self, every: float = 1 / 30) -> None:
        """Args:
        every: share of the run between two degrees.
        """
        self.every = every

    def before_step(self, field: Field, optimizer: Adam, progress: float) -> None:
        """See `Strategy`."""
        gaussian_part(field)[1].raise_degree(int(progress / self.every))

    def match(self, field: Field, saved: dict[str, Tensor], optimizer: Adam | None = None) -> None:
        """The degree is part of the field's state."""


class Densification(Strategy):
    """What all strategies on the number of Gaussians share: a rhythm, a bound, and their way to disk."""

    def __init__(self, rhythm: Rhythm, most: int) -> None:
        """Args:
        most: Gaussians that there may be, at least 1.
        """
        self.rhythm = rhythm
        self.most = most
        self.done = 0

    def before_step(self, field: Field, optimizer: Adam, progress: float) -> None:
        """Nothing: a strategy acts on what a step has shown."""

    def match(self, field: Field, saved: dict[str, Tensor], optimizer: Adam | None = None) -> None:
        """See `Strategy`."""
        resize(field, optimizer, saved)

    def state(self) -> dict[str, Tensor]:
        """How many events are done."""
        return {"done": torch.tensor(self.done)}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """See `Strategy`."""
        self.done = int(state["done"])

    def _is_time(self, progress: float) -> bool:
        """Whether an event is due; events that a slow step has skipped are made up for by one."""
        due = self.rhythm.due(progress)
        if due <= self.done:
            return False
        self.done = due
        return True


class Mcmc(Densification):
    """Gaussians as samples of a Markov chain: noise on their places, the dead moved to the living, a steady growth.

    Kheradmand et al., "3D Gaussian splatting as Markov chain Monte Carlo" (2024), section 4 and algorithm 1.
    """

    def __init__(self, rhythm: Rhythm, most: int, *, growth: float, least_opacity: float, noise: float) -> None:
        """Makes the strategy.

        Args:
            growth: factor on the number of Gaussians at each event, up to ``most``.
            least_opacity: at or below which a Gaussian is dead.
            noise: factor on the rate of the means, which noise is scaled by.
        """
        super().__init__(rhythm, most)
        self.growth = growth
        self.least_opacity = least_opacity
        self.noise = noise

    def after_step(
        self, field: Field, optimizer: Adam, rendering: Rendering, progress: float, generator: torch.Generator
    ) -> None:
        """Relocates and adds where it is time; then moves all a little."""
        gaussians = gaussian_part(field)[1]
        if self._is_time(progress):
            self._relocate(field, optimizer, generator)
            self._add(field, optimizer, generator)
        rate = optimizer.rate("means", 1.0, progress, 1.0)
        _shake(gaussians, rate * self.noise, self.least_opacity, generator)

    @torch.no_grad()
    def _relocate(self, field: Field, optimizer: Adam, generator: torch.Generator) -> None:
        gaussians = gaussian_part(field)[1]
        opacities = torch.sigmoid(gaussians.opacities)
        alive = opacities > self.least_opacity
        dead = (~alive).nonzero()[:, 0]
        if len(dead) == 0 or not bool(alive.any()):
            return
        chosen = _drawn(torch.where(alive, opacities, 0.0), len(dead), generator)
        rows = torch.arange(len(gaussians))
        rows[dead] = chosen
        _spread_over(field, optimizer, rows)

    @torch.no_grad()
    def _add(self, field: Field, optimizer: Adam, generator: torch.Generator) -> None:
        gaussians = gaussian_part(field)[1]
        count = len(gaussians)
        extra = min(self.most, int(self.growth * count)) - count
        if extra > 0:
            chosen = _drawn(torch.sigmoid(gaussians.opacities), extra, generator)
            _spread_over(field, optimizer, torch.cat([torch.arange(count), chosen]))


class Adaptive(Densification):
    """Clones small and splits large Gaussians whose middles are pulled about, drops faint ones, and resets opacities.

    Kerbl et al. (2023), section 5.2, with the constants of their code; on absolute gradients it is Ye et al., "AbsGS"
    (2024).
    """

    def __init__(
        self,
        rhythm: Rhythm,
        most: int,
        *,
        extent: float,
        pull: float,
        absolute: bool,
        large: float = 0.01,
        huge: float = 0.1,
        least_opacity: float = 0.005,
        resets: int = 5,
    ) -> None:
        """Makes the strategy.

        Args:
            extent: of the scene as the cameras have it, world units.
            pull: mean gradient of the middle from which on a Gaussian is densified: on the picture, in units of half of
                it, where Gaussians were splatted, else in space, in world units (RayGauss's rule).
            absolute: take the sum of the pixels' absolute gradients (the renderer must be ``tallied``).
            large: standard deviation over the extent above which one is split instead of cloned.
            huge: and above which one is dropped, after the first reset.
            least_opacity: below which one is dropped.
            resets: how often all opacities fall to twice that, evenly spaced over the rhythm.
        """
        super().__init__(rhythm, most)
        self.extent = extent
        self.pull = pull
        self.absolute = absolute
        self.large = large
        self.huge = huge
        self.least_opacity = least_opacity
        self.resets = Rhythm(rhythm.start + (rhythm.end - rhythm.start) / (resets + 1), rhythm.end, resets)
        self.reset = 0
        self.pulls: Float[Tensor, "P"] | None = None
        self.seen: Float[Tensor, "P"] | None = None

    def after_step(
        self, field: Field, optimizer: Adam, rendering: Rendering, progress: float, generator: torch.Generator
    ) -> None:
        """Adds up gradients; clones, splits, drops and resets where it is time."""
        if progress > self.rhythm.end:
            return
        gaussians = gaussian_part(field)[1]
        self._watch(rendering, gaussians)
        if self._is_time(progress):
            self._densify(field, optimizer, generator)
        due = self.resets.due(progress)
        if due > self.reset and progress < self.rhythm.end:
            self.reset = due
            self._reset_opacities(field, optimizer)

    def state(self) -> dict[str, Tensor]:
        """Events done, and what was watched since the last."""
        watched = {} if self.pulls is None else {"pulls": self.pulls, "seen": self.seen}
        return super().state() | {"reset": torch.tensor(self.reset)} | watched

    def load_state(self, state: dict[str, Tensor]) -> None:
        """See `Strategy`."""
        super().load_state(state)
        self.reset = int(state["reset"])
        self.pulls, self.seen = state.get("pulls"), state.get("seen")

    @torch.no_grad()
    def _watch(self, rendering: Rendering, gaussians: GaussianField) -> None:
        splats = rendering.splats
        if splats is None:
            slopes = gaussians.means.grad
        else:
            slopes = splats.tally.grad if self.absolute else splats.pixels.grad
        if slopes is None:
            return
        count = len(gaussians)
        if self.pulls is None or len(self.pulls) != count:
            self.pulls, self.seen = torch.zeros(count), torch.zeros(count)
        if splats is None:
            self.pulls += slopes.norm(dim=-1)
            self.seen += slopes.any(dim=-1).to(self.seen)
            return
        # the papers' thresholds are for a picture two units wide
        height, width = splats.size
        self.pulls += (slopes * slopes.new_tensor([width / 2, height / 2])).norm(dim=-1)
        self.seen += (splats.reach[:, 0] > 0).to(self.seen)

    @torch.no_grad()
    def _densify(self, field: Field, optimizer: Adam, generator: torch.Generator) -> None:
        gaussians = gaussian_part(field)[1]
        count = len(gaussians)
        mean = self.pulls / self.seen.clamp(min=1)
        grows = mean > self.pull
        room = self.most - count
        if int(grows.sum()) > room:
            # those that are pulled most
            grows = torch.zeros_like(grows).index_fill(0, mean.topk(max(room, 0)).indices, True)
        scales = gaussians.log_scales.exp().amax(1)
        splits = grows & (scales > self.large * self.extent)
        clones = grows & ~splits
        keeps = torch.sigmoid(gaussians.opacities) >= self.least_opacity
        if self.reset > 0:
            keeps &= scales <= self.huge * self.extent
        keeps |= grows
        stays, twice = (keeps & ~splits).nonzero()[:, 0], splits.nonzero()[:, 0].repeat_interleave(2)
        rows = torch.cat([stays, clones.nonzero()[:, 0], twice])
        if len(rows) == 0:
            return
        fresh = torch.arange(len(rows)) >= len(stays)
        means, log_scales = gaussians.means[rows], gaussians.log_scales[rows]
        if len(twice):
            means[-len(twice) :] += _offsets(gaussians, twice, generator)
            log_scales[-len(twice) :] -= math.log(SPLIT_FACTOR)
        regroup(field, optimizer, rows, fresh, {"means": means, "log_scales": log_scales})
        self.pulls = self.seen = None

    @torch.no_grad()
    def _reset_opacities(self, field: Field, optimizer: Adam) -> None:
        prefix, gaussians = gaussian_part(field)
        low = 2 * self.least_opacity
        bound = math.log(low / (1 - low))
        rows = torch.arange(len(gaussians))
        lowered = gaussians.put("opacities", gaussians.opacities.detach().clamp(max=bound))
        optimizer.rearrange(prefix + "opacities", lowered, rows, torch.ones_like(rows, dtype=torch.bool))


SPLIT_FACTOR = 1.6
"""By which the two halves of a split Gaussian are smaller (Kerbl et al. (2023), section 5.2)."""


def _drawn(weights: Float[Tensor, "P"], count: int, generator: torch.Generator) -> Int[Tensor, "count"]:
    """Indices in proportion to weights, with repetition."""
    running = weights.double().cumsum(0)
    places = torch.rand(count, dtype=torch.float64, generator=generator) * running[-1]
    return torch.searchsorted(running, places).clamp(max=len(weights) - 1)


def _spread_over(field: Field, optimizer: Adam, rows: Int[Tensor, "m"]) -> None:
    """Regroups so that the copies of a Gaussian together look like the one; their moments start anew."""
    gaussians = gaussian_part(field)[1]
    copies = torch.bincount(rows, minlength=len(gaussians))[rows]
    shared = copies > 1
    opacities, log_scales = shared_among(
        torch.sigmoid(gaussians.opacities.detach()[rows]), gaussians.log_scales.detach()[rows], copies
    )
    changes = {
        "opacities": torch.where(shared, torch.logit(opacities), gaussians.opacities.detach()[rows]),
        "log_scales": torch.where(shared[:, None], log_scales, gaussians.log_scales.detach()[rows]),
    }
    regroup(field, optimizer, rows, shared, changes)


def shared_among(
    opacities: Float[Tensor, "m"], log_scales: Float[Tensor, "m 3"], copies: Int[Tensor, "m"]
) -> tuple[Float[Tensor, "m"], Float[Tensor, "m 3"]]:
    """Opacity and log-scales with which so many copies in one place let as much light through as the one did.

    Kheradmand et al. (2024), eq. 7: in the middle exactly, and in the integral across it.
    """
    copies = copies.clamp(max=MOST_COPIES)
    share = 1 - (1 - opacities.double()) ** (1 / copies)
    total = torch.zeros_like(share)
    # sum over i of the integral of o (1 - o G)^(i-1) G, whose k-th binomial term has a width of 1 / sqrt(k + 1)
    for row in range(1, int(copies.max()) + 1 if len(copies) else 1):
        terms = sum(math.comb(row - 1, k) * (-1) ** k / math.sqrt(k + 1) * share ** (k + 1) for k in range(row))
        total += torch.where(copies >= row, terms, 0.0)
    stretch = (opacities.double() / total).log().to(log_scales)
    # an opacity of just 0 or 1 has no logit
    margin = torch.finfo(torch.float32).eps
    return share.to(opacities).clamp(margin, 1 - margin), log_scales + stretch[:, None]


def _offsets(gaussians: GaussianField, rows: Int[Tensor, "m"], generator: torch.Generator) -> Float[Tensor, "m 3"]:
    """Random places of the Gaussians' own distribution about their means."""
    steps = torch.randn(len(rows), 3, generator=generator) * gaussians.log_scales.detach()[rows].exp()
    return (rotations(gaussians.quaternions.detach()[rows]) @ steps[:, :, None])[:, :, 0]


@torch.no_grad()
def _shake(gaussians: GaussianField, size: float, least_opacity: float, generator: torch.Generator) -> None:
    """Noise along each Gaussian's own shape, most for those that hardly show (Kheradmand et al. (2024), eq. 9)."""
    axes, variances = rotations(gaussians.quaternions), (2 * gaussians.log_scales).exp()
    noise = torch.randn(len(gaussians), 3, generator=generator)
    gate = torch.sigmoid(GATE_SLOPE * (least_opacity - torch.sigmoid(gaussians.opacities)))
    along = (axes.mT @ noise[:, :, None])[:, :, 0] * variances
    gaussians.means += (axes @ along[:, :, None])[:, :, 0] * (size * gate)[:, None]
