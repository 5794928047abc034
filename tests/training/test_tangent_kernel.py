"""Tangent kernels against gradients taken one by one."""

from __future__ import annotations

import pytest
import torch

from onefield.fields.composed import ComposedField
from onefield.fields.encodings.encoding import Encoding
from onefield.fields.encodings.hash_grid import HashGridEncoding
from onefield.fields.encodings.identity import IdentityEncoding
from onefield.fields.heads.value import ValueHead
from onefield.fields.networks.mlp import Mlp
from onefield.training.tangent_kernel import tangent_kernel
from onefield.types import Bounds
from tests.catalog import NETWORKS


def products(field, points, counts):
    rows = []
    for group in points:
        field.zero_grad()
        # each point by itself, as often as it counts
        told = [
            field.query(point[None]).value.sum()
            for point, count in zip(group, counts, strict=True)
            for _ in range(count)
        ]
        (sum(told) / 2**0.5).backward()
        rows.append(torch.cat([p.grad.flatten() for p in field.parameters() if p.grad is not None]))
    gradients = torch.stack(rows).double()
    return gradients @ gradients.T


def field_of(encoding: Encoding, network):
    return ComposedField(Bounds((0.0, 0.0), (1.0, 1.0)), encoding, network, [ValueHead(0.1, 0.5)])


def check(field):
    points = torch.rand(6, 2, 2, generator=torch.Generator().manual_seed(1))
    for used, counts in ((points[:, :1], None), (points, torch.tensor([1.0, 3.0]))):
        expected = products(field, used, (1,) if counts is None else (1, 3))
        found = tangent_kernel(field, used, counts)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.max()))


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in ("mlp, mixed precision", "refinement")])
def test_of_every_network(name):
    torch.manual_seed(0)
    check(field_of(IdentityEncoding(2), NETWORKS[name](2, 2)))


def test_of_a_hash_grid():
    torch.manual_seed(0)
    encoding = HashGridEncoding(2, 3, 2, 8, 4, 16)
    torch.nn.init.normal_(encoding.table)
    check(field_of(encoding, Mlp(6, 2, 8)))
