"""Textures of methods: colours of their fields, colours of their photos, and what can't be had."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from onefield.data.demo_scene import write_demo_scene
from onefield.data.formats import load_scene
from onefield.errors import DataError, ResourceError
from onefield.fields.analytic import Material, SphereField
from onefield.fields.field import Field
from onefield.meshing.level_sets import extract_mesh
from onefield.meshing.texture import texels_of
from onefield.renderers.sampling.uniform import UniformSampler
from onefield.renderers.volume import VolumeRenderer
from onefield.training import texturing
from onefield.training.method import Method
from onefield.training.settings import TrainingSettings
from onefield.training.texturing import TextureSettings, textured
from onefield.types import Bounds, Sample
from tests.meshing.surfaces import FunctionField

pytest.importorskip("xatlas")

ORANGE = (0.9, 0.3, 0.1)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene")
    write_demo_scene(folder, views=8, size=32)
    return load_scene(folder)


@pytest.fixture(scope="module")
def ball():
    return SphereField(0.5, material=Material(color=ORANGE))


def method(field):
    return Method("test", field, VolumeRenderer(UniformSampler(8)), (), TrainingSettings())


def repainted(scene, level):
    """The scene with photos of one colour."""

    class Plain:
        def image(self, index):
            return torch.full((32, 32, 3), level)

    return replace(scene, images=Plain(), masks=None)


def test_colors_are_the_fields(scene, ball):
    mesh = extract_mesh(ball, resolution=8)
    told = []
    settings = TextureSettings(64, source="field")
    result = textured(method(ball), scene, mesh, mesh, settings, 0.0, lambda *words: told.append(words))
    assert result.texture.normals is None
    assert float((result.texture.color / 255 - torch.tensor(ORANGE)).abs().max()) < 0.6 / 255
    assert torch.equal(result.vertices, mesh.vertices)
    assert {words for words, _, _ in told} == {"unwrapping", "looking from camera"}
    assert all(done <= total for _, done, total in told)


def test_photos_color_what_they_see_and_the_field_the_rest(scene, ball):
    mesh = extract_mesh(ball, resolution=8)
    result = textured(method(ball), repainted(scene, 0.2), mesh, mesh, TextureSettings(64), 0.0)
    texels = texels_of(mesh, result.texture.coordinates, 64)
    colors = result.texture.color[texels.covered]
    photo = (colors == 51).all(1)
    field = (colors == (torch.tensor(ORANGE) * 255).round()).all(1)
    assert bool((photo | field).all())
    # the demo's cameras stand above the ground and all around
    assert bool(photo[texels.normals[:, 2] > 0.5].all())
    assert bool(field[texels.normals[:, 2] < -0.98].all())


class SeenFrom(Field):
    """Orange along directions from one place, as trained from there, and green along all others."""

    domain = Bounds.cube(1.0)
    provides = frozenset({"color"})
    needs_directions = frozenset({"color"})

    def __init__(self, place):
        super().__init__()
        self.place = place

    def _evaluate(self, points, directions, time, want):
        cosine = torch.nn.functional.cosine_similarity(points - self.place, directions)
        return Sample(color=torch.where(cosine[:, None] > 0.9999, torch.tensor(ORANGE), torch.tensor([0.0, 1.0, 0.0])))


def test_a_field_is_asked_along_directions_that_it_was_trained_from(scene, ball):
    mesh = extract_mesh(ball, resolution=8)
    alone = replace(scene, train_indices=scene.train_indices[:1])
    place = scene.cameras.positions[alone.train_indices[0]].float()
    result = textured(method(SeenFrom(place)), alone, mesh, mesh, TextureSettings(64, source="field"), 0.0)
    texels = texels_of(mesh, result.texture.coordinates, 64)
    orange = (result.texture.color[texels.covered] == (torch.tensor(ORANGE) * 255).round()).all(1)
    facing = torch.nn.functional.cosine_similarity(texels.normals, place - texels.points)
    assert bool(orange[facing > 0.3].all())
    assert bool((facing > 0.3).any())
    assert not bool(orange[facing < 0].any())


def test_a_mesh_that_no_photo_sees_has_the_colors_of_its_field(scene, ball):
    mesh = extract_mesh(ball, resolution=8)
    away = replace(mesh, vertices=mesh.vertices + torch.tensor([0.0, 0, 90]))
    result = textured(method(ball), scene, away, away, TextureSettings(64), 0.0)
    expected = (torch.tensor(ORANGE) * 255).round().to(torch.uint8)
    assert torch.equal(result.texture.color, expected.expand(64, 64, 3))
    with pytest.raises(DataError, match=r"None of the \d+ training photos .* no colours"):
        textured(method(FunctionField("distance", torch.sum)), scene, away, away, TextureSettings(64), 0.0)


def test_more_texels_than_memory_holds_are_refused(scene, ball, monkeypatch):
    monkeypatch.setattr(texturing, "memory_available", lambda: 2**20)
    mesh = extract_mesh(ball, resolution=8)
    with pytest.raises(ResourceError, match="smaller --texture"):
        textured(method(ball), scene, mesh, mesh, TextureSettings(128), 0.0)


def test_a_normal_map_comes_with_what_decodes_it(scene, ball):
    mesh = extract_mesh(ball, resolution=6)
    detailed = extract_mesh(ball, resolution=24)
    texture = textured(method(ball), scene, mesh, detailed, TextureSettings(64, normal_map=True), 0.0)
    assert texture.normals is not None
    assert texture.texture.tangents.shape == (len(mesh.faces), 3, 4)
    assert int(texture.texture.normals[..., 2].min()) > 200
