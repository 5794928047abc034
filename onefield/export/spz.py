"""Gaussians as SPZ: about a tenth of a PLY's size, with harmonics. Writes version 3; reads versions 2 to 4.

A gzip stream of a header of 16 bytes, then all positions (24-bit fixed point), opacities, colours, log-scales,
rotations and harmonics. Axes inside are right, up, back; those of a PLY, and here, are right, down, forward. Version 4
has a plain header of 32 bytes, records of extensions, a table of lengths, and the same arrays as Zstandard streams (the
extra ``spz``); whatever reads it reads version 3, too, so that is what is written.
"""

from __future__ import annotations

import gzip
import importlib.util
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from onefield.errors import DataError, ResourceError
from onefield.kernels.harmonic_colors import MOST_DEGREE
from onefield.types import Gaussians

_MAGIC = 0x5053474E
_HEADER = struct.Struct("<IIIBBBB")
# The format of what zlib unpacks: gzip's.
_GZIP = zlib.MAX_WBITS | 16
# Version 4: streams and the place of the table of their lengths (packed, plain) follow, then zeros.
_PLAIN_HEADER = struct.Struct("<IIIBBBBI12x")
_LENGTHS = struct.Struct("<QQ")
_HAS_EXTENSIONS = 2
# Records of extensions: type, length, content. One of Adobe's names other axes, of which 4 are the usual ones.
_RECORD = struct.Struct("<II")
_AXES_RECORD, _UNSPECIFIED_AXES, _USUAL_AXES = 0xADBE0003, 0, 4
# Real sets pack to a third or so; nothing that packs this well is one.
_MOST_RATIO = 1024
# Of a position, in all and, usually, behind the point.
_POSITION_BITS, _FRACTION_BITS = 24, 12
# Steps of positions in the least deviation of most Gaussians: fewer show in small scenes.
_STEPS_A_DEVIATION = 4
_COLOR_SCALE = 0.15
# Steps that harmonics are rounded to, of 256: five bits in degree 1, four above.
_STEPS = (8, 16, 16)
# Coordinates change sign in y and z, and harmonics where they are odd in y and z together.
_FLIP = (1.0, -1.0, -1.0)
_HARMONIC_FLIPS = ((-1, -1, 1), (-1, 1, 1, -1, 1), (-1, 1, -1, -1, 1, -1, 1))
_HALF_STEP = 0.5 / 255
_COMPONENT_MASK = (1 << 9) - 1


def write(gaussians: Gaussians, file: BinaryIO) -> tuple[str, ...]:
    """Version 3."""
    means = gaussians.means.detach().double().numpy() * _FLIP
    fraction_bits = _fraction_bits(gaussians)
    fixed = np.rint(means * (1 << fraction_bits)).astype("<i4")
    positions = np.stack([fixed >> shift & 0xFF for shift in (0, 8, 16)], axis=-1)
    parts = [
        positions,
        _bytes(torch.sigmoid(gaussians.opacities.detach()) * 255),
        _bytes(gaussians.harmonics[0].detach()[:, 0] * (_COLOR_SCALE * 255) + 127.5),
        _bytes((gaussians.log_scales.detach() + 10) * 16),
        _packed_rotations(gaussians.quaternions.detach()),
        _packed_harmonics(gaussians),
    ]
    header = _HEADER.pack(_MAGIC, 3, len(gaussians), gaussians.degree, fraction_bits, 0, 0)
    content = header + b"".join(np.ascontiguousarray(part, dtype=np.uint8).tobytes() for part in parts)
    # without a time of day, so that the same set gives the same file
    file.write(gzip.compress(content, mtime=0))
    rounded = f"positions to 1/{1 << fraction_bits}, log-scales to 1/16"
    return (f"SPZ rounds {rounded}, colours, opacities and harmonics to 8 bits or less.",)


def _fraction_bits(gaussians: Gaussians) -> int:
    """Bits of positions behind the point: 12, as usual, or more, as small Gaussians want and far ones leave.

    Raises:
        DataError: a position is too far from the origin.
    """
    farthest = float(gaussians.means.abs().max())
    limit = (1 << (_POSITION_BITS - 1)) - 1
    if np.rint(farthest * (1 << _FRACTION_BITS)) > limit:
        raise DataError(
            f"SPZ holds positions up to {limit >> _FRACTION_BITS}, but one lies at {farthest:.0f}; scale the set, or "
            "write .ply."
        )
    smallest = float(gaussians.log_scales.amin(dim=1).median())
    bits = max(_FRACTION_BITS, math.ceil(math.log2(_STEPS_A_DEVIATION) - smallest / math.log(2)))
    bits = min(bits, _POSITION_BITS - 1)
    while bits > _FRACTION_BITS and np.rint(farthest * (1 << bits)) > limit:
        bits -= 1
    return bits


def read(content: bytes, path: Path) -> Gaussians:
    """Versions 2 to 4.

    Raises:
        DataError: another version, streams that do not have what their header promises, or axes that are not the usual
            ones.
        ResourceError: version 4, and no library for Zstandard.
    """
    if content[:4] == struct.pack("<I", _MAGIC):
        return _read_streams(content, path)
    unzip = zlib.decompressobj(wbits=_GZIP)
    header = _unzipped(unzip, content, _HEADER.size, path)
    if len(header) < _HEADER.size:
        raise DataError(f"{path} holds {len(header)} bytes, but its header takes {_HEADER.size}; it is cut short.")
    magic, version, count, degree, fraction_bits, _, _ = _HEADER.unpack(header)
    if magic != _MAGIC:
        raise DataError(f"{path} begins with {magic:#x} inside, which is not SPZ; write it again.")
    _check(path, version, (2, 3), degree, fraction_bits)
    sizes = _sizes(version, degree)
    promised = _promised(count, sizes, content, path)
    # a byte more than there should be, so that the stream comes to its end and its checksum is looked at
    plain = _unzipped(unzip, unzip.unconsumed_tail, promised + 1, path)
    if len(plain) < promised or (len(plain) == promised and not unzip.eof):
        raise DataError(
            f"{path} promises {count:,} Gaussians, which take {promised:,} bytes, but has {len(plain):,} whole; "
            "it is cut short."
        )
    parts, offset = [], 0
    for size in sizes:
        parts.append(plain[offset : offset + count * size])
        offset += count * size
    return _unpacked(parts, sizes, version, degree, fraction_bits)


def _unzipped(unzip: zlib._Decompress, content: bytes, most: int, path: Path) -> bytes:
    """What comes next out of a gzip stream, at most so many bytes: a small file could unpack to more than memory."""
    try:
        return unzip.decompress(content, most)
    except zlib.error as error:
        raise DataError(f"{path} is no whole gzip stream ({error}); it is cut short or no SPZ file.") from error


def _promised(count: int, sizes: tuple[int, ...], content: bytes, path: Path) -> int:
    """Bytes of all arrays by the header, refused where no set packs that well."""
    promised = count * sum(sizes)
    if promised > _MOST_RATIO * len(content):
        raise DataError(f"{path} promises {count:,} Gaussians in {len(content):,} bytes; its header is damaged.")
    return promised


def _read_streams(content: bytes, path: Path) -> Gaussians:
    """Version 4."""
    if importlib.util.find_spec("zstandard") is None:
        raise ResourceError(
            f"{path} is SPZ version 4, which takes the library zstandard; install it with: "
            'pip install "onefield[spz]", or write the file as version 3.'
        )
    if len(content) < _PLAIN_HEADER.size:
        raise DataError(f"{path} has {len(content)} bytes, but its header takes {_PLAIN_HEADER.size}; it is cut short.")
    _, version, count, degree, fraction_bits, flags, streams, table = _PLAIN_HEADER.unpack_from(content)
    _check(path, version, (4,), degree, fraction_bits)
    sizes = _sizes(version, degree)
    filled = sum(size > 0 for size in sizes)
    if streams != filled:
        raise DataError(
            f"{path} has {streams} streams, but harmonics of degree {degree} take {filled}; write it again."
        )
    start = table + streams * _LENGTHS.size
    if not _PLAIN_HEADER.size <= table <= start <= len(content):
        raise DataError(f"{path} places its table at byte {table:,} of {len(content):,}; it is cut short or damaged.")
    if flags & _HAS_EXTENSIONS:
        _check_axes(content[_PLAIN_HEADER.size : table], path)
    _promised(count, sizes, content, path)
    parts = []
    for place, size in enumerate(sizes[:streams]):
        packed, plain = _LENGTHS.unpack_from(content, table + place * _LENGTHS.size)
        if plain != count * size or packed > len(content) - start:
            raise DataError(
                f"{path} promises {count:,} Gaussians and a stream of {packed:,} bytes for {plain:,}, where "
                f"{len(content) - start:,} are left for {count * size:,}; it is cut short or damaged."
            )
        parts.append(_inflated(content[start : start + packed], plain, path))
        start += packed
    parts += [b""] * (len(sizes) - streams)  # harmonics of degree 0 are no stream
    return _unpacked(parts, sizes, version, degree, fraction_bits)


def _inflated(stream: bytes, size: int, path: Path) -> bytes:
    """A Zstandard stream that must hold just so many bytes."""
    import zstandard

    try:
        reader = zstandard.ZstdDecompressor().stream_reader(stream)
        plain = reader.read(size + 1)
    except zstandard.ZstdError as error:
        raise DataError(f"{path} has a damaged stream ({error}); write it again.") from error
    if len(plain) != size:
        raise DataError(f"{path} has a stream that does not unpack to its {size:,} bytes; it is cut short or damaged.")
    return plain


def _check(path: Path, version: int, known: tuple[int, ...], degree: int, fraction_bits: int) -> None:
    if version not in known or degree > MOST_DEGREE:
        raise DataError(
            f"{path} is SPZ version {version} with harmonics of degree {degree}, but versions 2 to 4 up to degree "
            f"{MOST_DEGREE} are read; write it again so."
        )
    if fraction_bits >= _POSITION_BITS:
        raise DataError(
            f"{path} says that {fraction_bits} of {_POSITION_BITS} bits of a position are behind the point; its header "
            "is damaged."
        )


def _check_axes(records: bytes, path: Path) -> None:
    place = 0
    while place + _RECORD.size <= len(records):
        kind, length = _RECORD.unpack_from(records, place)
        place += _RECORD.size
        if kind == _AXES_RECORD and length == 4:
            axes = int.from_bytes(records[place : place + length], "little")
            if axes not in (_UNSPECIFIED_AXES, _USUAL_AXES):
                raise DataError(
                    f"{path} has its axes in another order (system {axes} of Adobe's extension), but only right, up, "
                    "back is read; write it again so."
                )
        place += length


def _sizes(version: int, degree: int) -> tuple[int, ...]:
    """Bytes of a Gaussian in each array."""
    return 9, 1, 3, 3, 3 if version == 2 else 4, 3 * ((degree + 1) ** 2 - 1)


def _unpacked(parts: list[bytes], sizes: tuple[int, ...], version: int, degree: int, fraction_bits: int) -> Gaussians:
    positions, opacities, colors, scales, rotations, harmonics = (
        np.frombuffer(part, np.uint8).reshape(-1 if size else len(parts[1]), size)
        for part, size in zip(parts, sizes, strict=True)
    )
    return Gaussians(
        torch.from_numpy((_positions(positions) / (1 << fraction_bits) * _FLIP).astype(np.float32)),
        _floats(scales) / 16 - 10,
        _first_three(rotations) if version == 2 else _rotations(rotations),
        torch.logit((_floats(opacities)[:, 0] / 255).clamp(_HALF_STEP, 1 - _HALF_STEP)),
        (((_floats(colors) / 255 - 0.5) / _COLOR_SCALE)[:, None], *_bands(harmonics, degree)),
    )


def _bytes(values: Tensor) -> np.ndarray:
    return values.round().clamp(0, 255).numpy()


def _floats(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))


def _positions(values: np.ndarray) -> np.ndarray:
    low, middle, high = (values.reshape(-1, 3, 3)[..., k].astype(np.int32) for k in range(3))
    return low + (middle << 8) + (high.astype(np.int8).astype(np.int32) << 16)


def _packed_rotations(quaternions: Tensor) -> np.ndarray:
    """Two bits for the largest of xyzw, then sign and nine bits of each of the others, from the highest bit down."""
    turned = functional.normalize(quaternions.double(), dim=-1)[:, [1, 2, 3, 0]].numpy() * (1, -1, -1, 1)
    largest = np.abs(turned).argmax(1)
    negative = turned[np.arange(len(turned)), largest] < 0
    packed = largest.astype(np.uint32)
    for k in range(4):
        size = (np.abs(turned[:, k]) * np.sqrt(2) * _COMPONENT_MASK + 0.5).astype(np.uint32)
        sign = ((turned[:, k] < 0) ^ negative).astype(np.uint32)
        packed = np.where(largest == k, packed, packed << np.uint32(10) | sign << np.uint32(9) | size)
    return packed.astype("<u4").view(np.uint8).reshape(-1, 4)


def _rotations(values: np.ndarray) -> Tensor:
    packed = np.ascontiguousarray(values).view("<u4")[:, 0].astype(np.uint32)
    largest = packed >> np.uint32(30)
    turned = np.zeros((len(packed), 4))
    for k in (3, 2, 1, 0):
        size = (packed & _COMPONENT_MASK) / _COMPONENT_MASK / np.sqrt(2)
        signed = np.where(packed >> np.uint32(9) & np.uint32(1), -size, size)
        turned[:, k] = np.where(largest == k, 0.0, signed)
        packed = np.where(largest == k, packed, packed >> np.uint32(10))
    rest = np.sqrt(np.maximum(0, 1 - np.square(turned).sum(1)))
    turned[np.arange(len(turned)), largest] = rest
    return torch.from_numpy(turned[:, [3, 0, 1, 2]] * (1, 1, -1, -1)).float()


def _first_three(values: np.ndarray) -> Tensor:
    """Version 2: xyz, and the w that makes a unit quaternion of them; rounding may leave them longer than one."""
    xyz = values.astype(np.float64) / 127.5 - 1
    w = np.sqrt(np.maximum(0, 1 - np.square(xyz).sum(1)))
    return functional.normalize(torch.from_numpy(np.concatenate([w[:, None], xyz * _FLIP], axis=1)), dim=-1).float()


def _packed_harmonics(gaussians: Gaussians) -> np.ndarray:
    """Coefficient by coefficient, its three channels together."""
    packed = [np.zeros((len(gaussians), 0))]
    for band, flips, step in zip(gaussians.harmonics[1:], _HARMONIC_FLIPS, _STEPS, strict=False):
        values = np.rint((band.detach() * band.new_tensor(flips)[:, None]).flatten(1).numpy() * 128) + 128
        packed.append(((values + step // 2) // step * step).clip(0, 255))
    return np.concatenate(packed, axis=1)


def _bands(values: np.ndarray, degree: int) -> list[Tensor]:
    coefficients = ((_floats(values) - 128) / 128).unflatten(1, (-1, 3)) if degree else torch.zeros(len(values), 0, 3)
    bands = coefficients.split([2 * band + 1 for band in range(1, degree + 1)], dim=1) if degree else ()
    return [
        (band * band.new_tensor(flips)[:, None]).contiguous()
        for band, flips in zip(bands, _HARMONIC_FLIPS, strict=False)
    ]
