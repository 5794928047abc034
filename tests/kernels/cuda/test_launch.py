"""Every Triton kernel is launched on the card of its tensors, which need not be the current one."""

import ast
from pathlib import Path

import pytest

import onefield.kernels

MODULES = sorted((Path(onefield.kernels.__path__[0]) / "cuda").glob("[a-z]*.py"))


def launches(tree: ast.AST) -> set[int]:
    """Lines of ``kernel[grid](...)``."""
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Subscript))
    return {call.lineno for call in calls}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_kernels_are_launched_on_the_card_of_their_tensors(module):
    tree = ast.parse(module.read_text())
    chosen = [node for node in ast.walk(tree) if isinstance(node, ast.With) and "on_device" in ast.unparse(node.items)]
    assert launches(tree) == set().union(*(launches(node) for node in chosen))
    assert module.stem == "launch" or launches(tree)
