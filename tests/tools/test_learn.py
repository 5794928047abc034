"""What ``onefield learn`` writes, and ``onefield fit`` takes."""

from __future__ import annotations

import json

import imageio.v3 as imageio
import numpy as np
import pytest

from onefield.errors import DataError, UsageError
from onefield.tools.fit import Effort
from onefield.tools.fit import run_command as fit_command
from onefield.tools.learn import run_command


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(3):
        levels = np.random.default_rng(index).integers(0, 255, (9, 12, 3), dtype=np.uint8)
        imageio.imwrite(folder / f"{index}.png", levels)
    return folder


def test_a_start_is_learned_and_fitted_from(pictures, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_command(pictures, steps=2, json=True)
    result = json.loads(capsys.readouterr().out)
    assert (result["signals"], result["file"]) == (3, "learned/pictures.safetensors")
    briefly, output = Effort(steps=2), tmp_path / "fit"
    fit_command(pictures / "0.png", field="siren", methods=(result["file"],), effort=briefly, output=output, json=True)
    assert json.loads(capsys.readouterr().out)["steps"] == 2


def test_a_decoder_is_learned_and_shown(pictures, tmp_path, capsys):
    run_command(pictures, by="gradient-origin", steps=2, code=4, output=tmp_path / "set.safetensors", json=True)
    assert (tmp_path / "set.safetensors").exists()
    assert imageio.imread(tmp_path / "set.png").shape == (27, 36, 3)


def test_a_name_that_fit_would_not_take_is_refused(pictures, tmp_path):
    with pytest.raises(UsageError, match=r"start should end in \.safetensors"):
        run_command(pictures, output=tmp_path / "start")


def test_folders_of_other_things_are_refused(tmp_path):
    with pytest.raises(DataError, match="holds no signals"):
        run_command(tmp_path)
    np.save(tmp_path / "a.npy", np.zeros(9))
    np.save(tmp_path / "b.npy", np.zeros((9, 9)))
    with pytest.raises(DataError, match=r"holds audio \(a\.npy\) and image \(b\.npy\)"):
        run_command(tmp_path)
