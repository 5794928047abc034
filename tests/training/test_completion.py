import json
import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from onefield.data.points import Points
from onefield.data.signals import Shape
from onefield.errors import DataError, UsageError
from onefield.fields.analytic import SphereField, TorusField
from onefield.fields.field import Field
from onefield.meshing.level_sets import extract_mesh
from onefield.meshing.report import report_mesh
from onefield.training import completion as completion_module
from onefield.training.completion import (
    WEIGHTS_FILE,
    Completion,
    build_network,
    closed_solids,
    completion_recipe,
    holds_completion,
    learn_completion,
    load_completion,
)
from onefield.training.fit import fit
from onefield.training.fitted import load_fitted
from onefield.training.recipes import Recipe
from onefield.types import Bounds, Mesh, PointCloud

BALL = SphereField(0.8, domain=Bounds.cube(1.0))
RING = TorusField(0.65, 0.22, domain=Bounds.cube(1.0))
SMALL = Recipe(
    "conv-occupancy",
    {"planes": 16, "volume": 0, "channels": 8, "width": 16, "levels": 3, "blocks": 2},
    0.0,
    5e-3,
    0.05,
    1,
    6,
)
TINY = replace(SMALL, options=SMALL.options | {"planes": 4, "channels": 4, "width": 2})


def shape(field: Field) -> Shape:
    return Shape.of(extract_mesh(field, resolution=24))


@pytest.fixture(scope="module")
def solids():
    return closed_solids({"ball": shape(BALL), "ring": shape(RING)})[0]


def test_a_ball_and_a_ring_are_learned_by_heart(tmp_path):
    """From two noisy clouds, at random places around them, by one network."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    network = build_network(SMALL)
    clouds = []
    for field in (BALL, RING):
        surface = shape(field).surface_points(1000, generator)
        clouds.append(Points.of(PointCloud(surface + 0.01 * torch.randn(1000, 3, generator=generator))))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 160)
    for step in range(160):
        field, points = (BALL, RING)[step % 2], clouds[step % 2]
        queries = torch.rand(1000, 3, generator=generator)
        inside = field.query(points.domain.from_unit(queries)).distance < 0
        maps = network.encode(points.domain.to_unit(points.cloud.points))
        cost = functional.binary_cross_entropy_with_logits(network.logits(maps, queries), inside.float())
        optimizer.zero_grad()
        cost.backward()
        optimizer.step()
        schedule.step()
    truth = ((4 / 3 * math.pi * 0.8**3, 0), (2 * math.pi**2 * 0.65 * 0.22**2, 1))
    for points, (volume, genus) in zip(clouds, truth, strict=True):
        fitted = Completion(network, SMALL, ("ball", "ring"), 160).complete(points)
        report = report_mesh(fitted.reconstruction())
        assert report.watertight
        assert (report.components, report.genus) == (1, genus)
        assert report.volume == pytest.approx(volume, rel=0.05)
        assert fitted.metrics["point_distance"] < 0.02
    fitted.save(tmp_path / "field.safetensors")
    again = load_fitted(tmp_path / "field.safetensors")  # without the weights that made it
    assert torch.equal(again(clouds[1].cloud.points), fitted(clouds[1].cloud.points))
    assert again.target.quantity == "occupancy"


def test_going_on_gives_the_numbers_of_an_unbroken_run(solids, tmp_path):
    through = learn_completion(solids, tmp_path / "through", TINY)
    stops = iter([False, False, True])
    stopped = learn_completion(solids, tmp_path / "halves", TINY, should_stop=lambda: next(stops))
    assert (stopped.interrupted, stopped.completion.step) == (True, 3)
    resumed = learn_completion(solids, tmp_path / "halves", TINY, resume=True)
    assert (resumed.interrupted, resumed.completion.step) == (False, TINY.steps)
    weights = through.completion.network.state_dict()
    for name, tensor in resumed.completion.network.state_dict().items():
        assert torch.equal(tensor, weights[name])
    lines = [json.loads(line) for line in (tmp_path / "halves" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 6]


def test_a_longer_budget_goes_on(solids, tmp_path):
    learn_completion(solids, tmp_path, TINY)
    longer = learn_completion(solids, tmp_path, TINY, steps=9, resume=True)
    assert longer.completion.step == 9


def test_open_meshes_are_left_out(solids):
    whole = solids[0].shape.mesh
    faces = whole.faces[(whole.vertices[whole.faces.long()][..., 2] < 0.2).all(1)]
    bowl = Shape.of(Mesh(whole.vertices, faces))
    kept, left_out = closed_solids({"bowl": bowl, "ball": solids[0].shape})
    assert ([solid.name for solid in kept], left_out) == (["ball"], ["bowl"])
    with pytest.raises(DataError, match=r"None of the meshes is closed \(bowl\)"):
        closed_solids({"bowl": bowl})


def test_weights_of_another_kind_are_refused(tmp_path):
    recipe = completion_recipe("conv-occupancy-volume")
    Completion(build_network(recipe), recipe, ("ball",), 7).save(tmp_path / WEIGHTS_FILE)
    assert load_completion(tmp_path).step == 7
    with pytest.raises(UsageError, match="take --field conv-occupancy-volume"):
        load_completion(tmp_path, "conv-occupancy")
    fit(torch.rand(8, 8).numpy(), "siren", steps=1).save(tmp_path / "image.safetensors")
    with pytest.raises(DataError, match="holds no completion weights of version"):
        load_completion(tmp_path / "image.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    with pytest.raises(DataError, match="holds no completion weights that can be read"):
        load_completion(tmp_path / "broken.safetensors")
    with pytest.raises(DataError, match="does not exist; learn weights first"):
        load_completion(tmp_path / "nowhere")


def test_what_is_stopped_in_its_first_step_can_be_gone_on_with(solids, tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(completion_module, "draw_example", interrupted)
    with pytest.raises(KeyboardInterrupt):
        learn_completion(solids, tmp_path / "run", TINY)
    monkeypatch.undo()
    assert not holds_completion(tmp_path / "run")
    learned = learn_completion(solids, tmp_path / "run", TINY, steps=1, resume=True)
    assert learned.completion.step == 1
    # nothing is left to learn, and the figures are those of before
    assert learn_completion(solids, tmp_path / "run", TINY, resume=True).loss == learned.loss > 0


def test_budgets_and_folders_that_cannot_be(solids, tmp_path):
    with pytest.raises(UsageError, match="positive number of steps"):
        learn_completion(solids, tmp_path / "run", TINY, steps=0)
    with pytest.raises(DataError, match="no checkpoints to go on from"):
        learn_completion(solids, tmp_path / "run", TINY, resume=True)
    assert not (tmp_path / "run").exists()
    learn_completion(solids, tmp_path / "run", TINY, steps=1)
    with pytest.raises(UsageError, match="is not empty"):
        learn_completion(solids, tmp_path / "run", TINY)
    with pytest.raises(DataError, match="learns from ball, ring, but was given ring"):
        learn_completion(solids[1:], tmp_path / "run", TINY, resume=True)
    with pytest.raises(UsageError, match="did you mean 'conv-occupancy'"):
        learn_completion(solids, tmp_path / "other", "conv-occupanc")
    with pytest.raises(UsageError, match="give points, and --weights"):
        fit(Points.of(PointCloud(torch.rand(99, 3))), "conv-occupancy")
