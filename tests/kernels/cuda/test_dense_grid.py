"""Triton dense grid: on the interpreter against the reference, and compiled for a card."""

import os
import subprocess
import sys

import pytest

triton = pytest.importorskip("triton")

SCRIPT = """
import torch
from onefield.kernels import use
from onefield.kernels import dense_grid as contract
from onefield.kernels.cuda import dense_grid as twin

torch.manual_seed(0)
for shape, features, mode, along, count in [
    ((5,), 1, "cubic", True, 140),
    ((4, 2), 3, "linear", True, 90),
    ((3, 5), 2, "cubic", True, 90),
    ((3, 4, 5), 2, "linear", False, 90),
]:
    points = torch.rand(count, len(shape)) * 1.2 - 0.1
    grid = torch.randn(*shape, features)
    cotangents = torch.randn(count, features)
    directions = torch.randn_like(points) if along else None
    calls = [
        (contract.dense_grid, twin.features, (points, directions, grid)),
        (contract.dense_grid_gradient, twin.grid_gradient, (points, directions, cotangents, shape)),
        (contract.dense_grid_point_gradient, twin.point_gradient, (points, directions, grid, cotangents)),
    ]
    for operation, launch, inputs in calls:
        with use("reference"):
            expected = operation(*inputs, mode)
        torch.testing.assert_close(launch(*inputs, mode), expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())
broken = torch.full((1, 2), float("nan"))
assert twin.features(broken, None, torch.ones(4, 3, 2), "cubic").isnan().all()
assert twin.features(torch.empty(0, 2), None, torch.ones(4, 3, 2), "linear").shape == (0, 2)
print("agreed")
"""


def test_launches_agree_with_the_reference():
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    run = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.strip().endswith("agreed")


@pytest.mark.parametrize("name", ["_features_kernel", "_grid_gradient_kernel", "_point_gradient_kernel"])
def test_compiles_for_a_card(name):
    """The compiler accepts what the interpreter ran; neither needs a card."""
    from onefield.kernels.cuda import dense_grid as twin

    kernel = getattr(twin, name)
    constants = {"dimension": 2, "taps": 4, "corners": 16, "width": 2, "padded": 2, "along": True, "block": 128}
    kinds = {"shape": "*i32", "count": "i32"} | dict.fromkeys(constants, "constexpr")
    signature = {argument: kinds.get(argument, "*fp32") for argument in kernel.arg_names}
    source = triton.compiler.ASTSource(kernel, signature, constexprs=constants)
    target = triton.backends.compiler.GPUTarget("cuda", 80, 32)
    assert ".visible .entry" in triton.compile(source, target=target).asm["ptx"]
