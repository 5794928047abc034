"""Cutting packed samples into runs of rays."""

from __future__ import annotations

import torch

from onefield.renderers.chunking import rays_within, split_rays
from onefield.types import RaySamples


def test_runs_cover_all_rays_and_keep_to_the_limit():
    counts = torch.tensor([3, 0, 0, 7, 12, 1, 2, 0, 5, 0])
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    starts = torch.arange(30.0)
    samples = RaySamples(torch.repeat_interleave(counts), starts, starts + 1, offsets)
    runs = list(split_rays(samples, 10))
    assert [run.start for run, _ in runs] == [0, *[run.stop for run, _ in runs[:-1]]]
    assert runs[-1][0].stop == 10
    assert torch.cat([part.starts for _, part in runs]).tolist() == starts.tolist()
    for run, part in runs:
        assert len(part) <= 10 or run.stop - run.start == 1
        assert part.offsets[0] == 0
        assert part.offsets[-1] == len(part)
        assert torch.equal(part.offsets.diff(), counts[run])
        owners = torch.repeat_interleave(counts)[offsets[run.start] : offsets[run.stop]]
        assert torch.equal(part.ray_indices + run.start, owners)


def test_rays_without_samples_are_one_run():
    empty = torch.zeros(0)
    samples = RaySamples(empty.long(), empty, empty, torch.zeros(5, dtype=torch.int64))
    assert [run for run, _ in split_rays(samples, 10)] == [slice(0, 4)]


def test_less_memory_means_fewer_rays():
    assert rays_within(2**29, 0) > rays_within(2**22, 64) >= 1
    assert rays_within(1, 64) == 1
