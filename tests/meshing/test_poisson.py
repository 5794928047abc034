import math
import sys
from dataclasses import replace

import pytest
import torch

from onefield.data.points import Points
from onefield.errors import ResourceError, UsageError
from onefield.meshing.poisson import poisson_mesh
from onefield.meshing.report import report_mesh
from onefield.tools.main import main
from onefield.training.fit import fit
from onefield.training.fitted import load_fitted
from onefield.training.recipes import recipe_for
from onefield.types import PointCloud


def ball(normals: float | None = None) -> PointCloud:
    """Points of a ball of radius 2, with normals of this length if any."""
    directions = torch.nn.functional.normalize(torch.randn(3000, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    return PointCloud(2 * directions.double(), None, None if normals is None else normals * directions)


def test_without_the_library_one_sentence_says_how_to_get_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "open3d", None)
    (tmp_path / "ball.xyz").write_text("\n".join(" ".join(map(str, point)) for point in ball().points.tolist()))
    command = ["fit", str(tmp_path / "ball.xyz"), "--field", "poisson", "--output", str(tmp_path / "fit")]
    assert main(command) == 4
    assert "run 'pip install \"onefield[geometry]\"'" in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "fit").exists()
    with pytest.raises(ResourceError, match=r"onefield\[geometry\].*take the field 'auto'"):
        poisson_mesh(ball())


def test_pictures_have_no_poisson_surface():
    with pytest.raises(UsageError, match="finds surfaces in points, in no image"):
        fit(torch.rand(8, 8), "poisson")


@pytest.mark.parametrize("normals", [None, 1.0, -1.0])
def test_a_ball_is_found_whichever_way_its_normals_look(normals):
    pytest.importorskip("open3d")
    report = report_mesh(poisson_mesh(ball(normals), depth=5))
    assert report.watertight
    assert report.volume == pytest.approx(4 / 3 * math.pi * 2**3, rel=0.03)


def test_a_fit_answers_distances_and_opens_again(tmp_path):
    pytest.importorskip("open3d")
    points = Points.of(ball())
    recipe = recipe_for("poisson", points)
    fitted = fit(points, replace(recipe, options=recipe.options | {"depth": 5}))
    assert fitted.metrics["watertight"] == 1
    assert fitted.metrics["point_distance"] < 0.01
    fitted.save(tmp_path / "field.safetensors")
    loaded = load_fitted(tmp_path / "field.safetensors")
    radii = torch.tensor([[0.5, 0, 0], [0, 1.9, 0], [0, 0, -2.3]])
    torch.testing.assert_close(loaded(radii), torch.tensor([-1.5, -0.1, 0.3]), atol=0.05, rtol=0)
    assert torch.equal(loaded.reconstruction().vertices, fitted.reconstruction().vertices)
