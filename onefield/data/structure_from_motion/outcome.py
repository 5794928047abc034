"""Why a picture was left out, and what would help."""

from __future__ import annotations

from dataclasses import dataclass

from onefield.data.structure_from_motion.job import JobResult, PictureOutcome

# A picture with fewer features has hardly anything that another could show as well.
_FEWEST_FEATURES = 150


@dataclass(frozen=True)
class LeftOut:
    """A picture without a pose: its name, the kind of reason, what was found, and the cure."""

    name: str
    reason: str
    found: str
    cure: str


def left_out(result: JobResult) -> list[LeftOut]:
    """One record for each picture that has no pose, in the order of the pictures."""
    return [_explained(picture) for picture in result.pictures if not picture.registered]


def _explained(picture: PictureOutcome) -> LeftOut:
    if picture.features < _FEWEST_FEATURES:
        return LeftOut(
            picture.name,
            "too few features",
            f"{picture.features} features",
            "hold still, focus, add light, and include surroundings with texture",
        )
    if picture.matched == 0:
        return LeftOut(
            picture.name,
            "no matches",
            f"{picture.features} features, none found again in another photo",
            "take photos in between, each sharing two thirds of its content with the last",
        )
    if picture.matched_registered == 0:
        return LeftOut(
            picture.name,
            "no matches",
            f"agrees with {picture.matched} photos, all of them left out too",
            "another place, or a gap: process it by itself, or take photos that lead over",
        )
    return LeftOut(
        picture.name,
        "wrong geometry",
        f"agrees with {picture.matched_registered} photos of the scene, but no pose fits",
        "repeated patterns, things that moved, or turning on the spot: take steps sideways between photos",
    )


def groups_apart(result: JobResult) -> str | None:
    """A sentence where the photos fall into groups that share nothing, as two scenes in one folder do."""
    others = [count for count in result.models[1:] if count >= 3]
    if not others or result.registered + others[0] > len(result.pictures):
        return None
    listed = ", ".join(map(str, others))
    return (
        f"the photos fall into groups that don't connect: {result.registered} photos became the scene, and others of "
        f"{listed} were left out; put different scenes into folders of their own, or take photos that lead over."
    )
