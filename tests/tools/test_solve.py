import json

import imageio.v3 as imageio
import torch

from onefield.tools.main import main
from onefield.training.equations import STUDIES, Solved, Study


def test_a_problem_is_solved_and_drawn(tmp_path, capsys, monkeypatch):
    def run(seed, observe):
        observe("on its way")
        return Solved(torch.nn.Identity(), {"error": 0.25 + seed}, torch.tensor([[0.0, 0.5, 1.0]]))

    monkeypatch.setitem(STUDIES, "wave", Study("wave", "of a test", run))
    assert main(["solve", "wave", "--seed", "1", "--json", "--output", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["error"] == 1.25
    assert "on its way" in said.err
    picture = imageio.imread(tmp_path / "out/solution.png")
    assert picture.shape == (4, 12)
    assert picture[::4, ::4].tolist() == [[0, 128, 255]]


def test_unknown_problems_are_named(capsys):
    assert main(["solve", "waves"]) == 2
    assert "did you mean 'wave'" in capsys.readouterr().err
