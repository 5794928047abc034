"""Triton's casting of rays on the interpreter against the reference."""

import os
import subprocess
import sys

import pytest

triton = pytest.importorskip("triton")

CASTING = """
import torch
from onefield.kernels import gaussian_ray_casting as contract
from onefield.kernels.cuda import gaussian_ray_casting as twin
from onefield.kernels.gaussian_tree import gaussian_tree
from tests.kernels.gaussian_rays import rays_and_gaussians

for count, harmonics, lobes, cone in [(9, 4, 1, 0.0), (6, 1, 0, 0.1)]:
    rays, gaussians = rays_and_gaussians(4, count, harmonics, lobes, size=0.25)
    # something that a ray meets only far behind the others
    gaussians.means[0] *= 4
    rays = rays._replace(ends=torch.full_like(rays.starts, 5.5))
    tree = gaussian_tree(*gaussians[:2], gaussians.reaches)
    given = (list(rays), list(gaussians), list(tree))
    march = (0.1, cone, 0.003)
    shares = torch.tensor([0.3, 0.6])
    found, truth = (cast(*given, shares, *march) for cast in (twin.cast, contract._reference))
    assert truth[0][:, 4].max() > 0.5
    pairs = [*zip(found[:2], truth[:2]), (found[2][:, 1], truth[2][:, 1])]
    slopes = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    backward = (slopes, found[0], found[2], *given, *march, True)
    for one, other in zip(twin.cast_backward(*backward), contract._backward_reference(*backward)):
        pairs += zip(one, other)
    for one, other in pairs:
        if not other.numel():
            continue
        size = max(1.0, float(other[torch.isfinite(other)].abs().max()))
        torch.testing.assert_close(one, other, rtol=1e-4, atol=2e-5 * size)
nothing = twin.cast([part[:0] for part in rays], list(gaussians), list(tree), shares, *march)
assert nothing[0].shape == (0, 5)
print("agreed")
"""


def test_launches_agree_with_the_reference():
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    run = subprocess.run([sys.executable, "-c", CASTING], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.strip().endswith("agreed")
