"""Adjusted gradients against the closed form of a linear field."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from onefield.data.signals import signal_of
from onefield.errors import UsageError
from onefield.fields.composed import ComposedField
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.fields.heads.value import ValueHead
from onefield.fields.networks.siren import Siren
from onefield.training.fit_methods.fit_method import SampleBatch
from onefield.training.fit_methods.gradient_adjustment import GradientAdjustment, levelling, neighbour_order
from onefield.training.fit_samples import SignalSamples
from onefield.training.recipes import target_of


def a_kernel(size=9):
    rows = torch.randn(size, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return rows @ rows.T


@pytest.mark.parametrize("levelled", [0, 1, 4, 8, 50])
def test_levelled_eigenvalues_are_those_of_the_next(levelled):
    kernel = a_kernel()
    matrix = levelling(kernel, levelled)
    torch.testing.assert_close(matrix, matrix.T)
    before = np.sort(np.linalg.eigvalsh(kernel.numpy()))[::-1]
    expected = before.copy()
    count = min(levelled, 8)
    expected[:count] = before[count]
    # the kernel and its adjustment share their eigenvectors, so that the product is symmetric
    product = (matrix @ kernel).numpy()
    np.testing.assert_allclose(product, product.T, atol=1e-9)
    np.testing.assert_allclose(np.sort(np.linalg.eigvalsh(product))[::-1], np.sort(expected)[::-1], rtol=1e-9)
    shares = np.linalg.eigvalsh(matrix.numpy())
    assert shares.min() > 0
    assert shares.max() == pytest.approx(1)


def siren_on(signal):
    torch.manual_seed(2)
    network = Siren(2, signal.channels, 12, 1)
    return ComposedField(signal.domain, IdentityEncoding(2), network, [ValueHead()])


def gradients_by(method, field, signal, batch):
    parts = method.begin(field, signal, target_of(signal), torch.Generator().manual_seed(0))
    picked = parts.pick(field, batch)
    points, truth = signal.points(picked), signal.at(picked)
    answer = field.query(points).value
    field.zero_grad()
    error = parts.error(field, SampleBatch(points, answer, truth, 0.5, 1.0))
    error.backward()
    return picked, error, torch.cat([p.grad.flatten() for p in field.parameters()]), (points, truth, answer.detach())


def test_a_step_moves_by_the_adjusted_errors_of_all_groups():
    """2 / N times the Jacobian's transpose times S r, for each place within the groups."""
    signal = signal_of(torch.rand(8, 8, 2, generator=torch.Generator().manual_seed(1)), "image")
    field = siren_on(signal)
    picked, error, found, (points, truth, answer) = gradients_by(GradientAdjustment(4, 2), field, signal, 64)
    blocks = [{int(i) for i in part} for part in picked.split(16)]
    quadrants = [{8 * (4 * y + j) + 4 * x + i for j in range(4) for i in range(4)} for y in (0, 1) for x in (0, 1)]
    assert blocks == quadrants

    def gradient(output):
        return torch.cat([g.flatten() for g in torch.autograd.grad(output, list(field.parameters()))])

    residual = (answer - truth) / 0.5
    assert error.item() == pytest.approx(residual.square().mean().item(), rel=1e-6)
    # where any group has its largest error, as often as groups have it there
    places = [int(residual[16 * g : 16 * g + 16].abs().sum(-1).argmax()) for g in range(4)]
    sums = [sum(field.query(points[16 * g + p : 16 * g + p + 1]).value.sum() for p in places) for g in range(4)]
    rows = torch.stack([gradient(each) for each in sums]).double().numpy()
    amounts, patterns = np.linalg.eigh(rows @ rows.T)
    shares = np.where(np.arange(4) >= 2, amounts[1] / amounts, 1.0)
    matrix = (patterns * shares) @ patterns.T
    turned = np.einsum("gh,hmc->gmc", matrix, residual.reshape(4, 16, 2).double().numpy()).reshape(64, 2)
    expected = gradient((field.query(points).value / 0.5 * torch.tensor(turned).float()).sum() * 2 / residual.numel())
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_without_levelling_nothing_changes():
    signal = signal_of(torch.rand(6, 7, 3), "image")
    field = siren_on(signal)
    _, _, found, (points, truth, _) = gradients_by(GradientAdjustment(6, 0), field, signal, 1000)
    field.zero_grad()
    ((field.query(points).value - truth) / 0.5).square().mean().backward()
    torch.testing.assert_close(found, torch.cat([p.grad.flatten() for p in field.parameters()]), rtol=1e-5, atol=1e-7)


def test_the_highest_of_three_tones_is_learned_sooner():
    count, tones = 128, (1, 4, 9)
    places = 2 * np.pi * (np.arange(count) + 0.5) / count
    wave = sum(np.sin(tone * places) for tone in tones).astype(np.float32)
    signal = signal_of(wave[:, None], "audio")

    def missing(levelled):
        torch.manual_seed(1)
        field = ComposedField(signal.domain, IdentityEncoding(1), Siren(1, 1, 32, 1, w0=8.0), [ValueHead()])
        parts = GradientAdjustment(32, levelled).begin(field, signal, target_of(signal), torch.Generator())
        samples = SignalSamples(signal, target_of(signal), torch.Generator(), parts)
        optimizer = torch.optim.Adam(field.parameters(), lr=3e-3)
        for _ in range(30):
            optimizer.zero_grad()
            samples.loss(field, count).backward()
            optimizer.step()
        answer = field.query(signal.points(torch.arange(count))).value[:, 0].detach().numpy()
        return np.abs(np.fft.rfft(answer - wave))[tones[-1]] / np.abs(np.fft.rfft(wave))[tones[-1]]

    assert missing(12) < 0.6 * missing(0)


def test_every_known_sample_has_its_turn_and_batches_are_kept():
    array = np.random.default_rng(0).random((5, 9), dtype=np.float32)
    array[2, 3] = np.nan
    signal = signal_of(array, "image")
    assert sorted(neighbour_order(signal, 8).tolist()) == sorted(signal.known().tolist())
    field = siren_on(signal)
    parts = GradientAdjustment(8, 3).begin(field, signal, target_of(signal), torch.Generator().manual_seed(0))
    picks = [parts.pick(field, 16) for _ in range(60)]
    assert {len(picked) for picked in picks} == {16}
    assert set(torch.cat(picks).tolist()) == set(signal.known().tolist())
    with pytest.raises(UsageError, match="needs a group"):
        GradientAdjustment(groups=0)
