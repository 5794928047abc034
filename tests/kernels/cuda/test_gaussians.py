"""Triton kernels of Gaussians on the interpreter against their references."""

import importlib
import os
import re
import subprocess
import sys

import pytest

triton = pytest.importorskip("triton")

MIXTURE = """
import torch
from onefield.kernels import gaussian_mixture as contract
from onefield.kernels.cuda import gaussian_mixture as twin

torch.manual_seed(0)
for count, gaussians, width in [(70, 9, 3), (20, 5, 0)]:
    axes = torch.linalg.qr(torch.randn(gaussians, 3, 3))[0]
    whitening = axes.mT / (torch.rand(gaussians, 3, 1) + 0.3)
    inputs = (torch.randn(count, 3), torch.randn(gaussians, 3), whitening, torch.rand(gaussians))
    inputs = (*inputs, torch.randn(gaussians, width))
    slopes = torch.randn(count), torch.randn(count, width)
    pairs = zip(twin.mixture(*inputs), contract._reference(*inputs))
    pairs = [*pairs, *zip(twin.mixture_backward(*slopes, *inputs), contract._backward_reference(*slopes, *inputs))]
    for found, expected in pairs:
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-5)
assert twin.mixture(inputs[0][:0], *inputs[1:])[0].shape == (0,)
print("agreed")
"""

COLORS = """
import torch
from onefield.kernels import harmonic_colors as contract
from onefield.kernels.cuda import harmonic_colors as twin

torch.manual_seed(0)
for degree in range(4):
    directions, slopes = torch.randn(150, 3), torch.randn(150, 3)
    bands = [torch.randn(150, 2 * band + 1, 3) for band in range(degree + 1)]
    torch.testing.assert_close(twin.colors(directions, bands), contract._reference(directions, bands))
    found, found_bands = twin.colors_backward(slopes, directions, bands)
    leaves = [tensor.clone().requires_grad_() for tensor in (directions, *bands)]
    answer = contract._reference(leaves[0], leaves[1:])
    expected = torch.autograd.grad(answer, leaves, slopes, allow_unused=True, materialize_grads=True)
    for one, other in zip((found, *found_bands), expected):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
print("agreed")
"""


FOOTPRINTS = """
import torch
from onefield.kernels import gaussian_footprints as contract
from onefield.kernels.cuda import gaussian_footprints as twin

torch.manual_seed(0)
inputs = (torch.randn(150, 2, 3) * 20, torch.randn(150, 3) - 3, torch.randn(150, 4))
slopes = torch.randn(150, 3), torch.randn(150)
pairs = []
for numbers in ((0.3, 0.005), (0.1, 0.5)):
    given = (*slopes, *inputs, *numbers)
    pairs += zip(twin.footprints(*inputs, *numbers), contract._reference(*inputs, *numbers))
    pairs += zip(twin.footprints_backward(*given), contract._backward_reference(*given))
for found, expected in pairs:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * expected.detach().abs().max().item())
print("agreed")
"""

BLENDING = """
import torch
from onefield.kernels import gaussian_blending as contract
from onefield.kernels.cuda import gaussian_blending as twin
from onefield.kernels.gaussian_tiles import _reference as sort_into_tiles

torch.manual_seed(0)
width, height = 20, 37
for channels in (3, 5):
    pixels = torch.rand(60, 2) * torch.tensor([width, height])
    axes = torch.randn(60, 2, 2) * 4
    covariances = axes @ axes.mT + 0.3 * torch.eye(2)
    inverse = torch.linalg.inv(covariances)
    conics = torch.stack([inverse[:, 0, 0], inverse[:, 0, 1], inverse[:, 1, 1]], 1)
    variances = torch.stack([covariances[:, 0, 0], covariances[:, 1, 1]], 1)
    opacities = torch.rand(60) * 1.1
    tiles = sort_into_tiles(pixels, conics, variances, opacities, torch.rand(60) + 1, width, height)
    inputs = (torch.cat([pixels, conics, opacities[:, None]], 1), torch.rand(60, channels))
    shown = twin.blend(*inputs, torch.zeros_like(pixels), *tiles, width, height, 0.99)
    slopes = torch.randn(height, width, channels + 1)
    pairs = [(shown, contract._reference(*inputs, torch.zeros_like(pixels), *tiles, width, height, 0.99))]
    given = (slopes, shown, *inputs, *tiles, 0.99, True)
    pairs += zip(twin.blend_backward(*given), contract._backward_reference(*given))
    for found, truth in pairs:
        torch.testing.assert_close(found, truth, rtol=1e-4, atol=1e-5 * max(1.0, truth.abs().max().item()))
print("agreed")
"""


DEPTHS = """
import torch
from onefield.kernels import gaussian_depths as contract
from onefield.kernels.cuda import gaussian_depths as twin
from onefield.kernels.gaussian_tiles import _reference as sort_into_tiles
from tests.kernels.gaussian_pictures import footprints

width, height = 20, 37
given = footprints(80, width, height, size=4.0)
names = ("pixels", "conics", "variances", "opacities", "depths")
owners, _, offsets, _, _ = sort_into_tiles(*(given[name] for name in names), width, height)
ellipses = torch.cat([given["pixels"], given["conics"], given["opacities"][:, None]], 1)
inputs = (ellipses, given["depths"], owners, offsets, torch.tensor([0.3, 0.5, 0.9]), width, height, 0.99)
found, truth = twin.depths_of_shares(*inputs), contract._reference(*inputs)
assert torch.isfinite(truth).any() and torch.isinf(truth).any()
assert (found != truth).float().mean() < 1e-3
print("agreed")
"""


SURFELS = """
import torch
from onefield.kernels import surfel_blending as contract, surfel_depths
from onefield.kernels.cuda import surfel_blending as twin, surfel_depths as depths_twin
from tests.kernels.surfel_pictures import NEAR, inputs, surfels

torch.manual_seed(0)
width, height = 20, 37
for channels in (3, 5):
    given, rest = inputs(surfels(60, width, height), width, height)
    tiles = (*rest["tiles"][:4], rest["spans"])
    features = torch.rand(60, channels)
    rows = contract.surfel_rows(*(given[name] for name in ("pixels", "slopes", "depths", "opacities")))
    view = (width, height, NEAR, 0.99)
    shown = twin.blend(rows, features, torch.zeros(60, 2), *tiles, *view)
    slopes = torch.randn(height, width, channels + 3)
    pairs = [(shown, contract._reference(rows, features, torch.zeros(60, 2), *tiles, *view))]
    cotangents = (slopes, shown, rows, features, *tiles, NEAR, 0.99)
    pairs += zip(twin.blend_backward(*cotangents), contract._backward_reference(*cotangents))
    for found, truth in pairs:
        torch.testing.assert_close(found, truth, rtol=1e-4, atol=1e-5 * max(1.0, truth.abs().max().item()))
query = (rows, tiles[0], tiles[2], torch.tensor([0.3, 0.5, 0.9]), *view)
found, truth = depths_twin.depths_of_shares(*query), surfel_depths._reference(*query)
assert torch.isfinite(truth).any() and torch.isinf(truth).any()
assert (~torch.isclose(found, truth)).float().mean() < 1e-3
print("agreed")
"""


@pytest.mark.parametrize(
    "script",
    [MIXTURE, COLORS, FOOTPRINTS, BLENDING, DEPTHS, SURFELS],
    ids=["mixture", "colors", "footprints", "blending", "depths", "surfels"],
)
def test_launches_agree_with_the_reference(script):
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.strip().endswith("agreed")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("gaussian_blending", "_backward_kernel"),
        ("surfel_blending", "_backward_kernel"),
        ("gaussian_blending", "gather_kernel"),
    ],
)
def test_shares_of_large_pictures_are_addressed_in_64_bits(module, name):
    """The compiler accepts what the interpreter ran, and counts the numbers of shares as widely as it must."""
    kernel = getattr(importlib.import_module(f"onefield.kernels.cuda.{module}"), name)
    whole = {"owners": "*i32", "slots": "*i32", "offsets": "*i32", "starts": "*i32"}
    whole |= dict.fromkeys(("width", "height", "across"), "i32") | {"near": "fp32", "max_alpha": "fp32"}
    constants = {"channels": 3, "padded": 4, "moments": 8, "sums": 12, "numbers": 11}
    parameters = {parameter.name: parameter.is_constexpr for parameter in kernel.params}
    known = {argument: constants[argument] for argument, fixed in parameters.items() if fixed}
    signature = {argument: whole.get(argument, "*fp32") for argument in parameters} | dict.fromkeys(known, "constexpr")
    source = triton.compiler.ASTSource(kernel, signature, constexprs=known)
    compiled = triton.compile(source, target=triton.backends.compiler.GPUTarget("cuda", 80, 32))
    assert re.search(r"arith\.muli .* : i64", compiled.asm["ttir"])
