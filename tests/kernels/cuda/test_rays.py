"""Triton kernels of rays on the interpreter, in a process of its own, against the references."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton")

COMPOSITE = """
import torch
from onefield.kernels.composite import _backward_reference, composite_reference, weights_reference
from onefield.kernels.cuda import composite as twin

torch.manual_seed(0)
counts = torch.tensor([5, 0, 40, 1, 64, 3])
offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
total = int(offsets[-1])
starts = torch.arange(total) * 0.1
for channels, scale, early_stop in [(3, 3.0, 0.0), (5, 40.0, 0.05), (1, 0.01, 1e-4)]:
    packed = (torch.rand(total) * scale, torch.rand(total, channels), starts, starts + 0.1, offsets, early_stop)
    for found, expected in zip(twin.composite(*packed), composite_reference(*packed)):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    alone = (packed[0], *packed[2:])
    torch.testing.assert_close(twin.rendering_weights(*alone), weights_reference(*alone), rtol=1e-4, atol=1e-6)
    for for_weights in (None, torch.randn(total)):
        along = (for_weights, torch.randn(6, channels), torch.randn(6), torch.randn(6))
        found = twin.composite_backward(*along, *packed)
        expected = _backward_reference(*along, *packed)
        for ours, truth in zip(found, expected):
            torch.testing.assert_close(ours, truth, rtol=1e-3, atol=2e-6 * max(1.0, truth.abs().max().item()))
packed[0][7] = float("nan")
assert twin.composite(*packed)[1][2].isnan().all()
assert not twin.composite(*packed)[1][0].isnan().any()
none = torch.zeros(0)
assert twin.composite(none, torch.zeros(0, 3), none, none, torch.zeros(1, dtype=torch.int64), 0.0)[1].shape == (0, 3)
print("agreed")
"""

DISTORTION = """
import torch
from onefield.kernels.cuda import distortion as twin
from onefield.kernels.distortion import _backward_reference, distortion_reference

torch.manual_seed(0)
counts = torch.tensor([5, 0, 40, 1, 64, 3])
offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
starts = torch.arange(int(offsets[-1])) * 0.03
packed = (torch.rand(len(starts)) / 20, starts, starts + 0.03, offsets)
torch.testing.assert_close(twin.distortion(*packed), distortion_reference(*packed), rtol=1e-4, atol=1e-6)
along = torch.randn(6)
expected = _backward_reference(along, *packed)
torch.testing.assert_close(twin.distortion_backward(along, *packed), expected, rtol=1e-4, atol=1e-5)
print("agreed")
"""

MARCH = """
import math
import torch
from onefield.kernels.cuda import march as twin
from onefield.kernels.march import empty_blocks, march_reference

torch.manual_seed(0)
origins = torch.randn(50, 3) * 2
directions = torch.nn.functional.normalize(torch.randn(50, 3) * 0.7 - origins, dim=-1)
origins[0], directions[0] = torch.tensor([-5.0, 0.1, 0.2]), torch.tensor([1.0, 0.0, 0.0])
origins[1] = math.nan
near, far = torch.full((50,), 0.05), torch.full((50,), 9.0)
for levels, jitter, steps in [
    (1, None, (0.03, 0.0, math.inf, 1024)),
    (2, torch.rand(50), (0.02, 0.01, 0.06, 1024)),
    (2, torch.rand(50), (0.02, 0.02, math.inf, 9)),
]:
    grid = torch.rand(levels, 16, 16, 16) < 0.1
    grid[:, :8, :8] = False
    inputs = (origins, directions, near, far, jitter, empty_blocks(grid), [-1.0, -0.5, -1.0], [1.0, 1.5, 2.0], *steps)
    found, expected = twin.march(*inputs), march_reference(*inputs)
    counts = found[3].diff(), expected[3].diff()
    same = counts[0] == counts[1]
    assert same.float().mean() > 0.95 and counts[1].sum() > 60, (counts, same.float().mean())
    for ray in same.nonzero()[:, 0].tolist():
        ours, truth = (slice(int(o[3][ray]), int(o[3][ray + 1])) for o in (found, expected))
        assert (found[0][ours] == ray).all()
        torch.testing.assert_close(found[1][ours], expected[1][truth], rtol=0, atol=1e-4)
        torch.testing.assert_close(found[2][ours], expected[2][truth], rtol=0, atol=1e-4)
print("agreed")
"""


@pytest.mark.parametrize("script", [COMPOSITE, DISTORTION, MARCH], ids=["composite", "distortion", "march"])
def test_launches_agree_with_the_reference(script):
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.strip().endswith("agreed")
