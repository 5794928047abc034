"""Descriptors of patches: blind to what does not matter, awake to what does."""

from __future__ import annotations

import torch
from torch.nn import functional

from onefield.training.patch_features import LocalDescriptor, patch_size


def cosine(one, other):
    return functional.cosine_similarity(one, other, dim=-1)


def smooth(seed, shape=(24, 36)):
    coarse = torch.rand(1, 3, 6, 9, generator=torch.Generator().manual_seed(seed))
    return functional.interpolate(coarse, shape, mode="bilinear", align_corners=True)[0].movedim(0, -1)


def test_a_vector_a_patch_whose_colours_are_its_quarters_means():
    picture = smooth(0)
    found = LocalDescriptor(4)(picture)
    assert found.shape == (6, 9, 28)
    first = picture[:2, :2].mean((0, 1)) - 0.5
    torch.testing.assert_close(found[0, 0, [0, 4, 8]], first)


def test_a_stranger_changes_its_own_patches_alone():
    picture = smooth(1)
    changed = picture.clone()
    changed[8:16, 8:16] = torch.tensor([1.0, 0.0, 0.0])
    alike = cosine(LocalDescriptor(4)(picture), LocalDescriptor(4)(changed))
    assert (alike[2:4, 2:4] < 0.8).all()
    alike[1:4, 1:4] = 1
    assert (alike > 1 - 1e-5).all()


def test_edges_are_told_apart_by_their_direction():
    rows = (torch.arange(16) % 4 < 2).float()[:, None, None].expand(16, 16, 3)
    columns = rows.transpose(0, 1)
    energies = [LocalDescriptor(8)(picture)[0, 0, 12:].reshape(4, 4).sum(1) for picture in (rows, columns)]
    assert int(energies[0].argmax()) == 2
    assert int(energies[1].argmax()) == 0
    torch.testing.assert_close(energies[0][0], torch.tensor(0.0), atol=1e-6, rtol=0)


def test_pictures_smaller_than_a_patch_have_one():
    assert LocalDescriptor(8)(torch.rand(3, 5, 3)).shape == (1, 1, 28)
    assert (patch_size(100), patch_size(1920)) == (4, 30)
