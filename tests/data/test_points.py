import numpy as np
import pytest
import torch

from onefield.data.points import FEWEST, MOST, Points, is_point_file, load_points
from onefield.data.signals import Shape, Signal, load_signal
from onefield.errors import DataError
from onefield.types import PointCloud


def ball(count: int = 200) -> np.ndarray:
    directions = np.random.default_rng(0).normal(size=(count, 3))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def write_ply(path, table: np.ndarray, faces: str = "") -> None:
    names = ("x", "y", "z", "nx", "ny", "nz")[: table.shape[1]]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(table)}"]
    header += [*(f"property float {name}" for name in names), *([faces] if faces else []), "end_header", ""]
    path.write_bytes("\n".join(header).encode() + table.astype("<f4").tobytes())


@pytest.mark.parametrize("columns", [3, 6])
@pytest.mark.parametrize("name", ["cloud.npy", "cloud.xyz", "cloud.ply"])
def test_files_of_points_give_positions_and_normals(tmp_path, name: str, columns: int):
    path = tmp_path / name
    table = np.hstack([2 * ball(), 5 * ball()])[:, :columns]
    if name.endswith(".npy"):
        np.save(path, table)
    elif name.endswith(".xyz"):
        np.savetxt(path, table, header="x y z")
    else:
        write_ply(path, table)
    points = load_signal(path)
    assert isinstance(points, Points)
    assert points.notes == ()
    torch.testing.assert_close(points.cloud.points, torch.tensor(2 * ball(), dtype=torch.float32))
    assert (points.cloud.normals is None) == (columns == 3)
    if columns == 6:
        torch.testing.assert_close(points.cloud.normals, torch.tensor(ball(), dtype=torch.float32))
    assert bool(points.domain.contains(points.cloud.points).all())
    assert len({round(side, 9) for side in points.domain.extent}) == 1


def test_meshes_and_pictures_stay_what_they_are(tmp_path):
    write_ply(tmp_path / "mesh.ply", ball(), "element face 12")
    assert not is_point_file(tmp_path / "mesh.ply")
    np.save(tmp_path / "grey.npy", np.zeros((8, 9)))
    assert isinstance(load_signal(tmp_path / "grey.npy"), Signal)
    import trimesh

    trimesh.creation.box().export(tmp_path / "box.ply")
    assert isinstance(load_signal(tmp_path / "box.ply"), Shape)


def test_what_is_no_point_is_left_out_with_a_note():
    table = np.concatenate([ball(), ball()[:20], [[np.nan, 0, 0], [0, np.inf, 0]]])
    points = Points.of(PointCloud(torch.tensor(table)))
    assert len(points.cloud.points) == 200
    assert points.notes == (
        "2 of 222 points are not finite and were left out.",
        "20 of 220 points are copies and were left out.",
    )


def test_normals_without_direction_are_given_up_with_a_note():
    normals = torch.tensor(ball())
    normals[3] = 0
    points = Points.of(PointCloud(torch.tensor(ball()), None, normals))
    assert points.cloud.normals is None
    assert points.notes == ("1 normals have no direction, so all normals are estimated from the points.",)


def test_colors_are_no_normals(tmp_path):
    table = np.concatenate([ball(), np.arange(3 * len(ball())).reshape(-1, 3) % 256], axis=1)
    np.savetxt(tmp_path / "scan.xyz", table)
    points = load_points(tmp_path / "scan.xyz")
    assert points.cloud.normals is None
    assert points.notes == ("The last three columns are colours and were left out.",)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (np.tile(ball(FEWEST - 1), (4, 1)), f"49 distinct points; a surface needs at least {FEWEST}"),
        (np.full((80, 3), np.nan), "0 distinct points"),
        (ball() * 1e200, "units, beyond measure"),
        (ball() * 1e-200, "units, beyond measure"),
        (ball() @ np.array([[1, 2, 3]]).repeat(3, 0), "on a line"),
    ],
)
def test_clouds_without_a_surface_are_refused(tmp_path, table: np.ndarray, message: str):
    np.save(tmp_path / "cloud.npy", table)
    with pytest.raises(DataError, match=message) as caught:
        load_points(tmp_path / "cloud.npy")
    assert str(tmp_path / "cloud.npy") in str(caught.value)


@pytest.mark.parametrize("text", ["1 2 3\n4 5\n", "a b c\n", "1 2 3 4\n5 6 7 8\n", ""])
def test_text_that_is_no_table_of_points_is_refused(tmp_path, text: str):
    (tmp_path / "cloud.xyz").write_text(text)
    with pytest.raises(DataError, match=r"cloud\.xyz"):
        load_points(tmp_path / "cloud.xyz")


def test_more_points_than_needed_are_thinned_out_evenly():
    table = torch.rand(MOST + 1000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    points = Points.of(PointCloud(table))
    assert len(points.cloud.points) == MOST
    assert points.notes == ("Of 1,001,000 points 1,000,000, picked evenly at random, were taken.",)


def test_points_far_from_zero_keep_their_digits(tmp_path):
    shift = np.array([431_000.0, 5_412_000.0, 320.0])
    header = "ply\nformat ascii 1.0\nelement vertex {}\n{}end_header\n"
    axes = "".join(f"property double {axis}\n" for axis in "xyz")
    text = "\n".join(" ".join(map(repr, row)) for row in (ball() + shift).tolist())
    (tmp_path / "scan.ply").write_text(header.format(len(ball()), axes) + text)
    for points in (Points.of(PointCloud(torch.tensor(ball() + shift))), load_points(tmp_path / "scan.ply")):
        back = points.cloud.points.double().numpy() + points.origin
        assert np.abs(back - ball() - shift).max() < 1e-6


def test_flat_clouds_are_points_but_no_solid(tmp_path):
    np.save(tmp_path / "cloud.npy", ball() * [1, 1, 0])
    with pytest.raises(DataError, match=r"cloud[.]npy has all its points on a plane"):
        load_points(tmp_path / "cloud.npy").check_solid()
    Points.of(PointCloud(torch.tensor(ball()))).check_solid()
