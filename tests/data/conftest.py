"""One tiny ground truth, written in every format by hand: five pictures of 8 x 6 pixels around a point."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from onefield.data.scene import Scene

WIDTH, HEIGHT = 8, 6
COUNT = 5
NEAR, FAR = 2.0, 9.0


@dataclass(frozen=True)
class Truth:
    """Cameras in the dataset's frame (OpenCV axes, camera-to-world), and points that they see."""

    poses: np.ndarray
    points: np.ndarray
    focal: tuple[float, float] = (9.0, 9.0)
    center: tuple[float, float] = (4.0, 3.0)
    distortion: tuple[float, ...] = (0.0,) * 8
    fisheye: bool = False
    radial8: float = 0.0
    skew: float = 0.0
    shift: tuple[float, float, float] = field(default=(0.0, 0.0, 0.0))

    def project(self, camera: int, points: np.ndarray) -> np.ndarray:
        """Pixels of points, written out from the models' definitions."""
        pose = self.poses[camera]
        local = (points - pose[:, 3]) @ pose[:, :3]
        x, y = local[:, 0] / local[:, 2], local[:, 1] / local[:, 2]
        k1, k2, p1, p2, k3, k4, k5, k6 = self.distortion
        if self.fisheye:
            r = np.hypot(x, y)
            t = np.arctan(r)
            d = t * (1 + k1 * t**2 + k2 * t**4 + p1 * t**6 + p2 * t**8)
            u, v = d * x / r, d * y / r
        else:
            r2 = x * x + y * y
            radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3 + self.radial8 * r2**4
            radial /= 1 + k4 * r2 + k5 * r2**2 + k6 * r2**3
            u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
            v = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
        return np.stack(
            [self.focal[0] * u + self.skew * v + self.center[0], self.focal[1] * v + self.center[1]], axis=1
        )

    @property
    def wide_points(self) -> np.ndarray:
        """The same points farther apart, out to the pictures' edges, where distortion is strong."""
        middle = self.points.mean(axis=0)
        return middle + 1.8 * (self.points - middle)

    def picture(self, camera: int) -> np.ndarray:
        """Pixel (x, y) of camera c is (30 x, 40 y, 20 c)."""
        picture = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
        picture[..., 0] = 30 * np.arange(WIDTH)
        picture[..., 1] = 40 * np.arange(HEIGHT)[:, None]
        picture[..., 2] = 20 * camera
        return picture


def make_truth(shift: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Truth:
    generator = np.random.default_rng(5)
    target = np.array([0.3, -0.2, 0.1]) + shift
    poses = []
    for index in range(COUNT):
        angle = 2.2 * index
        eye = target + 4.0 * np.array([np.cos(angle), np.sin(angle), 0.5 + 0.1 * index])
        forward = (target - eye) / np.linalg.norm(target - eye)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        poses.append(np.stack([right, np.cross(forward, right), forward, eye], axis=1))
    points = target + generator.uniform(-0.8, 0.8, (60, 3))
    return Truth(np.stack(poses), points, shift=shift)


def _save_pictures(truth: Truth, folder: Path, pattern: str = "{:03d}.png", alpha: bool = False) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for camera in range(COUNT):
        picture = Image.fromarray(truth.picture(camera))
        if alpha:
            picture.putalpha(Image.fromarray(np.full((HEIGHT, WIDTH), 200, dtype=np.uint8)))
        names.append(pattern.format(camera))
        picture.save(folder / names[-1])
    return names


def _opengl(pose: np.ndarray) -> list[list[float]]:
    matrix = np.eye(4)
    matrix[:3] = pose
    return (matrix @ np.diag([1.0, -1.0, -1.0, 1.0])).tolist()


def _intrinsics(truth: Truth) -> dict[str, object]:
    k1, k2, third, fourth, k3 = truth.distortion[:5]
    record = {
        "w": WIDTH, "h": HEIGHT, "fl_x": truth.focal[0], "fl_y": truth.focal[1], "cx": truth.center[0],
        "cy": truth.center[1], "k1": k1, "k2": k2,
    }  # fmt: skip
    if truth.fisheye:
        return record | {"camera_model": "OPENCV_FISHEYE", "k3": third, "k4": fourth}
    return record | {"camera_model": "OPENCV", "p1": third, "p2": fourth, "k3": k3}


def write_ngp(truth: Truth, folder: Path, aabb_scale: float = 4, **changes: object) -> dict:
    names = _save_pictures(truth, folder / "images")
    frames = [
        {"file_path": f"./images/{name}", "transform_matrix": _opengl(pose)}
        for name, pose in zip(names, truth.poses, strict=True)
    ]
    record = _intrinsics(truth) | {"aabb_scale": aabb_scale, "frames": frames} | changes
    (folder / "transforms.json").write_text(json.dumps(record))
    return record


def write_nerfstudio(truth: Truth, folder: Path) -> None:
    """Intrinsics for each frame, names without a suffix, points in a PLY file."""
    names = _save_pictures(truth, folder / "images")
    frames = [
        {"file_path": f"images/{name[:-4]}", "transform_matrix": _opengl(pose)} | _intrinsics(truth)
        for name, pose in zip(names, truth.poses, strict=True)
    ]
    rows = "\n".join(f"{x!r} {y!r} {z!r} 255 0 51" for x, y, z in truth.points.tolist())
    header = f"ply\nformat ascii 1.0\nelement vertex {len(truth.points)}\n"
    header += "".join(f"property double {axis}\n" for axis in "xyz")
    header += "".join(f"property uchar {name}\n" for name in ("red", "green", "blue"))
    (folder / "points.ply").write_text(f"{header}end_header\n{rows}\n")
    (folder / "transforms.json").write_text(json.dumps({"frames": frames, "ply_file_path": "points.ply"}))


def write_blender(truth: Truth, folder: Path) -> None:
    """Three training and two test views, RGBA."""
    _save_pictures(truth, folder / "train", "r_{}.png", alpha=True)
    _save_pictures(truth, folder / "test", "r_{}.png", alpha=True)
    for split, chosen in (("train", (0, 1, 2)), ("test", (3, 4))):
        frames = [
            {"file_path": f"./{split}/r_{index}", "transform_matrix": _opengl(truth.poses[index])} for index in chosen
        ]
        record = {"camera_angle_x": 2 * np.arctan(WIDTH / 2 / truth.focal[0]), "frames": frames}
        (folder / f"transforms_{split}.json").write_text(json.dumps(record))


def _quaternion(rotation: np.ndarray) -> np.ndarray:
    """w, x, y, z from the eigenvector of Bar-Itzhack's symmetric matrix, which has no case distinctions."""
    (a, b, c), (d, e, f), (g, h, i) = rotation
    symmetric = np.array(
        [
            [a - e - i, d + b, g + c, h - f],
            [d + b, e - a - i, h + f, c - g],
            [g + c, h + f, i - a - e, d - b],
            [h - f, c - g, d - b, a + e + i],
        ]
    )
    x, y, z, w = np.linalg.eigh(symmetric / 3)[1][:, 3]
    return np.array([w, x, y, z])


COLMAP_MODELS = {
    "SIMPLE_PINHOLE": (0, 0), "PINHOLE": (1, 0), "SIMPLE_RADIAL": (2, 1), "RADIAL": (3, 2), "OPENCV": (4, 4),
    "OPENCV_FISHEYE": (5, 4), "FULL_OPENCV": (6, 8), "SIMPLE_RADIAL_FISHEYE": (8, 1), "RADIAL_FISHEYE": (9, 2),
}  # fmt: skip


def colmap_parameters(truth: Truth, model: str) -> list[float]:
    single = model not in ("PINHOLE", "OPENCV", "OPENCV_FISHEYE", "FULL_OPENCV")
    focal = [truth.focal[0]] if single else list(truth.focal)
    return focal + list(truth.center) + list(truth.distortion[: COLMAP_MODELS[model][1]])


def seen_by(point: int) -> tuple[int, int]:
    """Numbers of the two images that a COLMAP model says saw a point."""
    return point % COUNT + 1, (point + 1) % COUNT + 1


def write_colmap(truth: Truth, folder: Path, model: str = "OPENCV", text: bool = False) -> None:
    names = _save_pictures(truth, folder / "images")
    target = folder / "sparse" / "0"
    target.mkdir(parents=True, exist_ok=True)
    parameters = colmap_parameters(truth, model)
    number = COLMAP_MODELS[model][0]
    images = []
    for pose in truth.poses:
        rotation = pose[:, :3].T
        images.append((_quaternion(rotation), -rotation @ pose[:, 3]))
    if text:
        numbers = " ".join(map(repr, map(float, parameters)))
        (target / "cameras.txt").write_text(f"# cameras\n7 {model} {WIDTH} {HEIGHT} {numbers}\n")
        rows = ["# images"]
        for index, (q, t) in enumerate(images):
            pose = " ".join(repr(float(v)) for v in (*q, *t))
            # The second line lists observations, and may be empty.
            rows += [f"{index + 1} {pose} 7 {names[index]}", "1.5 2.5 -1" if index % 2 else ""]
        (target / "images.txt").write_text("\n".join(rows) + "\n")
        rows = [
            f"{i} {x!r} {y!r} {z!r} 255 0 51 0.5 {' '.join(f'{image} 0' for image in seen_by(i))}"
            for i, (x, y, z) in enumerate(truth.points.tolist())
        ]
        (target / "points3D.txt").write_text("# points\n" + "\n".join(rows) + "\n")
        return
    content = struct.pack("<QIiQQ", 1, 7, number, WIDTH, HEIGHT) + struct.pack(f"<{len(parameters)}d", *parameters)
    (target / "cameras.bin").write_bytes(content)
    content = struct.pack("<Q", COUNT)
    for index, (q, t) in enumerate(images):
        content += struct.pack("<I7dI", index + 1, *q, *t, 7) + names[index].encode() + b"\0"
        content += struct.pack("<Qddq", 1, 1.5, 2.5, -1)
    (target / "images.bin").write_bytes(content)
    content = struct.pack("<Q", len(truth.points))
    for index, point in enumerate(truth.points):
        content += struct.pack("<Q3d3BdQ", index, *point, 255, 0, 51, 0.5, len(seen_by(index)))
        content += b"".join(struct.pack("<II", image, 0) for image in seen_by(index))
    (target / "points3D.bin").write_bytes(content)


def write_llff(truth: Truth, folder: Path) -> None:
    _save_pictures(truth, folder / "images")
    rows = []
    for pose in truth.poses:
        right, down, forward, position = pose.T
        matrix = np.stack([down, right, -forward, position, [HEIGHT, WIDTH, truth.focal[0]]], axis=1)
        rows.append(np.concatenate([matrix.reshape(-1), [NEAR, FAR]]))
    np.save(folder / "poses_bounds.npy", np.stack(rows))


def write_dtu(truth: Truth, folder: Path, masks: bool = True) -> None:
    """Images and masks are named by numbers of different lengths, so that text order is the wrong order."""
    _save_pictures(truth, folder / "image", "{:d}.png")
    (folder / "mask").mkdir(exist_ok=True)
    scale = np.diag([2.0, 2.0, 2.0, 1.0])
    scale[:3, 3] = truth.points.mean(axis=0)
    arrays = {}
    intrinsics = np.array([[truth.focal[0], 0, truth.center[0]], [0, truth.focal[1], truth.center[1]], [0, 0, 1.0]])
    for index, pose in enumerate(truth.poses):
        rotation = pose[:, :3].T
        projection = np.eye(4)
        # Known only up to scale and sign.
        projection[:3] = -2.5 * intrinsics @ np.concatenate([rotation, -rotation @ pose[:, 3:]], axis=1)
        arrays[f"world_mat_{index}"], arrays[f"scale_mat_{index}"] = projection, scale
        if masks:
            mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
            mask[:, : index + 1] = 255
            Image.fromarray(mask).save(folder / "mask" / f"{index:03d}.png")
    np.savez(folder / "cameras_sphere.npz", **arrays)


def write_polycam(truth: Truth, folder: Path) -> None:
    """Beside the optimised poses lie the phone's, which are worse."""
    keyframes = folder / "keyframes"
    for kind, shift in (("corrected_", 0.0), ("", 0.3)):
        names = _save_pictures(truth, keyframes / f"{kind}images", "17{:03d}.png")
        (keyframes / f"{kind}cameras").mkdir()
        for name, pose in zip(names, truth.poses, strict=True):
            matrix = np.array(_opengl(pose))
            record = {f"t_{row}{column}": matrix[row, column] for row in range(3) for column in range(4)}
            record["t_03"] += shift
            record |= {
                "fx": truth.focal[0], "fy": truth.focal[1], "cx": truth.center[0], "cy": truth.center[1],
                "width": WIDTH, "height": HEIGHT, "blur_score": 120.0, "timestamp": 17,
            }  # fmt: skip
            (keyframes / f"{kind}cameras" / f"{name[:-4]}.json").write_text(json.dumps(record))
    (keyframes / "depth").mkdir()
    for name in names:
        Image.fromarray(np.full((3, 4), 2500, dtype=np.uint16)).save(keyframes / "depth" / name)


def write_record3d(truth: Truth, folder: Path, own_intrinsics: bool = True) -> None:
    _save_pictures(truth, folder / "rgb", "{:d}.png")
    poses = []
    for pose in truth.poses:
        w, x, y, z = _quaternion(np.array(_opengl(pose))[:3, :3])
        poses.append([float(value) for value in (x, y, z, w, *pose[:, 3])])
    (fx, fy), (cx, cy) = truth.focal, truth.center
    record = {"w": WIDTH, "h": HEIGHT, "dw": 4, "dh": 3, "fps": 30, "poses": poses}
    record["K"] = [fx, 0.0, 0.0, 0.0, fy, 0.0, cx, cy, 1.0]
    if own_intrinsics:
        record |= {"perFrameIntrinsicCoeffs": [[fx, fy, cx, cy]] * COUNT, "K": [1.0] * 9}
    (folder / "metadata.json").write_text(json.dumps(record))


def _xml(**values: float) -> str:
    return "".join(f"<{name}>{value!r}</{name}>" for name, value in values.items())


def _xml_similarity(rotation: np.ndarray, translation: np.ndarray, scale: float) -> str:
    turned, moved = (" ".join(map(repr, values.reshape(-1).tolist())) for values in (rotation, translation))
    return (
        f'<transform><rotation locked="false">{turned}</rotation><translation>{moved}</translation>'
        f"<scale>{scale!r}</scale></transform>"
    )


def write_metashape(truth: Truth, folder: Path, placed: str = "component") -> None:
    """Poses stand in the frame of a component that a similarity, its own or the chunk's, takes to the truth's."""
    names = _save_pictures(truth, folder / "images", "DSC{:04d}.png")
    rotation, translation, scale = truth.poses[1, :, :3], np.array([10.0, -20.0, 3.0]), 2.5
    k1, k2, p1, p2, k3 = truth.distortion[:5]
    lens = {"k1": k1, "k2": k2, "k3": p1, "k4": p2} if truth.fisheye else {
        "k1": k1, "k2": k2, "k3": k3, "k4": truth.radial8, "p1": p2, "p2": p1
    }  # fmt: skip
    size = f'<resolution width="{WIDTH}" height="{HEIGHT}"/>'
    kind = "fisheye" if truth.fisheye else "frame"
    values = _xml(
        f=truth.focal[1], cx=truth.center[0] - WIDTH / 2, cy=truth.center[1] - HEIGHT / 2,
        b1=truth.focal[0] - truth.focal[1], b2=truth.skew, **lens,
    )  # fmt: skip
    cameras = ""
    for index, pose in enumerate(truth.poses):
        matrix = np.eye(4)
        matrix[:3, :3] = rotation.T @ pose[:, :3]
        matrix[:3, 3] = rotation.T @ (pose[:, 3] - translation) / scale
        numbers = " ".join(map(repr, matrix.reshape(-1).tolist()))
        cameras += (
            f'<camera id="{index}" sensor_id="3" component_id="0" label="{names[index][:-4]}">'
            f"<transform>{numbers}</transform><orientation>1</orientation></camera>"
        )
    similarity = _xml_similarity(rotation, translation, scale)
    component = f'<component id="0" label="Component 1">{similarity if placed == "component" else ""}</component>'
    (folder / "cameras.xml").write_text(
        f'<?xml version="1.0" encoding="UTF-8"?>\n<document version="2.0.0">\n<chunk label="Chunk 1" enabled="true">\n'
        f'<sensors next_id="4"><sensor id="3" label="unknown" type="{kind}">{size}'
        f'<calibration type="{kind}" class="initial">{size}<f>50</f></calibration>'
        f'<calibration type="{kind}" class="adjusted">{size}{values}</calibration></sensor></sensors>\n'
        f'<components next_id="1" active_id="0">{component}</components>\n'
        f'<cameras next_id="5" next_group_id="1"><group id="0" label="Group 1">{cameras}</group></cameras>\n'
        f"{similarity if placed == 'chunk' else ''}</chunk>\n</document>\n"
    )


def write_realityscan(truth: Truth, folder: Path) -> None:
    """Angles from the world-to-camera matrix that RealityCapture's makers publish for yaw, pitch and roll."""
    names = _save_pictures(truth, folder / "images", "IMG {:d}.png")
    longer = max(WIDTH, HEIGHT)
    px, py = (truth.center[0] - WIDTH / 2) / longer, (truth.center[1] - HEIGHT / 2) / longer
    k1, k2, p1, p2, k3 = truth.distortion[:5]
    rows = ["#name,x,y,alt,heading,pitch,roll,f,px,py,k1,k2,k3,k4,t1,t2"]
    for name, pose in zip(names, truth.poses, strict=True):
        to_camera = pose[:, :3].T
        # second row: -cos(pitch) sin(yaw), -cos(pitch) cos(yaw), -sin(pitch); third column: -cos(pitch) sin(roll), ...
        heading = np.degrees(np.arctan2(-to_camera[1, 0], -to_camera[1, 1]))
        pitch = np.degrees(np.arcsin(-to_camera[1, 2]))
        roll = np.degrees(np.arctan2(-to_camera[0, 2], -to_camera[2, 2]))
        numbers = [*pose[:, 3], heading, pitch, roll, truth.focal[0] / longer * 36, px, py]
        numbers += [k1, k2, k3, truth.radial8, p2, p1]
        rows.append(",".join([name, *(repr(float(number)) for number in numbers)]))
    (folder / "cameras.csv").write_text("\n".join(rows) + "\n")


def _matrix_text(matrix: np.ndarray) -> str:
    return "\n".join(" ".join(map(repr, row)) for row in matrix.tolist()) + "\n"


def write_scannet(truth: Truth, folder: Path) -> None:
    """Pixels are counted from the first one's centre; depth is as large as colour."""
    names = _save_pictures(truth, folder / "color", "{:d}.png")
    for name in ("pose", "intrinsic", "depth"):
        (folder / name).mkdir()
    intrinsics = np.eye(4)
    intrinsics[:2, :3] = [[truth.focal[0], 0, truth.center[0] - 0.5], [0, truth.focal[1], truth.center[1] - 0.5]]
    for kind in ("color", "depth"):
        (folder / "intrinsic" / f"intrinsic_{kind}.txt").write_text(_matrix_text(intrinsics))
    for name, pose in zip(names, truth.poses, strict=True):
        (folder / "pose" / name.replace("png", "txt")).write_text(_matrix_text(np.vstack([pose, [0.0, 0.0, 0.0, 1.0]])))
        Image.fromarray(np.full((HEIGHT, WIDTH), 2500, dtype=np.uint16)).save(folder / "depth" / name)


def write_replica(truth: Truth, folder: Path) -> None:
    """Pixels are counted from the first one's centre."""
    _save_pictures(truth, folder / "results", "frame{:06d}.png")
    for index in range(COUNT):
        depth = Image.fromarray(np.full((HEIGHT, WIDTH), 13107, dtype=np.uint16))
        depth.save(folder / "results" / f"depth{index:06d}.png")
    rows = [" ".join(map(repr, [*pose.reshape(-1).tolist(), 0.0, 0.0, 0.0, 1.0])) for pose in truth.poses]
    (folder / "traj.txt").write_text("\n".join(rows) + "\n")
    camera = {
        "w": WIDTH, "h": HEIGHT, "fx": truth.focal[0], "fy": truth.focal[1], "cx": truth.center[0] - 0.5,
        "cy": truth.center[1] - 0.5, "scale": 6553.5,
    }  # fmt: skip
    (folder / "cam_params.json").write_text(json.dumps({"camera": camera}))


WRITERS = {
    "ngp": write_ngp,
    "nerfstudio": write_nerfstudio,
    "blender": write_blender,
    "colmap_binary": write_colmap,
    "colmap_text": lambda truth, folder: write_colmap(truth, folder, text=True),
    "llff": write_llff,
    "dtu": write_dtu,
    "polycam": write_polycam,
    "record3d": write_record3d,
    "metashape": write_metashape,
    "realityscan": write_realityscan,
    "scannet": write_scannet,
    "replica": write_replica,
}


@dataclass(frozen=True)
class Writers:
    """The truth and the functions that write it."""

    truth: Truth = field(default_factory=make_truth)

    formats = tuple(WRITERS)

    def write(self, name: str, folder: Path, **changes: object) -> Truth:
        truth = replace(self.truth, **changes)
        WRITERS[name](truth, folder)
        return truth

    ngp = staticmethod(write_ngp)
    colmap = staticmethod(write_colmap)
    dtu = staticmethod(write_dtu)
    record3d = staticmethod(write_record3d)
    metashape = staticmethod(write_metashape)
    make_truth = staticmethod(make_truth)

    def assert_seen(self, scene: Scene, truth: Truth) -> None:
        """Points fall where the truth's cameras see them, to 1e-4 pixels, and each view has its own picture."""
        points = scene.transform.apply(torch.from_numpy(truth.points))
        assert len(scene) == COUNT
        for view in range(COUNT):
            pixels, _ = scene.cameras.project(torch.tensor(view), points)
            assert np.abs(pixels.numpy() - truth.project(view, truth.points)).max() < 1e-4
            assert np.array_equal(scene.images.pixels(view)[..., :3], truth.picture(view))

    colmap_models = tuple(COLMAP_MODELS)


@pytest.fixture(scope="session")
def synthetic() -> Writers:
    return Writers()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "format_name" in metafunc.fixturenames:
        metafunc.parametrize("format_name", list(WRITERS))
    if "colmap_model" in metafunc.fixturenames:
        metafunc.parametrize("colmap_model", list(COLMAP_MODELS))
