import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from onefield.errors import DataError
from onefield.export.onef import decode, encode

FACTS = {"kind": "image", "shape": [3, 4]}
PARTS = (b"first part", b"", b"the third")
PATH = Path("a.onef")


def test_facts_and_parts_come_back_and_facts_as_usual_take_little():
    content = encode(FACTS, PARTS)
    held = decode(content, PATH)
    assert (held.facts, held.parts, held.part_count, held.is_whole) == (FACTS, PARTS, 3, True)
    assert held.ends[-1] == len(content)
    # a length and a checksum for each part
    assert len(content) - held.ends[0] == sum(map(len, PARTS[1:])) + 2 * 5
    header = 8 + int.from_bytes(content[:8], "little")
    usual = {"kind": "image", "shape": [512, 768], "metrics": {}}
    assert len(encode(usual, ())) < header + 5 + len(json.dumps(usual)) / 2
    # any reader of safetensors finds the parts
    ((name, tensor),) = safetensors.numpy.load(content).items()
    assert (name, tensor.tobytes()) == ("onef-1", content[header:])


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
        (encode(FACTS, PARTS).replace(b"onef-1", b"onef-2"), "is of version 2, .* reads 1; update Onefield"),
        (safetensors.numpy.save({"weight": np.zeros(3)}), "a safetensors file, but no .onef: its tensor is 'weight'"),
        (encode(FACTS, PARTS) + b"more", "4 bytes too many"),
        (encode(FACTS, PARTS)[:20], "ends within its header, after 20 bytes"),
    ],
)
def test_what_is_wrong_is_said(content, sentence):
    with pytest.raises(DataError, match=sentence):
        decode(content, PATH)
