"""Gaussians on the rays of pixels: where they stand, what moves them, and what they remember."""

from __future__ import annotations

import pytest
import torch

from onefield.cameras import Cameras
from onefield.errors import UsageError
from onefield.fields.gaussians import GaussianField, HasGaussians
from onefield.fields.pixel_gaussians import PixelGaussians, PixelRays, blank_pixels
from onefield.fields.view_decoder import ViewDecoder
from onefield.types import Bounds

SIZES = ((9, 14), (12, 8))


def cameras() -> Cameras:
    poses = torch.eye(4, dtype=torch.float64)[:3].repeat(2, 1, 1)
    poses[1, :, 3] = torch.tensor([0.3, -0.1, 0.2])
    height, width = torch.tensor(SIZES).unbind(-1)
    return Cameras.pinhole(poses, (11.0, 11.0), (6.5, 5.0), width, height)


def pixels(dropped: int = 5) -> PixelRays:
    """All pixels of two views at random depths, but for the first few."""
    views, counts = cameras(), [height * width for height, width in SIZES]
    kept = torch.arange(sum(counts))[dropped:]
    directions = torch.cat([views.image_rays(view).directions for view in range(2)])
    generator = torch.Generator().manual_seed(4)
    return PixelRays(
        sizes=SIZES,
        origins=views.positions.float(),
        spreads=torch.tensor([0.6 / 11, 0.6 / 11]),
        views=torch.tensor([0] * counts[0] + [1] * counts[1])[kept],
        places=kept,
        directions=(directions / directions[:, 2:])[kept],
        depths=torch.rand(len(kept), generator=generator) + 1,
        segments=torch.randint(3, (len(kept),), generator=generator),
        colors=torch.rand(len(kept), 3, generator=generator),
    )


def field(**settings) -> PixelGaussians:
    torch.manual_seed(0)
    return PixelGaussians(Bounds.cube(2.0), pixels(), segments=3, width=4, **settings)


def disturbed(of: PixelGaussians) -> PixelGaussians:
    """With decoders that say something."""
    with torch.no_grad():
        for decoder in (of.depth_decoder, of.opacity_decoder):
            decoder.last.weight.normal_(0, 5.0)
    return of


def off_their_pixels(of: PixelGaussians) -> float:
    """The farthest that a middle falls from the middle of its pixel."""
    means, given = of.gaussians().means.detach().double(), pixels()
    found, depths = cameras().project(given.views, means)
    widths = torch.tensor([width for _, width in SIZES])
    own = given.places - given.views * SIZES[0][0] * SIZES[0][1]
    wanted = torch.stack([own % widths[given.views], own // widths[given.views]], dim=-1) + 0.5
    assert (depths > 0).all()
    return float((found - wanted).abs().max())


def test_every_gaussian_stands_on_its_pixels_ray_at_the_start_and_later():
    some = field(scales=torch.tensor([0.5, 2.0]), offsets=torch.tensor([0.3, -0.4]))
    assert isinstance(some, HasGaussians)
    assert len(some) == len(some.gaussians()) == 9 * 14 + 12 * 8 - 5
    given = pixels()
    expected = given.depths * torch.tensor([0.5, 2.0])[given.views] + torch.tensor([0.3, -0.4])[given.views]
    torch.testing.assert_close(some.depths_of(some.gaussians().means), expected)
    assert off_their_pixels(some) < 1e-4
    assert off_their_pixels(disturbed(some)) < 1e-4
    moved = some.depths_of(some.gaussians().means).detach() / expected - 1
    assert 0.3 < float(moved.abs().max()) <= 0.5 + 1e-5


def test_sizes_are_those_of_pixels_until_they_are_let_go():
    some = field(degree=2)
    with torch.no_grad():
        some.log_scales.normal_()
    gaussians = some.gaussians()
    depths = some.depths_of(gaussians.means)
    torch.testing.assert_close(gaussians.log_scales.exp(), (0.6 / 11 * depths)[:, None].expand(-1, 3))
    assert gaussians.degree == 0
    some.release()
    freed = some.gaussians()
    torch.testing.assert_close(freed.log_scales, gaussians.log_scales + some.log_scales)
    assert freed.degree == 2


def test_gradients_reach_both_decoders_and_follow_finite_differences():
    some = disturbed(field()).double()
    weights = torch.randn(len(some), 3, dtype=torch.float64)
    logits = torch.randn(len(some), dtype=torch.float64)

    def value() -> torch.Tensor:
        gaussians = some.gaussians()
        return (gaussians.means * weights).sum() + (gaussians.opacities * logits).sum()

    value().backward()
    for decoder in (some.depth_decoder, some.opacity_decoder):
        for parameter in decoder.parameters():
            assert parameter.grad is not None
            assert parameter.grad.any()
            step = 1e-6
            with torch.no_grad():
                first = parameter.view(-1)[:1]
                first += step
                above = value()
                first -= 2 * step
                below = value()
                first += step
            slope = float((above - below) / (2 * step))
            assert parameter.grad.reshape(-1)[0].item() == pytest.approx(slope, rel=1e-3, abs=1e-5)


def test_segments_move_by_channels_of_their_own():
    some = disturbed(field())
    before = some.depths_of(some.gaussians().means)
    with torch.no_grad():
        some.depth_decoder.last.weight[1] = 0.0
    after = some.depths_of(some.gaussians().means)
    assert torch.equal(before != after, some.segments == 1)


def test_as_a_volume_it_is_the_set_that_it_gives():
    some = disturbed(field())
    other = GaussianField(Bounds.cube(2.0), some.gaussians())
    points = some.gaussians().means[::7].detach() + 0.01
    directions = torch.nn.functional.normalize(torch.randn(len(points), 3), dim=-1)
    mine, theirs = (one.query(points, directions=directions) for one in (some, other))
    assert mine.density.max() > 0
    torch.testing.assert_close(mine.density, theirs.density)
    torch.testing.assert_close(mine.color, theirs.color)


def test_maps_put_values_back_in_their_places():
    some = field()
    first, second = some.maps(torch.arange(len(some), dtype=torch.float32))
    assert (tuple(first.shape), tuple(second.shape)) == SIZES
    assert first.flatten()[:5].isnan().all()
    assert torch.cat([first.flatten()[5:], second.flatten()]).tolist() == list(range(len(some)))


def test_a_blank_set_takes_the_size_of_a_saved_one():
    saved = disturbed(field())
    blank = PixelGaussians(Bounds.cube(2.0), blank_pixels(SIZES), segments=3, width=4)
    state = saved.state_dict()
    replaced = blank.resize(state)
    assert set(replaced) == {"log_scales", "quaternions", "harmonics.0", "harmonics.1"}
    blank.load_state_dict(state)
    assert torch.equal(blank.gaussians().means, saved.gaussians().means)


def test_a_reach_behind_the_camera_is_refused():
    with pytest.raises(UsageError, match=r"between 0 and 1, got 1\.0"):
        field(reach=1.0)


def test_a_decoder_is_flat_at_first_and_fits_what_it_is_shown():
    torch.manual_seed(1)
    decoder = ViewDecoder([(20, 30), (16, 12)], channels=2, width=8)
    maps = decoder()
    assert [tuple(one.shape) for one in maps] == [(2, 20, 30), (2, 16, 12)]
    assert not any(one.any() for one in maps)
    wanted = [torch.full((2, 20, 30), 0.4), torch.linspace(-0.5, 0.5, 12).expand(2, 16, 12)]
    optimizer = torch.optim.Adam(decoder.parameters(), lr=1e-2)
    for _ in range(80):
        optimizer.zero_grad()
        loss = sum((one - other).square().mean() for one, other in zip(decoder(), wanted, strict=True))
        loss.backward()
        optimizer.step()
    assert float(loss) < 5e-3
