"""What processing will take, said before it starts."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from onefield.data.structure_from_motion.pairs import count_pairs
from onefield.errors import ResourceError

# Measured on two cores of a 2020s server with pictures of one megapixel; seconds of one core.
_FEATURES_A_MEGAPIXEL, _MATCHING_A_PAIR = 2.7, 0.26
# Mapping is mostly on one core; its share that grows with the square of the number appears beyond some hundred.
_MAPPING_A_PICTURE, _MAPPING_A_PAIR_OF_PICTURES = 0.5, 0.004
_LARGEST_MEGAPIXELS = 1.92  # 1600 x 1200, to which pictures are reduced for finding features
# Keypoints, descriptors and matches in the database.
_DATABASE_A_PICTURE, _DATABASE_A_PAIR = 2_000_000, 12_000
# What other programs write meanwhile.
_SPARE = 200_000_000


@dataclass(frozen=True)
class Cost:
    """Pictures, pairs to compare, seconds on so many threads, and bytes on the disk."""

    pictures: int
    pairs: int
    seconds: float
    threads: int
    disk: int

    def sentence(self) -> str:
        """For people, before the work starts."""
        minutes = self.seconds / 60
        long = (
            f"{max(round(minutes), 1)} minutes" if minutes >= 1.5 else "a minute" if minutes > 0.6 else "half a minute"
        )
        return (
            f"{self.pictures} photos, {self.pairs} pairs to compare: about {long} on {self.threads} "
            f"{'core' if self.threads == 1 else 'cores'}, {self.disk / 1e6:.0f} MB of disk meanwhile"
        )


def estimate(sizes: list[tuple[int, int]], stored_bytes: int, threads: int) -> Cost:
    """The cost for pictures of these sizes.

    Args:
        sizes: width and height of each picture.
        stored_bytes: of all pictures as they will be stored.
        threads: that the work will use.
    """
    count = len(sizes)
    pairs = count_pairs(count)
    megapixels = sum(min(width * height / 1e6, _LARGEST_MEGAPIXELS) for width, height in sizes)
    parallel = _FEATURES_A_MEGAPIXEL * megapixels + _MATCHING_A_PAIR * pairs
    mapping = _MAPPING_A_PICTURE * count + _MAPPING_A_PAIR_OF_PICTURES * count * count
    disk = stored_bytes + _DATABASE_A_PICTURE * count + _DATABASE_A_PAIR * pairs
    return Cost(count, pairs, parallel / threads + mapping, threads, disk)


def check_disk(cost: Cost, folder: Path) -> None:
    """Refuses before hours of work what would not fit.

    Raises:
        ResourceError: too little space.
    """
    free = shutil.disk_usage(folder).free
    if free < cost.disk + _SPARE:
        raise ResourceError(
            f"{folder} has {free / 1e6:.0f} MB free, but processing {cost.pictures} photos needs about "
            f"{(cost.disk + _SPARE) / 1e6:.0f} MB; free space there, or choose another --output."
        )
