import importlib.util
import sys

import numpy as np
import pytest

from onefield.data.medical import is_dicom, is_nifti, read_dicom, read_nifti
from onefield.data.slice_files import holds_slices, load_slices
from onefield.errors import DataError, ResourceError

needs_pydicom = pytest.mark.skipif(not importlib.util.find_spec("pydicom"), reason="needs pydicom ([medical])")
needs_nibabel = pytest.mark.skipif(not importlib.util.find_spec("nibabel"), reason="needs nibabel ([medical])")


def ball(shape, spacing, radius):
    """Voxels along x, y, z that are inside a ball in their middle."""
    axes = [(np.arange(count) - (count - 1) / 2) * step for count, step in zip(shape, spacing, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return np.hypot(np.hypot(x, y), z) < radius


def write_dicom(path, pixels, corner, spacing=(1.0, 0.5), orientation=(1, 0, 0, 0, 1, 0), series="1.2.3"):
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    record = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    record.SeriesInstanceUID = series
    record.ImagePositionPatient, record.ImageOrientationPatient = list(corner), list(orientation)
    record.PixelSpacing = list(spacing)
    record.Rows, record.Columns = pixels.shape
    record.SamplesPerPixel, record.PhotometricInterpretation = 1, "MONOCHROME2"
    record.BitsAllocated = record.BitsStored = 16
    record.HighBit, record.PixelRepresentation = 15, 0
    record.PixelData = pixels.astype("<u2").tobytes()
    record.save_as(path, enforce_file_format=True)


def write_series(folder, **changes):
    inside = ball((41, 21, 9), (0.5, 1.0, 2.0), 8.0)
    for index in range(9):
        options = {"spacing": (1.0, 0.5)} | (changes if index == 5 else {})
        # names run against the heights
        corner = (100 - 10, -10, 2.0 * index)
        write_dicom(folder / f"{9 - index}.dcm", inside[:, :, index].T * 900 + 50, corner, **options)


@needs_pydicom
def test_a_series_is_put_where_it_was_scanned(tmp_path):
    write_series(tmp_path)
    assert holds_slices(tmp_path)
    slices = load_slices(tmp_path)
    assert [each.origin[2] for each in slices.slices] == list(range(0, 18, 2))
    center = np.array([slices.bounds.center])
    np.testing.assert_allclose(center, [[100, 0, 8]], atol=0.6)
    middle = slices.slices[4]
    assert len(middle.contours) == 1
    radius = np.linalg.norm(middle.to_world(middle.contours[0]) - (100, 0, 8), axis=1)
    assert abs(radius.mean() - 8) < 0.3


@needs_pydicom
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"spacing": (1.0, 0.6)}, "spacing is mixed"),
        ({"series": "9.9"}, "several series"),
        ({"spacing": (0.0, 0.5)}, "must be positive"),
        ({"corner": ()}, "lacks ImagePositionPatient"),
        ({"corner": (1.0,)}, "lacks ImagePositionPatient"),
    ],
)
def test_what_is_wrong_with_a_series_is_named(tmp_path, changes, said):
    if "corner" in changes:
        write_series(tmp_path)
        write_dicom(tmp_path / "4.dcm", np.ones((21, 41)), changes["corner"])
    else:
        write_series(tmp_path, **changes)
    with pytest.raises(DataError, match=said):
        load_slices(tmp_path)


@needs_pydicom
def test_files_that_are_no_dicom_are_named(tmp_path):
    (tmp_path / "a.dcm").write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match=r"a\.dcm is no DICOM file"):
        read_dicom(tmp_path, [tmp_path / "a.dcm"])


@needs_nibabel
def test_a_volume_is_cut_across_its_widest_spacing(tmp_path):
    import nibabel

    spacing = (0.5, 2.0, 1.0)
    inside = ball((41, 9, 21), spacing, 8.0)
    turn = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    affine = np.eye(4)
    affine[:3, :3] = turn * spacing
    affine[:3, 3] = (5.0, 6.0, 7.0)
    path = tmp_path / "labels.nii.gz"
    nibabel.save(nibabel.Nifti1Image(inside.astype(np.uint8), affine), path)
    assert holds_slices(path)
    slices = load_slices(path)
    assert len(slices.slices) == 9
    np.testing.assert_allclose(np.abs(slices.slices[0].normal), turn[:, 1])
    center = turn @ (np.array([20, 4, 10]) * spacing) + (5, 6, 7)
    np.testing.assert_allclose(slices.bounds.center, center, atol=0.3)
    middle = slices.slices[4]
    radius = np.linalg.norm(middle.to_world(middle.contours[0]) - center, axis=1)
    assert abs(radius.mean() - 8) < 0.3


@needs_nibabel
def test_what_is_wrong_with_a_volume_is_named(tmp_path):
    import nibabel

    (tmp_path / "a.nii").write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match="no NIfTI file"):
        read_nifti(tmp_path / "a.nii")
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 3), dtype=np.uint8), np.eye(4)), tmp_path / "b.nii")
    with pytest.raises(DataError, match=r"shape \(3, 3\)"):
        read_nifti(tmp_path / "b.nii")
    colors = np.zeros((3, 3, 3), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(colors, np.eye(4)), tmp_path / "c.nii")
    with pytest.raises(DataError, match=r"c\.nii holds colours"):
        read_nifti(tmp_path / "c.nii")


def test_missing_libraries_are_one_command_away(tmp_path, monkeypatch):
    for name in ("pydicom", "nibabel"):
        monkeypatch.setitem(sys.modules, name, None)
    for read in (lambda: read_nifti(tmp_path / "a.nii"), lambda: read_dicom(tmp_path, [tmp_path / "a.dcm"])):
        with pytest.raises(ResourceError, match=r'pip install "onefield\[medical\]"'):
            read()


def test_files_are_recognised_by_their_first_bytes(tmp_path):
    (tmp_path / "IM0001").write_bytes(b"\0" * 128 + b"DICM")
    assert is_dicom(tmp_path / "IM0001")
    (tmp_path / "README").write_bytes(b"text")
    assert not is_dicom(tmp_path / "README")
    assert is_nifti(tmp_path / "A.NII.GZ")
