import numpy as np
import pytest
import torch
from PIL import Image

from onefield.data.image_store import ImageStore, Picture
from onefield.data.images import decode, decode_mask, decode_outline, read_header, write_image
from onefield.errors import DataError, UsageError


@pytest.fixture
def pattern() -> np.ndarray:
    """7 wide, 5 high, every pixel another colour."""
    picture = np.zeros((5, 7, 3), dtype=np.uint8)
    picture[..., 0] = np.arange(7) * 30
    picture[..., 1] = (np.arange(5) * 50)[:, None]
    picture[..., 2] = 255 - picture[..., 0] // 2
    return picture


def test_exif_orientation_is_applied(tmp_path, pattern):
    # What each orientation does to the stored pixels, from the EXIF 2.3 standard's table of row 0 and column 0.
    expected = {
        1: pattern,
        2: pattern[:, ::-1],
        3: pattern[::-1, ::-1],
        4: pattern[::-1],
        5: pattern.transpose(1, 0, 2),
        6: np.rot90(pattern, -1),
        7: pattern[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(pattern, 1),
    }
    for orientation, picture in expected.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        file = tmp_path / f"{orientation}.png"
        Image.fromarray(pattern).save(file, exif=exif.tobytes())
        assert np.array_equal(decode(file), picture), orientation
        header = read_header(file)
        assert (header.height, header.width) == picture.shape[:2]
        assert (header.stored_width, header.stored_height) == (7, 5)
        assert np.array_equal(decode(file, oriented=False), pattern)


def test_sixteen_bit_greys_are_scaled(tmp_path):
    values = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert decode(tmp_path / "a.png").tolist() == [[[0] * 3, [1] * 3, [128] * 3, [255] * 3]]


def test_greys_palettes_and_cmyk_become_rgb(tmp_path, pattern):
    Image.fromarray(pattern[..., 0]).save(tmp_path / "grey.png")
    assert np.array_equal(decode(tmp_path / "grey.png"), np.repeat(pattern[..., :1], 3, axis=-1))
    Image.fromarray(pattern).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "palette.png")
    assert np.abs(decode(tmp_path / "palette.png").astype(int) - pattern).max() <= 8
    Image.new("CMYK", (3, 2), (0, 255, 255, 0)).save(tmp_path / "cmyk.jpg", quality=100)
    red = decode(tmp_path / "cmyk.jpg")
    assert red.shape == (2, 3, 3)
    assert np.abs(red.astype(int) - [255, 0, 0]).max() < 12
    bilevel = np.array([[True, False]])
    Image.fromarray(bilevel).save(tmp_path / "bits.png")
    assert decode(tmp_path / "bits.png")[0, :, 0].tolist() == [255, 0]


def test_alpha_is_straight_and_shrinks_by_its_weight(tmp_path):
    picture = np.array([[[200, 0, 0, 255], [0, 0, 100, 0]]], dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    assert np.array_equal(decode(tmp_path / "a.png"), picture)
    # The transparent pixel's colour doesn't bleed into the average.
    shrunk = decode(tmp_path / "a.png", (1, 1))[0, 0]
    assert np.abs(shrunk.astype(int) - [200, 0, 0, 128]).max() <= 1
    palette = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), mode="P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.save(tmp_path / "p.png", transparency=1)
    assert decode(tmp_path / "p.png").tolist() == [[[10, 20, 30, 255], [40, 50, 60, 0]]]


@pytest.mark.parametrize("white", [1, 65535])
def test_masks_of_sixteen_bits(tmp_path, white):
    Image.fromarray(np.array([[0, white]], dtype=np.uint16)).save(tmp_path / "a.png")
    assert decode_mask(tmp_path / "a.png", (2, 1)).tolist() == [[False, True]]
    assert decode_outline(tmp_path / "a.png", (2, 1)).tolist() == [[0, 255]]


def test_the_mask_of_a_cut_out_is_its_alpha(tmp_path):
    dark_and_nothing = np.array([[[9, 9, 9, 255], [250, 250, 250, 0]]], dtype=np.uint8)
    Image.fromarray(dark_and_nothing).save(tmp_path / "cut.png")
    assert decode_mask(tmp_path / "cut.png", (2, 1)).tolist() == [[True, False]]
    dark_and_nothing[..., 3] = 255  # which says nothing
    Image.fromarray(dark_and_nothing).save(tmp_path / "opaque.png")
    assert decode_outline(tmp_path / "opaque.png", (2, 1)).tolist() == [[9, 250]]


def test_the_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (4, 3), color) for color in ((255, 0, 0), (0, 255, 0))]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert decode(tmp_path / "a.gif")[0, 0].tolist() == [255, 0, 0]


def test_masks_in_all_encodings(tmp_path):
    wanted = np.array([[True, False, True]])
    for name, values in {"255": wanted * 255, "ones": wanted * 1}.items():
        Image.fromarray(values.astype(np.uint8)).save(tmp_path / f"{name}.png")
        assert np.array_equal(decode_mask(tmp_path / f"{name}.png", (3, 1)), wanted)
    Image.fromarray(wanted).save(tmp_path / "bits.png")
    assert np.array_equal(decode_mask(tmp_path / "bits.png", (3, 1)), wanted)
    assert np.array_equal(decode_mask(tmp_path / "bits.png", (6, 2)), np.repeat(np.repeat(wanted, 2, 0), 2, 1))


def test_outlines_are_averaged_over_areas_and_keep_their_greys(tmp_path):
    marked = np.array([[1, 0, 1, 1], [1, 0, 0, 1]])
    for name, white in {"255": 255, "ones": 1}.items():
        Image.fromarray((marked * white).astype(np.uint8)).save(tmp_path / f"{name}.png")
        assert np.array_equal(decode_outline(tmp_path / f"{name}.png", (4, 2)), marked * 255)
        # half of each block of four on the left, three quarters on the right
        assert np.abs(decode_outline(tmp_path / f"{name}.png", (2, 1)).astype(int) - [[127, 191]]).max() <= 1
    Image.fromarray(np.array([[0, 64, 200]], dtype=np.uint8)).save(tmp_path / "grey.png")
    assert decode_outline(tmp_path / "grey.png", (3, 1)).tolist() == [[0, 64, 200]]
    assert decode_mask(tmp_path / "grey.png", (3, 1)).tolist() == [[False, False, True]]


def test_written_pictures_read_back(tmp_path):
    for channels in (1, 3, 4):
        image = torch.rand(6, 5, channels)
        file = tmp_path / f"{channels}.png"
        write_image(file, image)
        again = torch.from_numpy(decode(file).astype(np.float32) / 255)
        assert (again[..., :channels] - image).abs().max() <= 0.5 / 255 + 1e-6
    with pytest.raises(UsageError, match="channels"):
        write_image(tmp_path / "a.png", torch.rand(4, 4, 2))


def store_of(folder, count: int, budget: int) -> ImageStore:
    for index in range(count):
        Image.fromarray(np.full((4, 5, 3), index, dtype=np.uint8)).save(folder / f"{index}.png")
    return ImageStore([Picture(folder / f"{index}.png", (5, 4)) for index in range(count)], 3, budget)


def test_decoded_pictures_stay_within_the_budget(tmp_path):
    store = store_of(tmp_path, 6, budget=130)
    assert store.total_bytes == 360
    for index in (0, 1, 2, 1, 5):
        assert store.image(index)[0, 0, 0] == pytest.approx(index / 255)
    # Two pictures of 60 bytes fit; a picture that is kept isn't read again.
    for index in range(6):
        (tmp_path / f"{index}.png").unlink()
    assert store.image(1)[0, 0, 0] == pytest.approx(1 / 255)
    assert store.image(5)[0, 0, 0] == pytest.approx(5 / 255)
    with pytest.raises(DataError, match=r"2.png is missing"):
        store.image(2)


def test_flat_pixels_serve_single_pictures_and_stay_within_the_budget(tmp_path):
    store = store_of(tmp_path, 6, budget=300)
    flat = store.gather_flat([4, 2, 0])
    assert flat[::20, 0].tolist() == [4, 2, 0]
    store.image(5)
    for index in range(6):
        (tmp_path / f"{index}.png").unlink()
    # From memory, without a file.
    assert store.image(2)[0, 0, 0] == pytest.approx(2 / 255)
    assert store.gather_flat([4, 2, 0]) is flat
    assert store.gather_flat([2, 5])[::20, 0].tolist() == [2, 5]
    # 180 + 120 bytes are the budget: the picture that was alone had to go.
    assert store.image(5)[0, 0, 0] == pytest.approx(5 / 255)
    with pytest.raises(DataError, match=r"3.png is missing"):
        store.gather_flat([3])


def test_opaque_pictures_get_alpha_in_a_scene_with_alpha(tmp_path):
    Image.fromarray(np.full((2, 2, 3), 7, dtype=np.uint8)).save(tmp_path / "a.png")
    store = ImageStore([Picture(tmp_path / "a.png", (2, 2))], 4)
    assert store.pixels(0)[0, 0].tolist() == [7, 7, 7, 255]
    assert store.gather_flat([0]).shape == (4, 4)
