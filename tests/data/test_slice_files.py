import json

import numpy as np
import pytest
from PIL import Image

from onefield.data.slice_files import holds_slices, load_slices
from onefield.errors import DataError

SQUARE = [[0, 0], [2, 0], [2, 2], [0, 2]]
RECT = "<rect width='2' height='2'/>"


def written(folder, content, name="cut.json"):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def svg(folder, name, body=RECT):
    return written(folder, f"<svg xmlns='http://www.w3.org/2000/svg'>{body}</svg>", name)


def test_contours_in_json_lie_on_planes_of_any_pose(tmp_path):
    posed = {"origin": [5, 0, 0], "right": [0, 2, 0], "up": [0, 0, 3], "contours": [[*SQUARE, SQUARE[0]]]}
    slices = load_slices(written(tmp_path, {"slices": [{"height": 4, "contours": [SQUARE]}, posed]}))
    flat, upright = slices.slices
    np.testing.assert_allclose(flat.to_world(flat.contours[0])[2], (2, 2, 4))
    np.testing.assert_allclose(upright.to_world(upright.contours[0]), [[5, 0, 0], [5, 2, 0], [5, 2, 2], [5, 0, 2]])
    np.testing.assert_allclose(upright.normal, (1, 0, 0))


def test_drawings_take_their_heights_from_their_names(tmp_path):
    for name in ("leg-10.svg", "leg_-2.5.svg", "v2 leg 7.svg"):
        svg(tmp_path, name)
    written(tmp_path, "words", "readme.txt")
    assert holds_slices(tmp_path)
    assert sorted(each.origin[2] for each in load_slices(tmp_path).slices) == [-2.5, 7, 10]


def test_pictures_and_drawings_lie_where_the_description_says(tmp_path):
    labels = np.zeros((6, 8), dtype=np.uint8)
    labels[1:5, 2:6] = 3
    Image.fromarray(labels).save(tmp_path / "a.png")
    svg(tmp_path, "b.svg")
    entries = [{"height": 0, "file": "a.png"}, {"height": 1, "file": "b.svg"}, {"height": 2, "contours": []}]
    written(tmp_path, {"pixel": [0.5, 0.25], "slices": entries}, "slices.json")
    cuts = {each.origin[2]: each for each in load_slices(tmp_path).slices}
    picture = cuts[0].to_world(cuts[0].contours[0])
    np.testing.assert_allclose(picture.min(axis=0), (1, -1.25, 0))
    np.testing.assert_allclose(picture.max(axis=0), (3, -0.25, 0))
    np.testing.assert_allclose(cuts[1].contours[0].min(axis=0), (0, -0.5))
    assert cuts[2].contours == ()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"slices": [{"height": 0, "contours": [SQUARE]}]}, "at least 2 slices"),
        ({"slices": []}, "got none"),
        ({}, "'slices' must be a list of objects"),
        ({"slices": [{"contours": [SQUARE]}] * 2}, "lacks its plane; add 'height'"),
        ({"slices": [{"origin": [0, 0, 0], "contours": [SQUARE]}] * 2}, "'right' must hold 3 numbers"),
        ({"slices": [{"height": 0, "right": [1, 0, 0], "contours": []}] * 2}, "a height and a pose"),
        ({"slices": [{"height": 0}] * 2}, "lacks 'contours' and 'file'"),
        ({"slices": [{"height": 0, "file": 3}] * 2}, "'file' must be a string"),
        ({"slices": [{"height": 0, "file": "a.svg", "contours": []}] * 2}, "both contours and a file"),
        ({"slices": [{"height": 0, "file": "a.png"}] * 2}, "a.png, which does not exist"),
        ({"slices": [{"height": 0, "file": "../a.svg"}] * 2}, "leaves the dataset's folder"),
        ({"slices": [{"height": 0, "contours": [[[0, 0], [1]]]}] * 2}, "contour 1: 'corners' must hold 2x2 numbers"),
        ({"slices": [{"height": 0, "contours": 3}] * 2}, "list of lists"),
        ('{"slices": [{"height": NaN, "contours": []}]}', "only finite numbers"),
        ({"pixel": 0, "slices": [{"height": 0, "contours": [SQUARE]}] * 2}, "'pixel' is"),
        (
            {"slices": [{"origin": [0, 0, 0], "right": [1, 0, 0], "up": [1, 1, 0], "contours": []}] * 2},
            "at right angles",
        ),
    ],
)
def test_what_is_wrong_with_a_description_is_named(tmp_path, content, said):
    with pytest.raises(DataError, match=said):
        load_slices(written(tmp_path, content))


def test_pictures_need_the_size_of_a_pixel_and_one_channel(tmp_path):
    Image.fromarray(np.zeros((4, 4), dtype=np.uint8)).save(tmp_path / "a.png")
    path = written(tmp_path, {"slices": [{"height": 0, "file": "a.png"}] * 2})
    with pytest.raises(DataError, match="lacks 'pixel'"):
        load_slices(path)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (4, 4, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    written(tmp_path, {"pixel": 1, "slices": [{"height": 0, "file": "a.png"}] * 2})
    with pytest.raises(DataError, match="is coloured"):
        load_slices(path)


def test_folders_and_files_without_slices_are_named(tmp_path):
    with pytest.raises(DataError, match="has no slices"):
        load_slices(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        load_slices(tmp_path / "a.csl")
    with pytest.raises(DataError, match="one slice or no slices"):
        load_slices(svg(tmp_path, "one 1.svg"))
    svg(tmp_path, "nameless.svg")
    with pytest.raises(DataError, match="no number in its name"):
        load_slices(tmp_path)
