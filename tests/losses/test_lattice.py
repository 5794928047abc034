import torch

from onefield.losses.lattice import cell_gradients, squared_derivatives

SPACING = (0.1, 0.2, 0.25)


def lattice(function, *shape):
    axes = [step * torch.arange(count, dtype=torch.float64) for step, count in zip(SPACING, shape, strict=True)]
    return function(*torch.meshgrid(*axes, indexing="ij"))


def test_second_derivatives_of_a_quadric_are_its_hessian():
    values = lattice(lambda x, y, z: x * x + 3 * x * y - 2 * z * z + 5 * x + 7, 6, 5, 7)
    expected = 2.0**2 + 2 * 3.0**2 + 4.0**2
    torch.testing.assert_close(squared_derivatives(values, SPACING, 2), torch.tensor(expected).double())
    assert squared_derivatives(values, SPACING, 3) < 1e-15


def test_a_mixed_third_derivative_counts_for_all_its_arrangements():
    values = lattice(lambda x, y, z: x * y * z + x * x * y, 5, 5, 5)
    torch.testing.assert_close(squared_derivatives(values, SPACING, 3), torch.tensor(6.0 + 3 * 4.0).double())


def test_weights_are_those_of_the_first_vertex():
    values = lattice(lambda x, y, z: x * x, 5, 4, 4)
    weights = torch.zeros_like(values)
    weights[0] = 1
    # one of the three second differences along x counts
    torch.testing.assert_close(squared_derivatives(values, SPACING, 2, weights), torch.tensor(4.0 / 3).double())


def test_gradients_of_a_product_are_exact_in_the_middle_of_cells():
    values = lattice(lambda x, y, z: x * y + 2 * z, 4, 5, 6)
    gradients = cell_gradients(values, SPACING)
    middles = lattice(lambda x, y, z: torch.stack([y + 0.1, x + 0.05, 2 + 0 * z]), 4, 5, 6)[:, :-1, :-1, :-1]
    torch.testing.assert_close(gradients, middles)
