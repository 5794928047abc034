"""Triton hash grid: on the interpreter against the reference, and compiled for a card."""

import os
import subprocess
import sys

import pytest

triton = pytest.importorskip("triton")

SCRIPT = """
import torch
from onefield.kernels import use
from onefield.kernels import hash_grid as contract
from onefield.kernels.cuda import hash_grid as twin

torch.manual_seed(0)
for dimension, features, resolutions, log2, along, count in [
    (2, 3, (4, 40), 6, True, 150),
    (3, 2, (3, 500), 8, False, 90),
    (3, 1, (9,), 8, True, 90),
    (4, 1, (5,), 7, False, 90),
]:
    layout = contract.HashGridLayout.plan(dimension, resolutions, log2)
    points = torch.rand(count, dimension) * 1.2 - 0.1
    table = torch.randn(layout.entries, features)
    cotangents = torch.randn(count, len(resolutions) * features)
    directions = torch.randn(count, dimension) if along else None
    calls = [
        (contract.hash_grid, twin.features, (points, directions, table)),
        (contract.hash_grid_table_gradient, twin.table_gradient, (points, directions, cotangents)),
        (contract.hash_grid_point_gradient, twin.point_gradient, (points, directions, table, cotangents)),
    ]
    for operation, launch, inputs in calls:
        with use("reference"):
            expected = operation(*inputs, resolutions, log2)
        scale = expected.abs().max().item()
        torch.testing.assert_close(launch(*inputs, list(resolutions), log2), expected, rtol=1e-4, atol=1e-5 * scale)
broken = torch.full((1, 3), float("nan"))
layout = contract.HashGridLayout.plan(3, (4,), 8)
assert twin.features(broken, None, torch.ones(layout.entries, 2), [4], 8).isnan().all()
assert twin.features(torch.empty(0, 3), None, torch.ones(layout.entries, 2), [4], 8).shape == (0, 2)
print("agreed")
"""


def test_launches_agree_with_the_reference():
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    run = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.strip().endswith("agreed")


@pytest.mark.parametrize("name", ["_features_kernel", "_table_gradient_kernel", "_point_gradient_kernel"])
def test_compiles_for_a_card(name):
    """The compiler accepts what the interpreter ran; neither needs a card."""
    from onefield.kernels.cuda import hash_grid as twin

    kernel = getattr(twin, name)
    constants = {"dimension": 2, "width": 2, "padded": 2, "along": True, "block": 128}
    kinds = {"plan": "*i32", "count": "i32", "levels": "i32"} | dict.fromkeys(constants, "constexpr")
    signature = {argument: kinds.get(argument, "*fp32") for argument in kernel.arg_names}
    source = triton.compiler.ASTSource(kernel, signature, constexprs=constants)
    target = triton.backends.compiler.GPUTarget("cuda", 80, 32)
    assert ".visible .entry" in triton.compile(source, target=target).asm["ptx"]
