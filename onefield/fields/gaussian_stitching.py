"""Two sets of Gaussians stitched: where they meet, and the colours of one brought into line with the other's.

After "Towards realistic example-based modeling via 3D Gaussian stitching" (2024): the boundary by nearest neighbours,
colours cloned there from the source and carried inward with the target's own differences kept (the S-phase), then tuned
by clusters of colour (the T-phase). Both are solved as linear systems instead of by optimisation steps, and contrast is
fitted along the seam first. Geometry stays as it is, and the source stays altogether.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.cluster.vq import kmeans2
from scipy.sparse import coo_matrix, csr_matrix, diags
from scipy.sparse.linalg import cg
from scipy.spatial import cKDTree

from onefield.errors import DataError
from onefield.fields.gaussians import CONSTANT_HARMONIC
from onefield.types import Gaussians

NEIGHBOURS = 8
# One boundary Gaussian counts as much as this share of its differences to neighbours: colours there are samples of a
# texture, of which single ones must not print through to the inside. With 0.3 and eight clusters, colours of two
# trained sets that had been cut and tinted ended 1.8 and 1.3 times as far from the truth.
BOUNDARY_WEIGHT = 0.05
CLUSTERS = 4
# The gain is drawn towards one as if by this share of all pairs at the seam, spread over half the range of colours.
_UNIT_GAIN_SHARE = 0.02
# Corrections at the seam that no cluster explains die out over about four neighbours: 1 / 4^2.
_DECAY = 1 / 16
_TOLERANCE = 1e-6
_MOST_STEPS = 2000
_CLUSTER_SEED = 0


@dataclass(frozen=True)
class Boundary:
    """Where a target meets a source; colours are constant harmonics, opacity-weighted means, for the members only.

    Attributes:
        members: which Gaussians of the target have some of the source among their nearest neighbours.
        colors: of those neighbours.
        own: of the neighbours in the target.
    """

    members: Bool[np.ndarray, "T"]
    colors: Float[np.ndarray, "B 3"]
    own: Float[np.ndarray, "B 3"]


def boundary_between(target: Gaussians, source: Gaussians) -> Boundary:
    """The Gaussians of the target at which the source begins.

    Raises:
        DataError: the two lie apart, so that there is no boundary.
    """
    here, there = _places(target), _places(source)
    opacities = np.concatenate([torch.sigmoid(one.opacities.detach()).double().numpy() for one in (target, source)])
    colors = np.concatenate([one.harmonics[0].detach()[:, 0].double().numpy() for one in (target, source)])
    # one more: each finds itself
    _, nearest = cKDTree(np.concatenate([here, there])).query(here, k=min(NEIGHBOURS + 1, len(here) + len(there)))
    of_source = nearest >= len(here)
    members = of_source.any(1)
    if not members.any():
        apart = float(cKDTree(there).query(here)[0].min())
        raise DataError(
            f"The two sets don't touch: no Gaussian of the target has one of the source among its {NEIGHBOURS} nearest "
            f"(they are at least {apart:.3g} apart); move or scale the target."
        )
    chosen = nearest[members]

    def mean(among: Bool[np.ndarray, "B k"]) -> Float[np.ndarray, "B 3"]:
        weights = np.where(among, opacities[chosen] + np.finfo(float).tiny, 0.0)
        return (weights[..., None] * colors[chosen]).sum(1) / weights.sum(1, keepdims=True)

    return Boundary(members, mean(of_source[members]), mean(~of_source[members]))


def harmonized(target: Gaussians, boundary: Boundary) -> Gaussians:
    """The target with colours that go on from those beyond its boundary, everything else as it is."""
    first = target.harmonics[0].detach()[:, 0].double().numpy()
    gain = _gain(boundary)
    before = first.mean(0) + gain * (first - first.mean(0))
    graph = _neighbourhood(_places(target))

    def carried(colors: Float[np.ndarray, "T 3"], decay: float) -> Float[np.ndarray, "T 3"]:
        # what neighbours in the target have, since the one Gaussian's own colour is chance
        shown = boundary.own + (colors - first)[boundary.members]
        return _carried_inward(graph, boundary.members, boundary.colors - shown, decay)

    tuned = before + _cluster_means(first, carried(before, 0.0))
    constant = torch.from_numpy(tuned + carried(tuned, _DECAY)).to(target.harmonics[0])[:, None]
    higher = tuple(band * torch.from_numpy(gain).to(band) for band in target.harmonics[1:])
    return replace(target, harmonics=(constant, *higher))


def _gain(boundary: Boundary) -> Float[np.ndarray, "3"]:
    """What the target's colours must be multiplied by to vary along the seam as the source's do, a channel.

    The ratio of the deviations, as far as colours on both sides go together: where they don't, both vary by chance, and
    a fit of the one to the other would take the target's contrast away.
    """
    x, y = boundary.own - boundary.own.mean(0), boundary.colors - boundary.colors.mean(0)
    hold = _UNIT_GAIN_SHARE * len(x) * (0.5 / CONSTANT_HARMONIC) ** 2
    own, other, both = np.square(x).sum(0), np.square(y).sum(0), (x * y).sum(0)
    explained = np.square(np.maximum(both, 0)) / np.maximum(own * other, np.finfo(float).tiny)
    return 1 + explained * (np.sqrt((other + hold) / (own + hold)) - 1)


def _places(gaussians: Gaussians) -> Float[np.ndarray, "P 3"]:
    return gaussians.means.detach().cpu().double().numpy()


def _neighbourhood(places: Float[np.ndarray, "T 3"]) -> csr_matrix:
    """Laplacian of the graph in which each is joined to its nearest."""
    count = len(places)
    among = min(NEIGHBOURS, count - 1)
    if among == 0:
        return csr_matrix((count, count))
    _, nearest = cKDTree(places).query(places, k=among + 1)
    # coinciding ones may find each other before themselves
    rows, columns = np.repeat(np.arange(count), among + 1), nearest.reshape(-1)
    apart = rows != columns
    links = coo_matrix((np.ones(apart.sum()), (rows[apart], columns[apart])), shape=(count, count)).tocsr()
    links = links.maximum(links.T)
    return diags(np.asarray(links.sum(1)).ravel()) - links


def _carried_inward(
    graph: csr_matrix, members: Bool[np.ndarray, "T"], wanted: Float[np.ndarray, "B 3"], decay: float
) -> Float[np.ndarray, "T 3"]:
    """Changes near what is wanted at the boundary, with as little difference between neighbours as can be.

    Args:
        decay: how strongly changes are drawn to none, a neighbour.
    """
    pull = np.where(members, BOUNDARY_WEIGHT * NEIGHBOURS, 0.0)
    # where no link leads to the boundary nothing is known, and nothing changes
    system = graph + diags(pull + decay * NEIGHBOURS + _TOLERANCE)
    answers = []
    for channel in range(wanted.shape[1]):
        right = np.zeros(len(members))
        right[members] = pull[members] * wanted[:, channel]
        answers.append(cg(system, right, rtol=_TOLERANCE, maxiter=_MOST_STEPS, M=diags(1 / system.diagonal()))[0])
    return np.stack(answers, axis=1)


def _cluster_means(colors: Float[np.ndarray, "T 3"], changes: Float[np.ndarray, "T 3"]) -> Float[np.ndarray, "T 3"]:
    """The mean change of all Gaussians of about the same colour."""
    _, labels = kmeans2(colors, min(CLUSTERS, len(colors)), minit="++", seed=_CLUSTER_SEED)
    means = np.zeros_like(changes)
    for label in np.unique(labels):
        means[labels == label] = changes[labels == label].mean(0)
    return means
