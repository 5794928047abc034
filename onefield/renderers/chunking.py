"""Cutting work on many rays into parts that fit a memory budget."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from onefield.types import RaySamples

# Memory that one sample takes while a field without gradients answers it: 32 features and layers of 64 in float32,
# several of them alive at once.
BYTES_PER_SAMPLE = 2048
# Memory that an interval takes while those that show are looked for: limits, ray, density and colour, some of it twice.
BYTES_PER_INTERVAL = 128
DEFAULT_MEMORY = 2**27
# Rays that are sampled together: enough to fill the cores, few enough for an image to report progress.
MOST_RAYS = 2**14


def samples_within(memory: int) -> int:
    """Samples that a field may be asked at together under a budget in bytes."""
    return max(1, memory // BYTES_PER_SAMPLE)


def intervals_within(memory: int) -> int:
    """Samples among which those that show may be looked for together under a budget in bytes."""
    return max(1, memory // BYTES_PER_INTERVAL)


def rays_within(memory: int, evaluations_per_ray: int) -> int:
    """Rays to sample together under a budget in bytes, when sampling one asks fields at so many points."""
    return max(1, min(MOST_RAYS, samples_within(memory) // max(1, evaluations_per_ray)))


def split_rays(samples: RaySamples, most: int) -> Iterator[tuple[slice, RaySamples]]:
    """Runs of rays with at most ``most`` samples together (but one ray at least), and their samples, renumbered."""
    rays = samples.offsets.shape[0] - 1
    first = 0
    while first < rays:
        low = int(samples.offsets[first])
        last = int(torch.searchsorted(samples.offsets, low + most, right=True)) - 1
        last = max(first + 1, last)
        high = int(samples.offsets[last])
        yield (
            slice(first, last),
            RaySamples(
                samples.ray_indices[low:high] - first,
                samples.starts[low:high],
                samples.ends[low:high],
                samples.offsets[first : last + 1] - low,
            ),
        )
        first = last
