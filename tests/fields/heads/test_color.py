import torch

from onefield.fields.encodings.identity import IdentityEncoding
from onefield.fields.heads import ColorHead, PlainColor


def test_color_ignores_the_channel_of_the_geometry():
    torch.manual_seed(0)
    head = ColorHead(15, IdentityEncoding(3))
    features, directions = torch.randn(6, 16), torch.randn(6, 3)
    changed = features.clone()
    changed[:, 0] += 100
    torch.testing.assert_close(head(features, directions), head(changed, directions))
    assert head.needs_directions
    assert (head(features, directions) != head(features, -directions)).any()


def test_color_without_directions_and_bounds():
    head = ColorHead(4, None)
    answer = head(torch.randn(10, 5) * 100)
    assert not head.needs_directions
    assert answer.shape == (10, 3)
    assert (answer >= 0).all()
    assert (answer <= 1).all()


def test_plain_color_is_the_sigmoid_of_its_channels():
    features = torch.randn(5, 13)
    torch.testing.assert_close(PlainColor()(features), 1 / (1 + torch.exp(-features[:, 1:4])))
    torch.testing.assert_close(PlainColor(0)(features), 1 / (1 + torch.exp(-features[:, :3])))
