import pytest
import torch

from onefield.errors import UsageError
from onefield.training.field_dataset import assign_weights, flatten_weights, weight_layout
from onefield.training.recipes import Target, build_field
from onefield.training.weight_space.graph_network import WeightGraphNetwork, learn_from_weights
from onefield.training.weight_space.layers import layers_of, permuted, rows_of
from onefield.types import Bounds

TARGET = Target("value", Bounds((0.0, 0.0), (1.0, 1.0)), 2, 0.5, 0.5)
OPTIONS = {"width": 7, "hidden_layers": 2, "w0": 30.0, "first_w0": 30.0, "output_gain": 1.0}


def fields(count):
    torch.manual_seed(0)
    made = [build_field("siren", OPTIONS, TARGET) for _ in range(count)]
    return made, torch.stack([flatten_weights(each) for each in made]), weight_layout(made[0])


def orders():
    return {place: torch.randperm(7, generator=torch.Generator().manual_seed(place)) for place in (1, 2, 3)}


def test_rows_and_layers_are_one_thing_and_permuted_networks_answer_alike():
    made, rows, layout = fields(3)
    assert torch.equal(rows_of(layers_of(rows, layout), layout), rows)
    points = torch.rand(20, 2)
    before = made[1].query(points, want=("value",)).value
    moved = permuted(rows, layout, orders())
    assert not torch.equal(moved, rows)
    assign_weights(made[1], moved[1])
    torch.testing.assert_close(made[1].query(points, want=("value",)).value, before)


def test_states_follow_the_order_of_neurons_and_answers_do_not_know_it():
    _, rows, layout = fields(3)
    torch.manual_seed(1)
    network = WeightGraphNetwork(layout, 4).double()
    rows = rows.double()
    exact = {"atol": 1e-12, "rtol": 1e-12}
    torch.testing.assert_close(network(permuted(rows, layout, orders())), network(rows), **exact)
    nodes, edges = network.states(rows)
    moved, moved_edges = network.states(permuted(rows, layout, orders()))
    first, second = orders()[1], orders()[2]
    torch.testing.assert_close(moved[1], nodes[1][:, first], **exact)
    torch.testing.assert_close(moved_edges[1], edges[1][:, second][:, :, first], **exact)
    # inputs and outputs do have names: other places, another field
    swapped = [(w.flip(2), b) if i == 0 else (w, b) for i, (w, b) in enumerate(layers_of(rows, layout))]
    assert not torch.allclose(network(rows_of(swapped, layout)), network(rows))


def test_classes_and_quality_are_told_from_weights_that_were_never_seen():
    """Classes differ in the spread of the second layer, its spread is the quality."""
    _, rows, layout = fields(96)
    generator = torch.Generator().manual_seed(5)
    classes = torch.arange(96) % 2
    gains = torch.where(classes == 1, 2.0, 1.0) + 0.1 * torch.rand(96, generator=generator)
    layers = layers_of(rows, layout)
    layers[1] = layers[1][0] * gains[:, None, None], layers[1][1]
    rows = rows_of(layers, layout)
    told = learn_from_weights(rows[:64], layout, classes[:64], steps=60, seed=2)(rows[64:]).argmax(1)
    assert (told == classes[64:]).float().mean() > 0.85
    guess = learn_from_weights(rows[:64], layout, gains[:64], steps=60, seed=2)(rows[64:])[:, 0]
    assert (guess - gains[64:]).square().mean() < 0.4 * gains[64:].var()


def test_what_has_no_layers_is_refused():
    grid = build_field("dense", {"vertices": 4, "initial_amplitude": 0.1}, TARGET)
    with pytest.raises(UsageError, match="networks of plain layers"):
        WeightGraphNetwork(weight_layout(grid), 2)
    _, rows, layout = fields(2)
    with pytest.raises(UsageError, match="2 rows of weights need as many targets, got 3"):
        learn_from_weights(rows, layout, torch.zeros(3))
