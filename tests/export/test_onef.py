from pathlib import Path

import pytest
from safetensors import safe_open

from onefield.errors import DataError
from onefield.export.onef import decode, encode

FACTS = {"kind": "image", "shape": [3, 4]}
PARTS = (b"first part", b"", b"the third")
PATH = Path("a.onef")


def test_facts_and_parts_come_back_and_others_can_open_the_file(tmp_path):
    content = encode(FACTS, PARTS)
    held = decode(content, PATH)
    assert (held.facts, held.parts, held.part_count, held.is_whole) == (FACTS, PARTS, 3, True)
    assert held.ends[-1] == len(content)
    (tmp_path / "a.onef").write_bytes(content)
    with safe_open(tmp_path / "a.onef", framework="np") as file:
        assert file.metadata() == {"format": "onefield signal", "version": "1"}
        assert content.endswith(file.get_tensor("parts").tobytes())


def test_each_beginning_holds_the_parts_that_end_in_it():
    content = encode(FACTS, PARTS)
    whole = decode(content, PATH)
    for length in range(len(content)):
        there = sum(end <= length for end in whole.ends)
        if there:
            assert decode(content[:length], PATH, partial=True).parts == PARTS[:there]
        with pytest.raises(DataError, match=r"^a\.onef (ends|is no) "):
            decode(content[:length], PATH)


def test_no_flipped_bit_passes():
    content = encode(FACTS, PARTS)
    for place in range(len(content)):
        broken = bytearray(content)
        broken[place] ^= 1 << place % 8
        for partial in (False, True):
            with pytest.raises(DataError, match=r"^a\.onef "):
                decode(bytes(broken), PATH, partial)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is no .onef file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(300), "is no .onef file"),
        (encode(FACTS, PARTS).replace(b"onefield signal", b"onefield forest"), "its format is not 'onefield signal'"),
        (encode(FACTS, PARTS).replace(b'"version":"1"', b'"version":"2"'), "is of version 2, .* reads up to 1; update"),
        (encode(FACTS, PARTS) + b"more", "4 bytes too many"),
        (encode(FACTS, PARTS)[:100], "ends within its header, after 100 bytes"),
    ],
)
def test_what_is_wrong_is_said(content, sentence):
    with pytest.raises(DataError, match=sentence):
        decode(content, PATH)
