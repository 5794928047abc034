"""What every entry of the catalogue promises, whatever it is."""

import copy
import importlib
import inspect
import pkgutil
import re

import pytest
import torch

import onefield
from onefield.errors import UsageError
from onefield.fields.field import Field
from onefield.types import Rays
from tests.catalog import ENCODINGS, FIELDS, HEADS, INTERFACES, NETWORKS, SAMPLERS

SHAPES = {"density": (), "distance": (), "closest_point": (3,), "occupancy": (), "color": (3,)}
FLOAT32_TOLERANCE = {"atol": 2e-5, "rtol": 2e-4}
MIXED_TOLERANCE = {"atol": 2e-2, "rtol": 2e-2}  # bfloat16 products keep eight bits


def tolerance(name):
    return MIXED_TOLERANCE if "mixed" in name else FLOAT32_TOLERANCE


def seeded(build, *arguments):
    torch.manual_seed(1)
    return build(*arguments)


def all_subclasses(base):
    for derived in base.__subclasses__():
        yield derived
        yield from all_subclasses(derived)


def import_everything():
    for module in pkgutil.walk_packages(onefield.__path__, "onefield."):
        if module.name.split(".")[1] in ("fields", "renderers"):
            importlib.import_module(module.name)


@pytest.mark.parametrize("interface", INTERFACES, ids=lambda interface: interface.__name__)
def test_every_class_is_in_the_catalogue(interface):
    import_everything()
    arguments = (3, 2) if INTERFACES[interface] is NETWORKS else ()
    listed = {type(build(*arguments)) for build in INTERFACES[interface].values()}
    concrete = {
        derived
        for derived in all_subclasses(interface)
        if derived.__module__.startswith("onefield.") and not inspect.isabstract(derived)
    }
    assert {c.__name__ for c in concrete - listed} == set()


def random_points(count, dimension=3):
    return torch.rand(count, dimension, generator=torch.Generator().manual_seed(2)) * 0.96 + 0.02


@pytest.mark.parametrize("name", ENCODINGS)
def test_an_encoding_answers_each_point_by_itself(name):
    encoding = seeded(ENCODINGS[name])
    points = random_points(40, encoding.input_dimension)
    features = encoding(points)
    assert features.shape == (40, encoding.output_dimension)
    assert features.dtype == torch.float32
    assert torch.isfinite(features).all()
    torch.testing.assert_close(encoding(points[7:9]), features[7:9], **FLOAT32_TOLERANCE)
    assert encoding(points[:0]).shape == (0, encoding.output_dimension)
    assert re.fullmatch(r"[a-z]+", encoding.parameter_group)


@pytest.mark.parametrize("name", ENCODINGS)
def test_an_encoding_agrees_with_itself_in_double_precision(name):
    """Which runs other code where there is a kernel: values, and gradients of points and parameters."""
    encoding = seeded(ENCODINGS[name])
    double = copy.deepcopy(encoding).double()
    points = random_points(30, encoding.input_dimension)
    results = []
    for module, given in ((encoding, points), (double, points.double())):
        given = given.clone().requires_grad_()
        features = module(given)
        wanted = [given, *module.parameters()]
        weights = torch.linspace(-1, 1, features.numel(), dtype=features.dtype).reshape(features.shape)
        results.append([features, *torch.autograd.grad((features * weights).sum(), wanted)])
    for single, exact in zip(*results, strict=True):
        torch.testing.assert_close(single.double(), exact, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_copy_that_loads_the_state_answers_alike(name):
    encoding = seeded(ENCODINGS[name])
    torch.manual_seed(5)
    other = ENCODINGS[name]()
    other.load_state_dict(encoding.state_dict())
    points = random_points(10, encoding.input_dimension)
    assert torch.equal(other(points), encoding(points))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_answers_each_row_by_itself(name):
    network = seeded(NETWORKS[name], 6, 4)
    rows = torch.randn(33, 6)
    answers = network(rows)
    assert answers.shape == (33, 4) == (33, network.output_dimension)
    assert network.input_dimension == 6
    assert answers.dtype == torch.float32
    torch.testing.assert_close(network(rows[5:6]), answers[5:6], **tolerance(name))
    assert network(rows[:0]).shape == (0, 4)
    exact = copy.deepcopy(network).double()(rows.double())
    torch.testing.assert_close(answers.double(), exact, **tolerance(name))


@pytest.mark.parametrize("name", HEADS)
def test_a_head_answers_its_quantity(name):
    head = seeded(HEADS[name])
    features, directions = torch.randn(12, 5), torch.nn.functional.normalize(torch.randn(12, 3), dim=-1)
    answer = head(features, directions, torch.rand(12, 3) - 0.5)
    assert answer.shape == (12, *SHAPES.get(head.provides, (5,)))
    assert torch.isfinite(answer).all()
    if head.provides == "color":
        assert ((answer >= 0) & (answer <= 1)).all()
    if head.provides == "density":
        assert (answer >= 0).all()


def ask(field, points):
    directions = torch.zeros(*points.shape[:-1], 3)
    directions[..., 0] = 1.0
    return field.query(points, directions=directions.to(points))


def inside(field: Field, *batch):
    unit = torch.rand(*batch, field.domain.dimension, generator=torch.Generator().manual_seed(3))
    low, high = (torch.tensor(corner).clamp(-4, 4) for corner in (field.domain.minimum, field.domain.maximum))
    return low + unit * (high - low)


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_answers_what_it_provides_in_any_batch(name):
    field = seeded(FIELDS[name])
    points = inside(field, 4, 5)
    answers = ask(field, points)
    for quantity in field.provides:
        tensor = getattr(answers, quantity)
        assert tensor.shape[:2] == (4, 5)
        assert tensor.shape[2:] == SHAPES.get(quantity, tensor.shape[2:3])
        assert torch.isfinite(tensor).all()
        alone = getattr(ask(field, points[2, 3]), quantity)
        torch.testing.assert_close(alone, tensor[2, 3], **FLOAT32_TOLERANCE)
        assert getattr(ask(field, points[:0]), quantity).shape[:2] == (0, 5)
        only = field.query(points, directions=torch.tensor([1.0, 0, 0]).expand(4, 5, 3), want=[quantity])
        torch.testing.assert_close(getattr(only, quantity), tensor, **FLOAT32_TOLERANCE)
    if answers.density is not None:
        assert (answers.density >= 0).all()
    if answers.color is not None:
        assert ((answers.color >= 0) & (answers.color <= 1)).all()


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_of_single_precision_takes_points_of_double(name):
    field = seeded(FIELDS[name])
    points = inside(field, 7)
    answers, doubled = ask(field, points), ask(field, points.double())
    for quantity in field.provides:
        expected = getattr(answers, quantity)
        torch.testing.assert_close(getattr(doubled, quantity).to(expected), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_refuses_what_it_cannot_answer(name):
    field = seeded(FIELDS[name])
    points = inside(field, 2)
    with pytest.raises(UsageError, match="did you mean 'density'"):
        field.query(points, want=["densty"])
    for quantity in {"value", "density", "distance", "occupancy", "color"} - field.provides:
        with pytest.raises(UsageError, match=f"asked for '{quantity}' but provides only"):
            field.query(points, want=[quantity])
    with pytest.raises(UsageError, match="-D points"):
        field.query(torch.zeros(2, 5))
    for quantity in field.needs_directions & field.provides:
        with pytest.raises(UsageError, match="needs viewing directions"):
            field.query(points, want=[quantity])


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_groups_each_learnt_parameter_once_and_loads_its_state(name):
    field = seeded(FIELDS[name])
    grouped = [id(parameter) for group in field.parameter_groups().values() for parameter in group]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(parameter) for parameter in field.parameters() if parameter.requires_grad}
    torch.manual_seed(9)
    other = FIELDS[name]()
    other.load_state_dict(field.state_dict())
    points = inside(field, 6)
    for quantity in field.provides:
        assert torch.equal(getattr(ask(other, points), quantity), getattr(ask(field, points), quantity))


def rays(count=20):
    generator = torch.Generator().manual_seed(4)
    origins = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1) * 3
    targets = torch.rand(count, 3, generator=generator) - 0.5
    aside = origins[:3] + torch.linalg.cross(origins[:3], torch.ones(3, 3))  # these miss the region
    targets = torch.cat([2 * origins[:3] + aside, targets[3:]])
    return Rays(origins, torch.nn.functional.normalize(targets - origins, dim=-1))


@pytest.mark.parametrize("jitter", [False, True])
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_packs_ordered_intervals_in_the_domain(name, jitter):
    sampler, field, given = seeded(SAMPLERS[name]), FIELDS["sphere"](), rays()

    def sampled():
        generator = torch.Generator().manual_seed(6) if jitter else None
        return sampler(given, field, generator).samples

    samples = sampled()
    assert len(samples) > 0
    assert samples.offsets.shape == (len(given) + 1,)
    assert samples.offsets[0] == 0
    assert samples.offsets[-1] == len(samples)
    expected = torch.repeat_interleave(torch.arange(len(given)), samples.offsets.diff())
    assert torch.equal(samples.ray_indices.long(), expected)
    assert (samples.ends >= samples.starts).all()
    same = samples.ray_indices[1:] == samples.ray_indices[:-1]
    assert (samples.starts[1:] - samples.ends[:-1])[same].min() >= -1e-5
    points = given.origins[expected] + samples.midpoints[:, None] * given.directions[expected]
    crossing = samples.ends > samples.starts  # a sampler of fixed size gives rays that miss intervals of no length
    assert points[crossing].abs().max() <= 1.0 + 1e-4
    assert set(expected[crossing].tolist()) <= set(range(3, len(given)))
    again = sampled()
    assert torch.equal(again.starts, samples.starts)
    assert torch.equal(again.ends, samples.ends)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_takes_no_rays(name):
    sampler, field = seeded(SAMPLERS[name]), FIELDS["sphere"]()
    samples = sampler(rays()[:0], field, None).samples
    assert len(samples) == 0
    assert samples.offsets.tolist() == [0]
