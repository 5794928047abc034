"""Identity encoding."""

import torch

from onefield.fields.encodings import IdentityEncoding


def test_centres_the_unit_cube():
    encoding = IdentityEncoding(2)
    assert encoding(torch.tensor([[0.0, 1.0], [0.5, 2.0]])).tolist() == [[-1.0, 1.0], [0.0, 3.0]]
    assert encoding.output_dimension == encoding.input_dimension == 2
