import numpy as np
import pytest
from PIL import Image

from onefield.data.formats import load_scene
from onefield.errors import DataError

LOST = "-inf -inf -inf -inf\n" * 4


def test_cameras_see_the_truth(synthetic, tmp_path):
    truth = synthetic.write("scannet", tmp_path, focal=(9.0, 10.0), center=(4.2, 2.9))
    scene = load_scene(tmp_path)
    assert (scene.format, scene.warnings) == ("scannet", ())
    synthetic.assert_seen(scene, truth)
    assert scene.depths.unit == pytest.approx(1e-3 * scene.transform.scale)


def test_frames_without_tracking_are_skipped_and_counted(synthetic, tmp_path):
    synthetic.write("scannet", tmp_path)
    (tmp_path / "pose" / "3.txt").write_text(LOST)
    scene = load_scene(tmp_path)
    assert scene.image_names == ("0.png", "1.png", "2.png", "4.png")
    assert scene.warnings == ("1 of 5 frames have no pose (tracking was lost) and were skipped.",)


def test_depth_is_looked_up_through_a_lens_of_its_own(synthetic, tmp_path):
    """Maps of 11 x 5 pixels, each with a number of its own, that see less to the left and more to the right."""
    truth = synthetic.write("scannet", tmp_path, focal=(9.0, 10.0), center=(4.2, 2.9))
    fx, fy, cx, cy = 11.0, 9.5, 4.0, 2.3
    numbers = 1000 + np.arange(55, dtype=np.uint16).reshape(5, 11)
    matrix = f"{fx} 0 {cx - 0.5} 0\n0 {fy} {cy - 0.5} 0\n0 0 1 0\n0 0 0 1\n"
    (tmp_path / "intrinsic" / "intrinsic_depth.txt").write_text(matrix)
    for index in range(5):
        Image.fromarray(numbers).save(tmp_path / "depth" / f"{index}.png")
    scene = load_scene(tmp_path)
    assert scene.warnings == ()
    x, y = np.meshgrid((np.arange(8) + 0.5 - 4.2) / 9.0, (np.arange(6) + 0.5 - 2.9) / 10.0)
    column, row = np.floor(fx * x + cx).astype(int), np.floor(fy * y + cy).astype(int)
    inside = (column >= 0) & (column < 11) & (row >= 0) & (row < 5)
    expected = np.where(inside, numbers[row.clip(0, 4), column.clip(0, 10)], np.nan)
    expected = expected * 1e-3 * scene.transform.scale * np.sqrt(1 + x**2 + y**2)
    assert 0 < inside.sum() < inside.size
    for view in range(len(truth.poses)):
        np.testing.assert_allclose(scene.depths.distances(view).numpy(), expected, rtol=1e-5)


def test_depth_of_another_shape_without_its_lens_is_left_out(synthetic, tmp_path):
    synthetic.write("scannet", tmp_path)
    (tmp_path / "intrinsic" / "intrinsic_depth.txt").unlink()
    for index in range(5):
        Image.fromarray(np.full((6, 12), 2500, dtype=np.uint16)).save(tmp_path / "depth" / f"{index}.png")
    scene = load_scene(tmp_path)
    assert scene.depths is None
    assert "another shape" in scene.warnings[0]
    assert "intrinsic_depth.txt" in scene.warnings[0]


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("pose/2.txt", None, r"lacks 2\.txt"),
        ("pose/2.txt", "", "holds no numbers"),
        ("pose/2.txt", "1 0 0 0\n0 1 0 0\n", "2 x 4 numbers rather than 4 x 4"),
        ("pose/2.txt", "1 0 0 0\n0 1 0", "line 2 has 3 numbers"),
        ("pose/2.txt", "1 0 0 x\n", "line 1: .*'x'"),
        ("pose/2.txt", "3 0 0 0\n0 3 0 0\n0 0 3 0\n0 0 0 1\n", "no rotation"),
        ("pose/2.txt", "nan 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n", None),
        ("intrinsic/intrinsic_color.txt", None, "intrinsic_color.txt can't be read"),
        ("intrinsic/intrinsic_color.txt", "nan 0 4 0\n0 9 3 0\n0 0 1 0\n0 0 0 1\n", "NaN or infinity"),
        ("intrinsic/intrinsic_color.txt", "9 0 8 0\n0 9 6 0\n0 0 1 0\n0 0 0 1\n", "principal point at 8.5, 6.5"),
        ("intrinsic/intrinsic_depth.txt", "9 0 8 0\n0 9 6 0\n0 0 1 0\n0 0 0 1\n", "depth.txt puts the principal"),
        ("color/2.png", "", "2.png is empty"),
    ],
)
def test_broken_files_are_named(synthetic, tmp_path, file, text, said):
    synthetic.write("scannet", tmp_path)
    (tmp_path / file).unlink()
    if text is not None:
        (tmp_path / file).write_text(text)
    if said is None:
        assert len(load_scene(tmp_path)) == 4
        return
    with pytest.raises(DataError, match=said):
        load_scene(tmp_path)


def test_two_files_of_one_number(synthetic, tmp_path):
    synthetic.write("scannet", tmp_path)
    Image.new("RGB", (8, 6)).save(tmp_path / "color" / "2.jpg")
    with pytest.raises(DataError, match=r"both 2\.jpg and 2\.png"):
        load_scene(tmp_path)
