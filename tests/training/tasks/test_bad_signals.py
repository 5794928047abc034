"""Every task on signals that are hardly any: one clear sentence, or an answer of finite numbers."""

import numpy as np
import pytest
import torch

from onefield.data.signals import Signal, signal_of
from onefield.errors import DataError, OnefieldError, UsageError
from onefield.fields.composed import ComposedField
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.fields.heads import ValueHead
from onefield.fields.networks import Siren
from onefield.training.fit import fit
from onefield.training.tasks import TASK_NAMES
from onefield.training.tasks.denoising import Denoising
from onefield.training.tasks.inpainting import Inpainting
from onefield.training.tasks.poisson import Composition, FromDerivatives
from onefield.training.tasks.super_resolution import SuperResolution
from onefield.training.tasks.tomography import Tomography
from tests.training.tasks.pictures import waves


def holed() -> np.ndarray:
    values = waves(8, 8)
    values[2, 3] = np.nan
    return values


SIGNALS = {
    "constant": np.full((8, 8), 0.3),
    "one pixel": np.array([[0.8]]),
    "one row": waves(1, 24),
    "one bit": waves(8, 8) > 0.5,
    "sixteen bits": (waves(8, 8) * 65535).astype(np.uint16),
    "five channels": np.repeat(waves(8, 8), 5, -1) * np.arange(1, 6, dtype=np.float32),
    "a hole": holed(),
}


def chosen(task: str, signal: Signal):
    """With all that it needs, of the signal's size."""
    mask = np.zeros(signal.shape)
    mask.flat[: mask.size // 2] = 1
    return {
        "compose": lambda: Composition(Signal("image", signal.values.flip(0), 1.0), mask),
        "denoise": Denoising,
        "from-derivatives": FromDerivatives,
        "inpaint": lambda: Inpainting(mask),
        "super-resolve": SuperResolution,
        "tomography": Tomography,
    }[task]()


REFUSED = {
    ("compose", "one pixel"): "covers nothing or all",
    ("compose", "a hole"): "without unknown pixels",
    ("denoise", "one pixel"): "20 known samples",
    ("from-derivatives", "one pixel"): "2 pixels a side",
    ("from-derivatives", "one row"): "2 pixels a side",
    ("inpaint", "one pixel"): "No sample is unknown",
    ("tomography", "one pixel"): "two detectors or more",
    ("tomography", "five channels"): "one channel",
}


@pytest.mark.parametrize("task", TASK_NAMES)
@pytest.mark.parametrize("kind", SIGNALS)
def test_a_sentence_or_an_answer(task, kind):
    signal = signal_of(SIGNALS[kind], "image")
    asked = chosen(task, signal)
    domain = Signal("image", torch.zeros(signal.shape[1], signal.shape[1], 1), 1.0).domain
    domain = domain if task == "tomography" else signal.domain
    field = ComposedField(domain, IdentityEncoding(2), Siren(2, signal.channels, 8, 0), [ValueHead()])
    if (task, kind) in REFUSED:
        with pytest.raises(OnefieldError, match=REFUSED[task, kind]) as refused:
            fit(signal, field, steps=2, task=asked)
        assert str(refused.value).endswith(".")
        return
    fitted = fit(signal, field, steps=2, task=asked)
    assert torch.isfinite(fitted.reconstruction()).all()
    assert all(value == value for value in fitted.metrics.values())


def test_coordinates_outside_the_domain_and_of_another_dimension():
    for name in ("siren", "dense"):
        fitted = fit(waves(6, 6), name, steps=1)
        assert torch.isfinite(fitted(torch.tensor([[-3.0, 9.0], [1.5, 0.5]]))).all()
        for third in (torch.ones(2, 2).double() / 3, np.full((2, 2), 1 / 3), [[1 / 3, 1 / 3]] * 2):
            torch.testing.assert_close(fitted(third), fitted(torch.ones(2, 2) / 3))
        for one in (torch.ones(2, 2, dtype=torch.int64), torch.ones(2, 2).half()):
            torch.testing.assert_close(fitted(one), fitted(torch.ones(2, 2)))
        assert torch.isnan(fitted([[np.nan, 0.5]])).all()
        for points in (torch.zeros(4, 3), torch.tensor(0.5)):
            with pytest.raises(UsageError, match="2-D points, but was asked at points of shape"):
                fitted(points)
        with pytest.raises(UsageError, match="real points, but was asked at"):
            fitted(torch.zeros(4, 2, dtype=torch.complex64))


def test_numbers_that_are_no_signal():
    for wrong, words in (
        (np.zeros((0, 4)), "no samples"),
        (np.zeros((4, 4), complex), "real numbers"),
        (np.array([[np.inf, 0.0]]), "infinite"),
    ):
        with pytest.raises(DataError, match=words):
            fit(wrong, task="denoise")


class Turned(Siren):
    """Complex answers."""

    def forward(self, features):
        return super().forward(features) * 1j


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (Turned(2, 1, 8, 0), r"1 real channel, but ComposedField answers 1 of torch\.complex64"),
        (Siren(2, 3, 8, 0), r"1 real channel, but ComposedField answers 3 of torch\.float32"),
        (Siren(2, 1, 8, 0).double(), r"single precision, .* float\(\)"),
        (Siren(2, 1, 8, 0).requires_grad_(False), "no parameters to train"),
    ],
)
def test_fields_that_can_not_answer_the_signal_are_refused_before_training(network, words):
    field = ComposedField(signal_of(waves(6, 6)).domain, IdentityEncoding(2), network, [ValueHead()])
    with pytest.raises(UsageError, match=words):
        fit(waves(6, 6), field, steps=1)


def test_fields_without_a_place_for_parameters_say_so():
    with pytest.raises(UsageError, match="positive sizes"):
        Siren(2, 1, 0, 1)
