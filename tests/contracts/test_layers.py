"""Who may import whom, and that every kernel has its reference, its twins and its test."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from onefield.kernels.system import describe_operations

ROOT = Path(__file__).resolve().parents[2]
KERNEL = re.compile(r"onefield\.kernels\.(cpu|cuda)\.(\w+):(\w+)")


def lint(*arguments):
    program = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", program, "--no-cache", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_the_layers_are_kept():
    finished = lint()
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "1 kept, 0 broken" in finished.stdout


def test_importing_the_package_loads_nothing_heavy():
    """``--help`` answers at once."""
    program = (
        "import sys, onefield.tools.main\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'torch', 'numba', 'scipy', 'trimesh'}))"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout == "[]\n"


def test_every_operation_has_a_kernel_for_the_cpu():
    assert [operation.name for operation in describe_operations() if "cpu" not in operation.devices] == []


def modules_with_operations():
    return [path for path in sorted((ROOT / "onefield" / "kernels").glob("*.py")) if "= Operation(" in path.read_text()]


@pytest.mark.parametrize("module", modules_with_operations(), ids=lambda path: path.stem)
def test_every_operation_is_tested_and_its_kernels_exist(module):
    """The kernels are imported late, so that a name that is spelled wrong would show on the first call only."""
    assert (ROOT / "tests" / "kernels" / f"test_{module.stem}.py").is_file()
    for device, file, function in KERNEL.findall(module.read_text()):
        tree = ast.parse((ROOT / "onefield" / "kernels" / device / f"{file}.py").read_text())
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
