import pytest

from onefield.export.lengths import pack_length, unpack_length


@pytest.mark.parametrize(("length", "size"), [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), (1 << 40, 6)])
def test_lengths_come_back(length, size):
    packed = pack_length(length)
    assert len(packed) == size
    assert unpack_length(b"ab" + packed + b"c", 2) == (length, 2 + size)
    assert unpack_length(packed[:-1], 0) is None
    assert unpack_length(b"\xff" * 20, 0) is None
