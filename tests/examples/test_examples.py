"""Every example runs, prints a figure and writes what it says, with budgets made tiny."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
# arguments that make it small; the figure that it prints; files that it writes
RUNS = {
    "01_fit_an_image": (
        "--image IMAGE --steps 4",
        r"PSNR \d+\.\d+ dB after 4 steps",
        ["reconstruction.png", "closer.png", "field.safetensors"],
    ),
    "02_fit_a_shape": (
        "--mesh MESH --steps 4 --resolution 24",
        r"IoU 0\.\d+",
        ["shape.glb", "shape.ply"],
    ),
    "03_train_a_scene": (
        "--size 16 --steps 3 --set training.samples_per_step=1024 sampler.resolution=32 field.log2_table_size=10",
        r"PSNR \d+\.\d+ dB on 2 views",
        ["new_view.png", "run/eval/held-out.json"],
    ),
    "04_your_own_encoding": (
        "--image IMAGE --steps 4 --bumps 16",
        r"PSNR \d+\.\d+ dB with 16 bumps",
        ["bumps.png"],
    ),
    "05_analytic_shapes": (
        "--size 16 --resolution 24",
        r"volume of a meshed torus 0\.\d+, in closed form 0\.\d+",
        ["view.png", "shapes.glb"],
    ),
    "06_compose": (
        "--size 12 --steps 1 --samples 512",
        r"fourier x occupancy x clear or solid PSNR \d+\.\d+ dB",
        ["scores.csv"],
    ),
    "07_losses_on_a_mesh": (
        "--resolution 10 --steps 30",
        r"sphericity 0\.\d+ before, 0\.9\d+ after 30 steps",
        ["ball.glb"],
    ),
}
FEWEST_LINES, MOST_LINES = 20, 60


def test_every_example_is_short_numbered_and_tried():
    files = sorted(EXAMPLES.glob("*.py"))
    assert [file.stem for file in files] == list(RUNS)
    assert [int(file.stem[:2]) for file in files] == list(range(1, len(files) + 1))
    for file in files:
        assert FEWEST_LINES <= len(file.read_text().splitlines()) <= MOST_LINES, file.name


@pytest.mark.parametrize("name", RUNS)
def test_the_example_does_what_it_says(name, tmp_path):
    arguments, figure, written = RUNS[name]
    image, mesh, output = tmp_path / "image.png", tmp_path / "mesh.off", tmp_path / "output"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(image)
    mesh.write_text("OFF\n4 4 0\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 2 1\n3 0 1 3\n3 0 3 2\n3 1 2 3\n")
    given = [{"IMAGE": str(image), "MESH": str(mesh)}.get(word, word) for word in arguments.split()]
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), str(output), *given]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-2000:]
    assert re.search(figure, finished.stdout), finished.stdout
    assert [file for file in written if not (output / file).stat().st_size] == []
