import numpy as np
import pytest
import torch

from onefield.data.signals import Signal, signal_of
from onefield.errors import DataError
from onefield.training.fit import fit
from onefield.training.tasks.inpainting import Inpainting, mask_for, open_cells
from tests.training.tasks.pictures import sines, waves


def test_what_a_mask_hides_is_filled_in_and_scored_there_alone():
    truth = waves(20, 24)
    hidden = np.random.default_rng(0).random((20, 24)) < 0.5
    broken = truth.copy()
    broken[hidden] = 9.0  # whatever stands there is not looked at
    fitted = fit(signal_of(broken, "image"), sines(20, 24), steps=150, task=Inpainting(hidden, truth))
    answer = fitted.reconstruction().numpy()
    assert fitted.metrics["psnr"] > 30
    error = np.square(answer - truth)[hidden].mean()
    peak = 9.0 - truth.min()
    assert fitted.metrics["psnr"] == pytest.approx(10 * np.log10(peak**2 / error), abs=0.1)


def test_every_difference_that_a_hole_leaves_open_is_held_small():
    values = torch.zeros(4, 5, 1)
    values[1:3, 2, 0] = torch.nan
    cells = open_cells(Signal("image", values, 1.0))
    # the hole itself, what stands before it in its rows, and above it
    assert sorted(map(tuple, np.argwhere(np.isin(np.arange(20).reshape(4, 5), cells)).tolist())) == [
        (0, 2),
        (1, 1),
        (1, 2),
        (2, 1),
        (2, 2),
    ]


def test_nan_is_unknown_without_a_mask():
    y, x = np.mgrid[0:7, 0:9].astype(np.float32)
    holed = x + 3 * y
    holed[4:6, 4:6] = np.nan
    problem = Inpainting().problem(signal_of(holed, "image"), torch.Generator())
    assert len(problem.counted) == 4
    torch.testing.assert_close(problem.baseline[..., 0], torch.tensor(x + 3 * y))  # linear between neighbours


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.zeros((6, 6)), "No sample is unknown"),
        (np.ones((6, 6)), "leaves no sample"),
        (np.ones((5, 6)), r"mask has shape \(5, 6\)"),
    ],
)
def test_masks_that_say_nothing(mask, words):
    with pytest.raises(DataError, match=words):
        fit(waves(6, 6), task=Inpainting(mask))


def test_masks_of_all_kinds():
    truth = torch.tensor([[True, False]])
    for mask in (np.array([[255, 0]], np.uint8), np.array([[1.0, 0.0]]), np.array([[True, False]]), truth):
        assert torch.equal(mask_for(mask, (1, 2)), truth)
