"""What splatting computes beside gsplat's published PyTorch reference, on the same Gaussians and cameras.

Projection, colours and lists of tiles are compared one by one; gsplat's own blending needs a graphics card, so its
lists are blended here, in float64, by equation 3 of Kerbl et al. (2023). Pixels where rounding decides a cut are left
out and counted. Without gsplat installed its rows stay empty:
python benchmarks/gaussian_peers.py [--gaussians 2000] [--cameras 3]
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.util
import math
from types import ModuleType
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from onefield.cameras import Cameras
from onefield.fields.gaussians import GaussianField
from onefield.kernels.gaussian_footprints import gaussian_footprints
from onefield.kernels.gaussian_tiles import LEAST_ALPHA, TILE, gaussian_tiles, tile_grid
from onefield.kernels.harmonic_colors import harmonic_colors
from onefield.renderers.schools import SCHOOLS
from onefield.renderers.splat import SplatRenderer
from onefield.types import Bounds, Gaussians

WIDTH, HEIGHT = 160, 112
DEGREE = 3
TOLERANCE = 1e-4
# Transmittance at which a pixel is done, the same in both.
STOP = 1e-4
# How near to a cut, relative to it, float32 may decide otherwise than float64.
ROUNDING = 1e-3
# gsplat 1.5.3 and its successors differ in this one number.
MAX_ALPHA = {"1.5.3": 0.999}


class Projected(NamedTuple):
    """Gaussians on a picture."""

    means: Tensor
    depths: Tensor
    conics: Tensor
    compensations: Tensor
    colors: Tensor
    tiles: list[list[int]]
    image: Tensor
    sure: Tensor | None = None


def gaussians(count: int) -> Gaussians:
    """Around the middle of the scene, some of them beside every picture, and some behind a camera."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    bands = tuple(0.3 * normal(count, 2 * band + 1, 3) for band in range(DEGREE + 1))
    return Gaussians(
        normal(count, 3), math.log(0.05) + 0.5 * normal(count, 3), normal(count, 4), 2 * normal(count), bands
    )


def cameras(count: int) -> Cameras:
    """Around the scene, their principal points at different places off the middle."""
    poses, centers = [], []
    for k in range(count):
        turn = 2 * math.pi * k / count
        back = torch.tensor([math.cos(turn), math.sin(turn), 0.3], dtype=torch.float64)
        forward = -back / back.norm()
        right = torch.linalg.cross(forward, torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64))
        right = right / right.norm()
        pose = torch.stack([right, torch.linalg.cross(forward, right), forward, 2.5 * back], dim=1)
        poses.append(pose)
        centers.append([WIDTH * (0.5 + 0.1 * math.sin(k + 1)), HEIGHT * (0.5 + 0.15 * math.cos(k))])
    return Cameras.pinhole(torch.stack(poses), (150.0, 160.0), torch.tensor(centers), WIDTH, HEIGHT)


def ours(some: Gaussians, view: Cameras, school: str) -> Projected:
    rules = SCHOOLS[school]
    means, depths, jacobians = view.linearised(some.means, around_axis=rules.around_axis)
    conics, compensations, variances = gaussian_footprints(
        jacobians, some.log_scales, some.quaternions, rules.low_pass, rules.least_compensation
    )
    shown = torch.where(depths > rules.near, depths, 0.0)
    tiles = gaussian_tiles(means, conics, variances, some.opacities.sigmoid(), shown, WIDTH, HEIGHT)
    listed = [tiles.owners[a:b].tolist() for a, b in zip(tiles.offsets[:-1], tiles.offsets[1:], strict=True)]
    colors = harmonic_colors(some.means - view.positions[0].float(), some.harmonics)
    image = SplatRenderer(school=rules).render_image(GaussianField(Bounds.cube(8.0), some), view, 0).color
    return Projected(means, depths, conics, compensations, colors, listed, image)


def theirs(some: Gaussians, view: Cameras, reference: ModuleType, max_alpha: float) -> Projected:
    """By gsplat's functions in float64, which the same inputs are given to."""
    inputs = [t.double() for t in (some.means, some.quaternions, some.log_scales.exp())]
    covariances, _ = reference._quat_scale_to_covar_preci(inputs[1], inputs[2], compute_preci=False)
    view_matrix = torch.eye(4, dtype=torch.float64)[None]
    view_matrix[0, :3] = view.camera_to_world[0]
    matrix = torch.eye(3, dtype=torch.float64)
    matrix[[0, 1], [0, 1]], matrix[:2, 2] = view.focal[0].double(), view.center[0].double()
    radii, means, depths, conics, compensations = reference._fully_fused_projection(
        inputs[0], covariances, view_matrix.inverse(), matrix[None], WIDTH, HEIGHT, calc_compensations=True
    )
    columns, rows = tile_grid(WIDTH, HEIGHT)
    _, keys, owners = reference._isect_tiles(means, radii, depths, TILE, columns, rows)
    # the number of the tile is above the 32 bits of the depth; there is one camera
    places = keys >> 32
    listed = [owners[places == tile].tolist() for tile in range(columns * rows)]
    coefficients = torch.cat(some.harmonics, dim=1).double()
    shown = reference._spherical_harmonics(DEGREE, inputs[0] - view.positions[0], coefficients)
    colors = (shown + 0.5).clamp(min=0)
    image, sure = blended(means[0], conics[0], some.opacities.double().sigmoid(), colors, listed, max_alpha)
    return Projected(means[0], depths[0], conics[0], compensations[0], colors, listed, image, sure)


def blended(
    means: Tensor, conics: Tensor, opacities: Tensor, colors: Tensor, tiles: list[list[int]], max_alpha: float
) -> tuple[Tensor, Tensor]:
    """What the pixels show over black, tile by tile, with gsplat's cuts; and where no cut is within rounding."""
    image = torch.zeros(HEIGHT, WIDTH, 3, dtype=torch.float64)
    sure = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    for (top, left), listed in zip(corners(), tiles, strict=True):
        alpha = opacity_at(means, conics, opacities, torch.tensor(listed, dtype=torch.long), top, left)
        close = ((alpha / LEAST_ALPHA - 1).abs() < ROUNDING).any(-1)
        alpha = torch.where(alpha < LEAST_ALPHA, 0.0, alpha.clamp(max=max_alpha))
        after = (1 - alpha).cumprod(-1)
        close |= ((after / STOP - 1).abs() < ROUNDING).any(-1)
        alpha = torch.where(after > STOP, alpha, 0.0)
        before = torch.cat([torch.ones_like(after[..., :1]), (1 - alpha).cumprod(-1)[..., :-1]], dim=-1)
        shown = (before * alpha) @ colors[listed]
        image[top : top + TILE, left : left + TILE] = shown
        sure[top : top + TILE, left : left + TILE] = ~close
    return image, sure


def corners() -> list[tuple[int, int]]:
    return [(top, left) for top in range(0, HEIGHT, TILE) for left in range(0, WIDTH, TILE)]


def opacity_at(means: Tensor, conics: Tensor, opacities: Tensor, listed: Tensor, top: int, left: int) -> Tensor:
    """Of each Gaussian at each pixel of a tile, before any cut."""
    y, x = torch.meshgrid(
        torch.arange(top, min(top + TILE, HEIGHT)), torch.arange(left, min(left + TILE, WIDTH)), indexing="ij"
    )
    across = x[..., None] + 0.5 - means[listed, 0]
    down = y[..., None] + 0.5 - means[listed, 1]
    xx, xy, yy = conics[listed].unbind(-1)
    return opacities[listed] * torch.exp(-0.5 * (xx * across**2 + yy * down**2) - xy * across * down)


def pairs(one: Projected, other: Projected, opacities: Tensor) -> dict[str, int]:
    """Pairs of tiles and Gaussians of the one that the other lacks, and those of them that show at a pixel."""
    counts = {"pairs": 0, "missing": 0, "missing and seen": 0, "out of order": 0}
    for (top, left), mine, listed in zip(corners(), one.tiles, other.tiles, strict=True):
        lacking = [gaussian for gaussian in mine if gaussian not in set(listed)]
        shared = set(mine) & set(listed)
        counts["pairs"] += len(mine)
        counts["missing"] += len(lacking)
        counts["out of order"] += [g for g in mine if g in shared] != [g for g in listed if g in shared]
        if lacking:
            chosen = torch.tensor(lacking)
            most = opacity_at(one.means.double(), one.conics.double(), opacities, chosen, top, left).amax((0, 1))
            counts["missing and seen"] += int((most >= LEAST_ALPHA).sum())
    return counts


def differences(mine: Projected, peer: Projected, near: float) -> dict[str, tuple[float, bool]]:
    """Largest difference of each quantity, and whether all are within the tolerance, absolute and relative."""
    ahead = peer.depths > near
    found = {}
    for name in ("means", "depths", "conics", "compensations", "colors", "image"):
        one, other = getattr(mine, name).double(), getattr(peer, name).double()
        if name != "colors":
            chosen = peer.sure if name == "image" else ahead
            one, other = one[chosen], other[chosen]
        close = bool(torch.isclose(one, other, rtol=TOLERANCE, atol=TOLERANCE).all())
        found[name] = float((one - other).abs().max()), close
    return found


def compare(count: int, views: int, table: Table) -> None:
    version = importlib.metadata.version("gsplat")
    school = "gsplat-1.5.3" if version in MAX_ALPHA else "gsplat"
    reference = importlib.import_module("gsplat.cuda._torch_impl")
    some, around = gaussians(count), cameras(views)
    for k in range(views):
        view = around[k : k + 1]
        mine = ours(some, view, school)
        peer = theirs(some, view, reference, MAX_ALPHA.get(version, SCHOOLS[school].max_alpha))
        for name, (largest, close) in differences(mine, peer, SCHOOLS[school].near).items():
            table.add_row(str(k), name, f"{largest:.1e}", "yes" if close else "NO")
        table.add_row(str(k), "pixels at a cut", f"{int((~peer.sure).sum())} of {WIDTH * HEIGHT}", "")
        for title, one, other in (("ours", mine, peer), ("theirs", peer, mine)):
            counts = pairs(one, other, some.opacities.double().sigmoid())
            table.add_row(str(k), f"tiles of {title}", ", ".join(f"{n} {word}" for word, n in counts.items()), "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gaussians", type=int, default=2000)
    parser.add_argument("--cameras", type=int, default=3)
    arguments = parser.parse_args()
    installed = importlib.util.find_spec("gsplat") is not None
    title = f"gsplat {importlib.metadata.version('gsplat')}" if installed else "gsplat is not installed"
    table = Table(title=title)
    for column in ("camera", "quantity", "largest difference", f"within {TOLERANCE:g}"):
        table.add_column(column)
    if installed:
        compare(arguments.gaussians, arguments.cameras, table)
    else:
        table.add_row("", "gsplat", "", "")
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
