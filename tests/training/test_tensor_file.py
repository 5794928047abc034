"""Files of tensors with facts: back as they were, and refused in words whatever is wrong with them."""

import pytest
import torch
from safetensors.torch import save_file

from onefield.errors import DataError
from onefield.training.tensor_file import TensorFile

KIND = TensorFile("test_kind", 2, "kind of thing", "make one first")


def test_facts_and_tensors_come_back(tmp_path):
    path, transposed = tmp_path / "thing.safetensors", torch.arange(6.0).reshape(2, 3).T
    KIND.write(path, {"sizes": [3, 2]}, {"table": transposed})
    with KIND.opened(path) as (facts, tensors):
        assert facts == {"version": 2, "sizes": [3, 2]}
        assert list(tensors) == ["table"]
        assert torch.equal(tensors["table"], transposed)
    assert KIND.marks(path)


def test_other_files_are_refused_in_words(tmp_path):
    path = tmp_path / "thing.safetensors"
    with pytest.raises(DataError, match="does not exist; make one first"), KIND.opened(path):
        pass
    with pytest.raises(DataError, match="is a folder, no file"), KIND.opened(tmp_path):
        pass
    KIND.write(path, {}, {"table": torch.zeros(3)})
    whole = path.read_bytes()
    path.write_bytes(whole[:-4])
    assert not KIND.marks(path)
    with pytest.raises(DataError, match="holds no kind of thing that can be read"), KIND.opened(path):
        pass
    save_file({"table": torch.zeros(3)}, path)
    assert not KIND.marks(path)
    with pytest.raises(DataError, match="no kind of thing of version 2; make one first"), KIND.opened(path):
        pass
    TensorFile("test_kind", 1, "", "").write(path, {}, {})
    assert KIND.marks(path)
    with pytest.raises(DataError, match="of version 2"), KIND.opened(path):
        pass


def test_what_a_reader_stumbles_over_is_the_files_fault(tmp_path):
    path = tmp_path / "thing.safetensors"
    KIND.write(path, {"size": 1}, {})
    with pytest.raises(DataError, match=r"can be read \('shape'\)"), KIND.opened(path) as (facts, _):
        _ = facts["shape"]
