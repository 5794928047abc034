"""Triton fusion: on the interpreter, in a process of its own, against the reference, and compiled for a card."""

import os
import subprocess
import sys

import pytest

triton = pytest.importorskip("triton")

SCRIPT = """
import math
import torch
from onefield.kernels.cuda import tsdf as twin
from onefield.kernels.tsdf import _reference

generator = torch.Generator().manual_seed(0)
shape = (7, 9, 11)
for colored in (True, False):
    found = [torch.zeros(shape), torch.zeros(shape), torch.zeros(*shape, 4)]
    exact = [torch.zeros_like(tensor) for tensor in found]
    for _ in range(3):
        depth = torch.rand(13, 17, generator=generator) * 0.4 + 2.0
        depth[3:5], depth[7, 4:9] = math.inf, math.nan
        trust = (torch.rand(13, 17, generator=generator) - 0.1).clamp(min=0)
        turn = torch.linalg.qr(torch.randn(3, 3, generator=generator))[0] * 0.12
        matrix = torch.cat([turn, torch.tensor([[0.0], [0.1], [2.0]])], dim=1).flatten().tolist()
        picture = torch.rand(13, 17, 3, generator=generator) if colored else torch.empty(0)
        rest = (matrix, [14.0, 15.0, 8.0, 7.0], 0.3)
        for integrate, sums in ((twin.integrate_depth, found), (_reference, exact)):
            volume = sums if colored else (*sums[:2], torch.empty(0))
            integrate(*volume, depth, trust, picture, *rest)
    assert (exact[1] > 0).float().mean() > 0.2
    assert (exact[2].abs().sum() > 0) == colored
    for ours, truth in zip(found, exact):
        # a corner on the border between two pixels may take either
        apart = (ours - truth).abs() > 1e-4
        assert apart.float().mean() < 0.005, apart.sum()
print("agreed")
"""


def test_launches_agree_with_the_reference():
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    run = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.strip().endswith("agreed")


def test_compiles_for_a_card():
    """The compiler accepts what the interpreter ran; neither needs a card."""
    from onefield.kernels.cuda.tsdf import BLOCK, _integrate_kernel

    names = ("volume", "pictures", "matrix", "count", "across", "along", "height", "width", "truncation")
    kinds = (("*fp32",) * 3, ("*fp32",) * 4, "*fp32", "i64", *("i32",) * 4, "fp32")
    signature = dict(zip(names, kinds, strict=True)) | {"colored": "constexpr", "block": "constexpr"}
    source = triton.compiler.ASTSource(_integrate_kernel, signature, constexprs={(9,): True, (10,): BLOCK})
    target = triton.backends.compiler.GPUTarget("cuda", 80, 32)
    assert ".visible .entry" in triton.compile(source, target=target).asm["ptx"]
