"""Whole runs through the command line: train, kill, resume, evaluate, render, export, interrupt."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from onefield.data.demo_scene import write_demo_scene
from onefield.data.formats import load_scene
from onefield.export.formats import read_mesh
from onefield.renderers.background import composite_alpha
from onefield.training.checkpoints import load_checkpoint
from onefield.training.metrics import psnr

COMMAND = [sys.executable, "-m", "onefield.tools.main"]
STEPS = 120
SMALL = [
    "training.samples_per_step=8192",
    "training.save_seconds=0.01",
    "training.validate_every=20",
    "sampler.resolution=32",
    "field.levels=4",
    "field.log2_table_size=12",
]
DEADLINE = 120.0


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scene")
    write_demo_scene(folder, views=10, size=40)
    return folder


def _train(scene: Path, output: Path) -> list[str]:
    return [*COMMAND, "train", str(scene), "--steps", str(STEPS), "--output", str(output), "--json", "--set", *SMALL]


def _run(arguments: list[str], expected: int = 0) -> tuple[dict, str]:
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == expected, done.stderr[-2000:]
    return json.loads(done.stdout) if expected == 0 else {}, done.stderr


def _wait_for_step(run: Path, step: int, process: subprocess.Popen) -> None:
    limit = time.monotonic() + DEADLINE
    while time.monotonic() < limit:
        saved = [int(path.name.split("-")[1]) for path in (run / "checkpoints").glob("step-*")]
        if saved and max(saved) >= step:
            return
        assert process.poll() is None, "the run ended before it could be stopped"
    raise AssertionError("no checkpoint appeared")


@pytest.fixture(scope="module")
def whole(scene: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    output = tmp_path_factory.mktemp("runs") / "whole"
    result, _ = _run(_train(scene, output))
    return output, result


def _same_tensors(one: Path, other: Path) -> None:
    first, second = load_checkpoint(one / "checkpoints"), load_checkpoint(other / "checkpoints")
    assert first.step == second.step == STEPS
    for name, tensor in (first.model | first.optimizer).items():
        assert torch.equal(tensor, (second.model | second.optimizer)[name]), name


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_resumes_to_the_same_numbers(
    scene: Path, whole: tuple[Path, dict], tmp_path: Path, stop: signal.Signals
) -> None:
    output = tmp_path / "stopped"
    with subprocess.Popen(_train(scene, output), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        _wait_for_step(output, 6, process)
        process.send_signal(stop)
        _, talk = process.communicate(timeout=DEADLINE)
    if stop == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130, talk
        assert "--resume" in talk
        assert (output / "report.html").is_file()
    result, _ = _run([*COMMAND, "train", str(output), "--resume", "--json"])
    for figure in ("psnr", "ssim", "step", "views"):
        assert result[figure] == whole[1][figure]
    _same_tensors(whole[0], output)
    steps = [json.loads(line)["step"] for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))


def _psnr_of_white(scene: Path) -> float:
    """What a picture without the object scores: whoever learned nothing is not far from it."""
    loaded = load_scene(scene)
    scores = []
    for index in loaded.test_indices:
        image = loaded.images.image(int(index))
        truth = composite_alpha(image, torch.ones(*image.shape[:2], 3))
        scores.append(psnr(torch.ones_like(truth), truth, value_range=1.0))
    return sum(scores) / len(scores)


def test_training_learns_and_writes_its_run(scene: Path, whole: tuple[Path, dict]) -> None:
    run, result = whole
    assert result["psnr"] > _psnr_of_white(scene) + 3
    assert result["split"] == "held-out"
    for name in ("config.yaml", "scene.json", "machine.json", "metrics.jsonl", "log.txt", "eval/held-out.json"):
        assert (run / name).is_file(), name
    assert len(list((run / "eval").glob("*.png"))) == result["views"]


def test_the_report_tells_the_figures_that_were_printed(whole: tuple[Path, dict], tmp_path: Path) -> None:
    run, result = whole
    assert result["report"] == str(run / "report.html")
    assert f"<td>{result['psnr']:.2f}</td>" in (run / "report.html").read_text()
    other = shutil.copytree(run, tmp_path / "other")
    page = tmp_path / "compare.html"
    told, _ = _run([*COMMAND, "compare", str(run), str(other), "--output", str(page), "--json"])
    assert told == {"page": str(page), "runs": [str(run), str(other)]}
    assert f"{result['psnr']:.2f}" in page.read_text()


def test_evaluate_repeats_the_figures(whole: tuple[Path, dict]) -> None:
    result, _ = _run([*COMMAND, "evaluate", str(whole[0]), "--json"])
    assert result["psnr"] == whole[1]["psnr"]
    assert len(result["per_view"]) == whole[1]["views"]


def test_render_writes_pictures_and_a_video(whole: tuple[Path, dict], tmp_path: Path) -> None:
    output = tmp_path / "render"
    result, _ = _run([*COMMAND, "render", str(whole[0]), "--frames", "3", "--output", str(output), "--json"])
    assert result["frames"] == 3
    assert sorted(path.name for path in output.iterdir()) == ["0000.png", "0001.png", "0002.png", "video.mp4"]
    assert (output / "video.mp4").read_bytes()[4:8] == b"ftyp"


def test_export_writes_a_closed_coloured_mesh(whole: tuple[Path, dict], tmp_path: Path) -> None:
    path = tmp_path / "mesh.ply"
    result, _ = _run([*COMMAND, "export", str(whole[0]), "--to", str(path), "--resolution", "48", "--json"])
    mesh = read_mesh(path)
    assert result["watertight"]
    assert result["manifold"]
    assert mesh.faces.shape[0] == result["faces"]
    assert mesh.colors is not None


def test_export_fuses_what_the_training_views_see(whole: tuple[Path, dict], tmp_path: Path) -> None:
    path = tmp_path / "seen.glb"
    command = [*COMMAND, "export", str(whole[0]), "--to", str(path), "--extractor", "tsdf", "--resolution", "32"]
    result, talk = _run([*command, "--faces", "2000", "--json"])
    assert (result["extractor"], result["isovalue"]) == ("tsdf", None)
    assert result["views"] == len(json.loads((whole[0] / "scene.json").read_text())["train"])
    assert "open where" in talk
    mesh = read_mesh(path)
    assert 0 < mesh.faces.shape[0] == result["faces"] <= 2000
    assert mesh.colors is not None
    assert (tmp_path / "seen-glb-preview.png").is_file()


def test_export_bakes_textures_in_levels_of_detail(whole: tuple[Path, dict], tmp_path: Path) -> None:
    pytest.importorskip("xatlas")
    path = tmp_path / "mesh.glb"
    command = [*COMMAND, "export", str(whole[0]), "--to", str(path), "--resolution", "32", "--faces", "0.8k"]
    command += ["--texture", "128", "--normal-map", "--levels", "2", "--up", "y"]
    result, talk = _run([*command, "--scale", "1000", "--json"])
    names = {"mesh.glb", "mesh-lod1.glb", "mesh-glb-preview.png"}
    assert {file.name for file in tmp_path.iterdir()} == names
    assert "projecting into photo" in talk
    assert result["faces"] <= 900
    mesh, simpler = read_mesh(path), read_mesh(tmp_path / "mesh-lod1.glb")
    assert len(simpler.faces) < len(mesh.faces) / 3
    assert 200 < float(mesh.vertices.abs().max()) < 20_000


def test_a_second_run_in_the_same_folder_is_refused(scene: Path, whole: tuple[Path, dict]) -> None:
    _, talk = _run(_train(scene, whole[0]), expected=2)
    assert "--resume" in talk
    assert "Traceback" not in talk


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["train", "nowhere"], 3, "nowhere"),
        (["train", "{scene}", "--method", "npg"], 2, "did you mean 'ngp'"),
        (["train", "{scene}", "--set", "field.level=3"], 2, "did you mean 'field.levels'"),
        (["train", "{scene}", "--time", "soon"], 2, "soon"),
        (["train", "{scene}", "--downscale", "0"], 2, "downscale"),
        (["evaluate", "{scene}"], 3, "run"),
        (["compare", "{run}"], 2, "at least two runs"),
        (["compare", "{run}", "nowhere"], 3, "nowhere"),
        (["export", "{run}", "--to", "mesh.gbl"], 2, "did you mean '.glb'"),
        (["export", "{run}", "--isovalue", "1e30"], 3, "isovalue"),
        (["export", "{run}", "--isovalue", "2", "--extractor", "tsdf"], 2, "isovalue"),
        (["export", "{run}", "--faces", "-1"], 2, "--faces"),
        (["export", "{run}", "--faces", "2"], 2, "--faces"),
        (["export", "{run}", "--texture", "5"], 2, "64 to 8192"),
        (["export", "{run}", "--texture", "512", "--to", "mesh.stl"], 2, "can't hold a texture"),
        (["export", "{run}", "--resolution", "0"], 2, "resolution"),
        (["render", "{run}", "--path", "orbti"], 2, "did you mean 'orbit'"),
        (["inspect", "nowhere"], 3, "nowhere"),
        (["trian", "{scene}"], 2, "did you mean 'train'"),
        (["fit", "nowhere.png"], 3, "nowhere.png"),
    ],
)
def test_mistakes_end_in_one_sentence(
    scene: Path, whole: tuple[Path, dict], arguments: list[str], code: int, words: str
) -> None:
    filled = [text.format(scene=scene, run=whole[0]) for text in arguments]
    done = subprocess.run([*COMMAND, *filled], capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_an_output_that_cannot_be_made_fails_before_training(scene: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    _, talk = _run(_train(scene, tmp_path / "taken" / "run"), expected=4)
    assert "taken" in talk
    assert "Traceback" not in talk


def test_help_lists_every_command() -> None:
    done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, timeout=DEADLINE, check=True)
    for name in ("demo", "train", "evaluate", "render", "compare", "export", "fit", "inspect", "doctor", "bench"):
        assert f"  {name} " in done.stdout
