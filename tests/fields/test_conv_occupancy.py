import pytest
import torch

from onefield.errors import UsageError
from onefield.fields.conv_occupancy import ConvolutionalOccupancy
from onefield.types import Bounds


def network(planes: int, volume: int, **sizes: int) -> ConvolutionalOccupancy:
    torch.manual_seed(3)
    made = ConvolutionalOccupancy(planes, volume, channels=4, width=4, blocks=2, **sizes)
    with torch.no_grad():
        for block in (*made.encoder.blocks, *made.decoder.blocks):  # which start without effect
            block.second.weight.normal_()
    return made


def cloud(count: int = 200) -> torch.Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(1)) * 0.2 + 0.4


def test_a_volume_moves_with_its_points_by_whole_coarse_cells():
    made = network(0, 32, levels=2)
    queries = cloud(50)
    step = torch.tensor([2.0, -2.0, 4.0]) / 32
    still = made.logits(made.encode(cloud()), queries)
    moved = made.logits(made.encode(cloud() + step), queries + step)
    torch.testing.assert_close(moved, still, atol=1e-4, rtol=1e-4)
    assert still.std() > 1e-3
    aside = made.logits(made.encode(cloud() + step / 4), queries + step / 4)
    assert (aside - still).abs().max() > 1e-3


@pytest.mark.parametrize(("planes", "volume"), [(8, 0), (0, 8), (8, 4)])
def test_the_field_of_a_cloud_answers_what_the_network_does(planes, volume):
    made = network(planes, volume)
    domain = Bounds((-1.0, 2.0, 3.0), (1.0, 4.0, 5.0))
    field = made.complete(domain.from_unit(cloud()), domain)
    queries = torch.rand(30, 3)
    expected = torch.sigmoid(made.logits(made.encode(cloud()), queries))
    answer = field.query(domain.from_unit(queries), want=["occupancy"]).occupancy
    torch.testing.assert_close(answer, expected, atol=1e-5, rtol=1e-4)
    assert field.provides == {"occupancy", "features"}


@pytest.mark.parametrize(("planes", "volume"), [(8, 0), (0, 8), (8, 4)])
def test_every_weight_learns(planes, volume):
    made = network(planes, volume)
    made.logits(made.encode(cloud()), torch.rand(60, 3)).square().sum().backward()
    idle = [name for name, parameter in made.named_parameters() if not parameter.grad.abs().sum() > 0]
    assert idle == []


def test_the_order_of_points_does_not_matter():
    made = network(8, 8)
    queries = torch.rand(20, 3)
    straight, turned = (made.logits(made.encode(points), queries) for points in (cloud(), cloud().flip(0)))
    torch.testing.assert_close(straight, turned, atol=1e-5, rtol=1e-4)


def test_neither_planes_nor_volume_is_refused():
    with pytest.raises(UsageError, match="planes or a volume"):
        ConvolutionalOccupancy(0, 0)
