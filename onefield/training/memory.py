"""How much memory a run will take, said before it starts: from sizes alone, with nothing allocated."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from onefield.cameras import Cameras
from onefield.data.scene import Scene
from onefield.errors import ResourceError
from onefield.fields.encodings.encoding import Encoding
from onefield.fields.field import Field
from onefield.fields.gaussians import HasGaussians
from onefield.fields.networks.network import Network
from onefield.fields.shaded_surface import HasSurface
from onefield.kernels.gaussian_tiles import TILE
from onefield.kernels.system import memory_available
from onefield.renderers.chunking import DEFAULT_MEMORY, MOST_RAYS
from onefield.renderers.sampling.proposal import ProposalSampler
from onefield.renderers.sampling.sampler import Sampler
from onefield.training.evaluation import QUICK_VIEWS
from onefield.training.settings import TrainingSettings

GIBIBYTE = 2**30
# Libraries that are loaded late, compiled kernels and threads; measured with a field and pictures of next to nothing.
LIBRARIES = 400 * 2**20
# Values, gradient and two moments; a checkpoint holds the moments twice while they are written and hashed.
COPIES_IN_TRAINING = 8
# A checkpoint is read whole: values and moments, as bytes and as tensors.
COPIES_IN_OPENING = 6
# A value of an activation that is kept for the backward, its gradient, and what makes both, in bytes; measured.
BYTES_PER_ACTIVATION = 9
# Ends, indices, points, directions, weights and their gradients of one sample, in bytes.
BYTES_PER_SAMPLE = 192
# A ray through a scene of which nothing is known yet has some hundred samples.
BYTES_PER_FIRST_RAY = 2**14
# Rays, the answer and the buffers that scores are made from in float64, for one pixel of a whole picture; measured.
BYTES_PER_PIXEL = 360
# Rays that are sampled together have up to a thousand samples each before a field has learned what is empty.
BYTES_PER_SAMPLED_RAY = 20 * 2**10
# A pixel that may be drawn is listed in 4 bytes, and looked for with 9.
BYTES_PER_MASKED_PIXEL = 13
# A Gaussian's footprint, colour and their gradients; a pixel's, or ray's, colour, ray and structure. In bytes.
BYTES_PER_SPLAT = 850
BYTES_PER_SPLATTED_PIXEL = 800
# A tile that a Gaussian is drawn in: two indices, and what it earns there in eight moments and up to six channels.
BYTES_PER_TILE_PAIR = 64
# A Gaussian that a ray meets: three indices, and what it earns there in six numbers.
BYTES_PER_RAY_PAIR = 36
# Gaussians that a ray meets, and boxes around Gaussians that cover a pixel, by the cube root of how many there are, as
# when they fill a volume; measured at the start and after training on two scenes: 1.8 to 3.7, and 4.9 to 7.5.
RAY_PAIRS, BOXES = 4.0, 6.0
# A picture is decoded, turned and copied by a few threads at a time.
DECODING_COPIES, DECODING_THREADS = 3, 8
# Bytes of an occupancy cell beside the grid itself, while it is updated.
BYTES_PER_CELL_UPDATE = 16


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes that a task takes at its peak beside what the process holds already.

    Attributes:
        parameters: learned values with gradients, moments and the copies that a checkpoint takes.
        grid: what a sampler remembers.
        samples: activations of one step.
        pictures: decoded photos that are kept, and those being decoded.
        views: one whole rendered view and its scores.
    """

    parameters: int = 0
    grid: int = 0
    samples: int = 0
    pictures: int = 0
    views: int = 0

    @property
    def total(self) -> int:
        """Bytes at the peak; a step and a whole view are never computed at once."""
        return LIBRARIES + self.parameters + self.grid + self.pictures + max(self.samples, self.views)

    @property
    def largest(self) -> str:
        """Name of the part that takes most."""
        parts = {name: getattr(self, name) for name in PARTS}
        return max(parts, key=lambda name: parts[name])


PARTS = {
    "parameters": "parameters and their optimiser state",
    "grid": "the occupancy grid",
    "samples": "the samples of one step",
    "pictures": "decoded pictures",
    "views": "rendering one whole view",
}
"""What each part of a `MemoryNeed` is called in sentences."""


def training_need(
    field: Field,
    sampler: Sampler | None,
    settings: TrainingSettings,
    scene: Scene,
    *,
    cast: bool = False,
    downscale: int = 1,
) -> MemoryNeed:
    """What training a scene and scoring its held-out views takes.

    Args:
        field, sampler: may lie on the meta device, where they have sizes but no values; no sampler means Gaussians,
            or a surface.
        cast: whether rays are cast through Gaussians, which are splatted otherwise.
        downscale: factor by which the scene's pictures are smaller than their files.
    """
    return MemoryNeed(
        parameters=COPIES_IN_TRAINING * (_parameter_bytes(field) + _parameter_bytes(sampler)),
        grid=_grid_bytes(sampler),
        samples=_picture_step_bytes(field, settings.most_rays, _largest_view(scene.cameras), cast)
        if sampler is None
        else settings.samples_per_step * (_bytes_per_sample(field) + _proposal_bytes(sampler))
        + settings.first_rays * BYTES_PER_FIRST_RAY,
        pictures=_picture_bytes(scene, downscale),
        views=_view_bytes(scene.cameras),
    )


def opening_need(field: Field, sampler: Sampler | None, cameras: Cameras) -> MemoryNeed:
    """What opening a trained run and rendering the views of some cameras takes."""
    return MemoryNeed(
        parameters=COPIES_IN_OPENING * (_parameter_bytes(field) + _parameter_bytes(sampler)),
        grid=_grid_bytes(sampler),
        views=_view_bytes(cameras),
    )


def rendering_need(cameras: Cameras) -> MemoryNeed:
    """What rendering the views of some cameras takes, one at a time."""
    return MemoryNeed(views=_view_bytes(cameras))


def fitting_need(field: Field, batch: int, numbers: int) -> MemoryNeed:
    """What fitting a field to a signal takes.

    Args:
        batch: samples of a step.
        numbers: of the signal: samples times channels.
    """
    # the order of an epoch, the reconstruction, its error in float64 and the difference picture
    return MemoryNeed(
        parameters=COPIES_IN_TRAINING * _parameter_bytes(field),
        samples=batch * _bytes_per_sample(field),
        pictures=numbers * (8 + 4 + 8 + 8 + 4),
    )


def require(need: MemoryNeed, task: str, cure: str) -> None:
    """Refuses a task that would not end well.

    Args:
        task: such as ``"Training lego"``.
        cure: what to do, an imperative.

    Raises:
        ResourceError: less memory is available than the task needs.
    """
    available = memory_available()
    if need.total > available:
        raise ResourceError(refusal(need, task, cure, available))


def refusal(need: MemoryNeed, task: str, cure: str, available: int) -> str:
    """The sentence that says so."""
    largest = need.largest
    return (
        f"{task} needs about {_gibibytes(need.total)} of memory ({_gibibytes(getattr(need, largest))} of it for "
        f"{PARTS[largest]}), but {_gibibytes(available)} are available; {cure}."
    )


def _gibibytes(size: int) -> str:
    return f"{size / GIBIBYTE:.1f} GiB"


def _parameter_bytes(module: nn.Module | None) -> int:
    if module is None:
        return 0
    return sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())


def ray_pairs(gaussians: int, rays: int) -> int:
    """Pairs of rays and Gaussians that meet, as many as there may well be."""
    return math.ceil(RAY_PAIRS * gaussians ** (1 / 3) * rays)


def tile_pairs(gaussians: int, pixels: int) -> int:
    """Pairs of tiles and Gaussians drawn in them, as many as there may well be.

    Boxes of width w, in tiles, lie in ``(1 + w)^2`` of them; so many pairs there are where all are alike.
    """
    covered = BOXES * gaussians ** (1 / 3) * pixels / TILE**2
    return math.ceil((math.sqrt(gaussians) + math.sqrt(covered)) ** 2)


def _picture_step_bytes(field: Field, rays: int, view: int, cast: bool) -> int:
    if isinstance(field, HasSurface):
        # each pixel that sees the surface asks for one colour
        return (BYTES_PER_SPLATTED_PIXEL + _bytes_per_sample(field)) * min(rays, view)
    gaussians = sum(len(module) for module in field.modules() if isinstance(module, HasGaussians))
    if cast:
        pairs = BYTES_PER_RAY_PAIR * ray_pairs(gaussians, rays)
    else:
        pairs = BYTES_PER_TILE_PAIR * tile_pairs(gaussians, min(rays, view))
    return BYTES_PER_SPLAT * gaussians + BYTES_PER_SPLATTED_PIXEL * rays + pairs


def _grid_bytes(sampler: Sampler | None) -> int:
    if sampler is None:
        return 0
    cells = [buffer.numel() for buffer in sampler.buffers()]
    return sum(buffer.numel() * buffer.element_size() for buffer in sampler.buffers()) + (
        BYTES_PER_CELL_UPDATE * max(cells, default=0)
    )


def _activations(field: nn.Module) -> int:
    """Numbers that the layers of a field make of one point."""
    encoded = sum(module.output_dimension for module in field.modules() if isinstance(module, Encoding))
    networks = [module for module in field.modules() if isinstance(module, Network)]
    # a layer's matrix is outputs x inputs
    layers = sum(sum(weight.shape) for network in networks for weight in network.parameters() if weight.dim() == 2)
    return encoded + layers


def _bytes_per_sample(field: nn.Module) -> int:
    return BYTES_PER_SAMPLE + BYTES_PER_ACTIVATION * _activations(field)


def _proposal_bytes(sampler: Sampler) -> int:
    """Of all rounds, for each sample that comes out of them."""
    if not isinstance(sampler, ProposalSampler):
        return 0
    rounds = zip(sampler.counts, sampler.proposals, strict=True)
    return sum(count * _bytes_per_sample(proposal) for count, proposal in rounds) // sampler.final


def _view_bytes(cameras: Cameras) -> int:
    pixels = _largest_view(cameras)
    return DEFAULT_MEMORY + BYTES_PER_SAMPLED_RAY * min(MOST_RAYS, pixels) + BYTES_PER_PIXEL * pixels


def _largest_view(cameras: Cameras) -> int:
    return int((cameras.width * cameras.height).max())


def _picture_bytes(scene: Scene, downscale: int) -> int:
    images = scene.images
    drawn = [images.byte_size(int(index)) for index in scene.train_indices]
    held = sorted((images.byte_size(int(index)) for index in scene.test_indices), reverse=True)
    kept = min(sum(drawn) + sum(held), images.byte_budget) + sum(held[:QUICK_VIEWS])
    window = min(sum(drawn), images.byte_budget) // images.channels
    masks = 0 if scene.masks is None else BYTES_PER_MASKED_PIXEL * window
    stored = _largest_view(scene.cameras) * downscale**2 * images.channels
    decoding = DECODING_COPIES * stored * min(DECODING_THREADS, len(images), max(1, math.ceil(sum(drawn) / stored)))
    return kept + masks + decoding
