"""Triton Adam and spherical harmonics on the interpreter against their references."""

import os
import subprocess
import sys

import pytest

triton = pytest.importorskip("triton")

SCRIPT = """
import torch
from onefield.kernels import adam, spherical_harmonics as harmonics
from onefield.kernels.cuda import adam as adam_twin, spherical_harmonics as harmonics_twin

torch.manual_seed(0)
directions = torch.nn.functional.normalize(torch.randn(300, 3), dim=-1)
for degree in (1, 2, 3, 4):
    torch.testing.assert_close(harmonics_twin.forward(directions, degree), harmonics._reference(directions, degree))
for skip in (False, True):
    gradient = torch.randn(1500) * (torch.rand(1500) < 0.4)
    states = [[torch.linspace(-1, 1, 1500), torch.rand(1500), torch.rand(1500)] for _ in range(2)]
    states[1] = [tensor.clone() for tensor in states[0]]
    settings = (1e-2, 0.9, 0.99, 1e-15, 3, skip)
    adam_twin.step(states[0][0], gradient, *states[0][1:], *settings)
    adam._reference(states[1][0], gradient, *states[1][1:], *settings)
    for fast, slow in zip(*states):
        torch.testing.assert_close(fast, slow, rtol=1e-5, atol=1e-6)
print("agreed")
"""


def test_launches_agree_with_the_references():
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    run = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.strip().endswith("agreed")
