"""Gaussians that can't be used: files end in one sentence, sets that mean little in a defined picture.

| what is wrong | tests |
|---|---|
| .ply with attributes missing, cut, of wrong counts, NaN, | test_a_ply_that_is_wrong_... |
| zero quaternions, infinite scales | |
| .ply with attributes reordered or more of them, as text, big-endian | test_a_ply_of_another_kind_is_read |
| .ply, .splat, .spz of versions 2 to 4, .glb cut anywhere or with any byte changed | test_a_damaged_file_... |
| Gaussians behind, across or at the camera; of no size, endless, of no rotation; none to see | test_hopeless_sets_... |
| a scene without points | tests/configs/test_gaussians.py |
| no Gaussian in any view, while training | test_training_goes_on_where_nothing_is_seen |
| a budget of no Gaussians or no MiB | test_a_budget_of_nothing |
"""

from __future__ import annotations

import gzip
import math
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from onefield.cameras import Cameras
from onefield.configs.runs import configure, run, start_run
from onefield.data.demo_scene import write_demo_scene
from onefield.errors import DataError
from onefield.export.gaussian_formats import checked, export_gaussians, read_gaussians
from onefield.fields.gaussians import GaussianField
from onefield.renderers.gaussian_rays import GaussianRayRenderer
from onefield.renderers.renderer import Renderer
from onefield.renderers.schools import SCHOOLS, School
from onefield.renderers.splat import SplatRenderer
from onefield.tools.main import main
from onefield.types import Bounds, Gaussians
from tests.export.test_gaussian_formats import gaussians, tensors, version_four

COUNT = 30


def placed(name: str, row: int, value: float) -> Callable[[bytes], bytes]:
    """Changes one number of a PLY."""

    def change(content: bytes) -> bytes:
        header, mark, body = content.partition(b"end_header\n")
        names = [line.split()[2].decode() for line in header.splitlines() if line.startswith(b"property")]
        table = np.frombuffer(body, "<f4").reshape(COUNT, len(names)).copy()
        table[row, [names.index(part) for part in name.split()]] = value
        return header + mark + table.tobytes()

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.replace(b"scale_2", b"scale_3"), "lacks the properties scale_2"),
        (lambda c: c.replace(b"property float f_dc_0", b"property list uchar int f_dc_0"), "set.ply"),
        (lambda c: c.replace(b"f_rest_3\n", b"f_rest_x\n"), "f_rest_*"),
        (lambda c: c.replace(b"vertex 30", b"vertex 31"), "set.ply"),
        (lambda c: c.replace(b"vertex 30", b"vertex 99999999999"), "set.ply"),
        (lambda c: c.replace(b"vertex 30", b"vertex -3"), "set.ply"),
        (lambda c: c.replace(b"vertex 30", b"vertex 0"), "no Gaussians"),
        (lambda c: c[:-1], "set.ply"),
        (lambda c: c[:100], "set.ply"),
        (lambda c: b"", "set.ply"),
        (placed("x", 4, math.nan), "Gaussian 4 has the position"),
        (placed("f_rest_7", 5, math.nan), "Gaussian 5 has the colour"),
        (placed("rot_0 rot_1 rot_2 rot_3", 6, 0.0), "Gaussian 6 has the quaternion [0.0, 0.0, 0.0, 0.0]"),
        (placed("scale_1", 7, math.inf), "Gaussian 7 has the log-scale"),
        (placed("scale_1", 8, -math.inf), "Gaussian 8 has the log-scale"),
        (placed("opacity", 9, math.nan), "Gaussian 9 has the opacity"),
    ],
)
def test_a_ply_that_is_wrong_is_refused_in_one_sentence(tmp_path, capsys, change, words):
    export_gaussians(gaussians(COUNT), tmp_path / "set.ply")
    changed = change((tmp_path / "set.ply").read_bytes())
    assert changed != (tmp_path / "set.ply").read_bytes()
    (tmp_path / "set.ply").write_bytes(changed)
    for command in ("edit", "view"):
        options = ("--to", str(tmp_path / "out.ply")) if command == "edit" else ()
        assert main([command, str(tmp_path / "set.ply"), *options]) == 3
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("onefield ")]
        assert words in line
        assert line.endswith(".")
    assert not (tmp_path / "out.ply").exists()


@pytest.mark.parametrize("form", ["ascii", "binary_big_endian", "binary_little_endian"])
def test_a_ply_of_another_kind_is_read(tmp_path, capsys, form):
    export_gaussians(gaussians(COUNT), tmp_path / "set.ply")
    header, _, body = (tmp_path / "set.ply").read_bytes().partition(b"end_header\n")
    names = [line.split()[2].decode() for line in header.splitlines() if line.startswith(b"property")]
    table = np.frombuffer(body, "<f4").reshape(COUNT, -1)
    order = np.random.default_rng(0).permutation(len(names))
    named = ["filter_3D", *(names[k] for k in order)]
    table = np.concatenate([np.ones((COUNT, 1), np.float32), table[:, order]], axis=1)
    top = ["ply", f"format {form} 1.0", f"element vertex {COUNT}", *(f"property float {n}" for n in named)]
    text = "\n".join(" ".join(f"{v:.9g}" for v in row) for row in table).encode()
    content = text if form == "ascii" else table.astype(">f4" if "big" in form else "<f4").tobytes()
    (tmp_path / "other.ply").write_bytes("\n".join([*top, "end_header\n"]).encode() + content)
    assert main(["edit", str(tmp_path / "other.ply"), "--to", str(tmp_path / "out.ply")]) == 0
    assert (tmp_path / "out.ply").read_bytes() == (tmp_path / "set.ply").read_bytes()


def written(folder: Path, name: str) -> bytes:
    """A small sound file of a format."""
    legacy = folder / "three.spz"
    export_gaussians(gaussians(COUNT, 1), legacy)
    if name == "four.spz":
        return version_four(legacy.read_bytes(), 1)
    if name == "two.spz":
        plain = gzip.decompress(legacy.read_bytes())
        turned = plain[16 + COUNT * 16 : 16 + COUNT * 20]
        shorter = b"".join(turned[4 * k : 4 * k + 3] for k in range(COUNT))
        header = struct.pack("<IIIBBBB", 0x5053474E, 2, COUNT, 1, 12, 0, 0)
        return gzip.compress(header + plain[16 : 16 + COUNT * 16] + shorter + plain[16 + COUNT * 20 :])
    export_gaussians(gaussians(COUNT, 1), folder / name)
    return (folder / name).read_bytes()


def is_refused(file: Path) -> bool:
    """Whether a file is, in words that name it; else what is read means something."""
    try:
        read = read_gaussians(file)
    except DataError as error:
        if file.name not in str(error):
            raise
        return True
    assert all(len(part) == len(checked(read, "what was read")) for part in tensors(read))
    return False


@pytest.mark.parametrize("name", ["set.ply", "set.splat", "two.spz", "three.spz", "four.spz", "set.splat.glb"])
def test_a_damaged_file_is_refused_or_read_as_what_means_something(tmp_path, name):
    whole = written(tmp_path, name)
    (tmp_path / name).write_bytes(whole)
    assert len(read_gaussians(tmp_path / name)) == COUNT
    random = np.random.default_rng(0)
    cuts = [whole[:length] for length in random.integers(0, len(whole), 40)]
    # headers are small, and most of what can go wrong is in them
    places = [*random.integers(0, len(whole), 60), *random.integers(0, min(len(whole), 120), 120)]
    changes = []
    for place in places:
        content = bytearray(whole)
        content[place] = random.integers(0, 256)
        changes.append(bytes(content))
    refused = 0
    for content in (*cuts, *changes):
        (tmp_path / name).write_bytes(content)
        refused += is_refused(tmp_path / name)
    assert refused > 30


def view() -> Cameras:
    return Cameras.pinhole(torch.eye(4)[None, :3].double(), 30.0, (17.0, 9.0), 32, 24)


def hopeless(kind: str) -> Gaussians:
    """Gaussians that a camera at the origin, which looks along z, makes little of."""
    some = gaussians(20, 1)
    means = some.means / 6 + torch.tensor([0.0, 0.0, 2.0])
    some = replace(some, means=means)
    if kind == "behind":
        some.means[:, 2] = -some.means[:, 2].abs() - 1
    elif kind == "across":
        some.means[:, 2] = torch.linspace(-0.02, 0.02, 20)
        some.means[0] = 0.0
        some.log_scales[:] = 0.0
    elif kind == "points":
        some.log_scales[:] = -60.0
    elif kind == "endless":
        some.log_scales[:] = torch.tensor([200.0, -200.0, 0.0])
    elif kind == "needles":
        some.log_scales[:] = torch.tensor([0.0, -40.0, -40.0])
    elif kind == "unturned":
        some.quaternions[:] = 0.0
    elif kind == "transparent":
        some.opacities[:] = -200.0
    else:
        some.opacities[:] = 200.0
    return some


KINDS = ("behind", "across", "points", "endless", "needles", "unturned", "transparent", "opaque")
RENDERERS: dict[str, Callable[[], Renderer]] = {
    **{name: (lambda school=school: SplatRenderer(school=school)) for name, school in SCHOOLS.items()},
    "unbounded compensation": lambda: SplatRenderer(school=School(antialiased=True, least_compensation=0.0)),
    "surfels": lambda: SplatRenderer(primitive="surfels"),
    "rays": lambda: GaussianRayRenderer(step=0.1),
}


@pytest.mark.parametrize("renderer", RENDERERS)
@pytest.mark.parametrize("kind", KINDS)
def test_hopeless_sets_have_a_defined_picture(kind, renderer):
    field = GaussianField(Bounds.cube(4.0), hopeless(kind))
    behind = torch.full((32 * 24, 3), 0.25)
    drawn = RENDERERS[renderer]().render(field, view().image_rays(0), background=behind, normals=True)
    for part in (drawn.color, drawn.depth, drawn.opacity, drawn.normal):
        assert torch.isfinite(part).all()
    assert float(drawn.opacity.detach().min()) >= -1e-6
    assert float(drawn.opacity.detach().max()) <= 1 + 1e-6
    if kind in ("behind", "transparent"):
        torch.testing.assert_close(drawn.color, behind)
    (drawn.color.sum() + drawn.depth.sum() + drawn.opacity.sum()).backward()
    for name, parameter in field.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scene")
    write_demo_scene(folder, views=8, size=16)
    return folder


@pytest.mark.parametrize(
    ("method", "densification"),
    [("splat", "mcmc"), ("splat", "original"), ("splat", "absolute"), ("surfels", "mcmc"), ("raygauss", "mcmc")],
)
def test_training_goes_on_where_nothing_is_seen(scene, tmp_path, method, densification):
    """All points lie far outside of every view."""
    rows = "\n".join(f"{900 + k} {k} {2 * k}" for k in range(40))
    head = ["ply", "format ascii 1.0", "element vertex 40", *(f"property double {axis}" for axis in "xyz")]
    (tmp_path / "far.ply").write_text("\n".join([*head, "end_header", rows]))
    changes = [f"field.points={tmp_path / 'far.ply'}", f"field.densification={densification}", "field.events=4"]
    begun = start_run(configure(scene, method, steps=8, changes=[*changes, "field.most=50"]), tmp_path / "run")
    run(begun)
    field = begun.method.field
    assert len(field) >= 1
    assert all(torch.isfinite(parameter).all() for parameter in field.parameters())


@pytest.mark.parametrize("method", ["splat", "surfels", "raygauss"])
@pytest.mark.parametrize("key", ["most", "most_mebibytes", "first"])
def test_a_budget_of_nothing(scene, tmp_path, capsys, method, key):
    command = ["train", str(scene), "--method", method, "--output", str(tmp_path / "run"), "--set", f"field.{key}=0"]
    assert main(command) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"field.{key}" in line
    assert line.endswith(".")
    assert not (tmp_path / "run").exists()
