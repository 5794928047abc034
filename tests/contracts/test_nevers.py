"""The nevers of CONTRIBUTING.md, as far as a machine can keep them: one rule a function, over the syntax trees."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LONGEST_FILE, LONGEST_FUNCTION, MOST_PARAMETERS, MOST_ENTRIES = 500, 60, 12, 25
SMALLEST_PLAIN_NUMBER = 1e-5  # anything smaller needs a name or a comment


@dataclass(frozen=True)
class Module:
    """A source file and its syntax tree."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    def at(self, node: ast.AST, words: str) -> str:
        return f"{self.name}:{node.lineno}: {words}"

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        return (node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def parsed(text: str, name: str = "onefield/example.py") -> Module:
    """A module that is not on the disk, to try the rules on."""
    return Module(ROOT / name, text, ast.parse(text))


@pytest.fixture(scope="module")
def modules() -> list[Module]:
    return [parsed(path.read_text(), str(path.relative_to(ROOT))) for path in sorted((ROOT / "onefield").rglob("*.py"))]


def dotted(node: ast.AST) -> str:
    """``a.b.c`` of a name or attribute, else an empty text."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value)
        return f"{inner}.{node.attr}" if inner else node.attr
    return ""


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def decorators(node: ast.FunctionDef | ast.ClassDef) -> list[str]:
    return [dotted(d.func if isinstance(d, ast.Call) else d) for d in node.decorator_list]


def documentation(tree: ast.Module) -> set[int]:
    """Identities of the nodes that are docstrings."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                found.add(id(first.value))
    return found


def long_file(module: Module) -> Iterator[str]:
    lines = module.text.count("\n")
    if lines > LONGEST_FILE and not module.path.stem.endswith("_tables"):  # tables that a program derived
        yield f"{module.name}: {lines} lines, more than {LONGEST_FILE}"


def long_function(module: Module) -> Iterator[str]:
    for node in module.functions():
        lines = node.end_lineno - node.lineno + 1
        if lines > LONGEST_FUNCTION:
            yield module.at(node, f"{node.name} has {lines} lines, more than {LONGEST_FUNCTION}")


def many_parameters(module: Module) -> Iterator[str]:
    for node in module.functions():
        names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        count = len([name for name in names if name not in ("self", "cls")])
        if count > MOST_PARAMETERS and not node.name.startswith("_") and not compiled(node):
            yield module.at(node, f"{node.name} has {count} parameters, more than {MOST_PARAMETERS}")


def compiled(node: ast.FunctionDef) -> bool:
    """Kernels take what the hardware wants; their callers are what people call."""
    return any(name.rpartition(".")[2] in ("njit", "jit") for name in decorators(node))


def large_record(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef) and any(name.endswith("dataclass") for name in decorators(node)):
            entries = sum(isinstance(item, ast.AnnAssign) for item in node.body)
            if entries > MOST_ENTRIES:
                yield module.at(node, f"{node.name} has {entries} entries, more than {MOST_ENTRIES}")


def asks_for_attributes(module: Module) -> Iterator[str]:
    for node in calls(module.tree):
        if dotted(node.func) == "hasattr":
            yield module.at(node, "hasattr: name what is wanted in a protocol or a base class")


def imports_everything(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            yield module.at(node, "star import")


PURE = re.compile(
    r"""frozenset|tuple|float|int|len|range|max|min|round|sorted|dict|set|enumerate|zip|dataclasses\.field|field|
    re\.compile|logging\.getLogger|torch\.finfo|math\.\w+|np\.(?!load|save|random)\w+|tl\.constexpr|
    .*\.(values|items|keys|split|tolist)|(.*\.)?(njit|jit)|(.*\.)?_?[A-Z]\w*""",
    re.VERBOSE,
)  # the last: constructors
SETTLES_THE_KERNEL_CACHE = ("onefield/kernels/cpu/__init__.py", ("configure_cache", "prefer_openmp"))


MEANT_FOR_OTHERS = ("TYPE_CHECKING", "__name__ == '__main__'")


def acts_at_import(module: Module) -> Iterator[str]:
    """At module level: definitions, and constants made by constructors, pure functions or functions of the module."""
    own = {node.name for node in module.tree.body if isinstance(node, ast.FunctionDef)}
    for statement in module.tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef):
            continue
        if isinstance(statement, ast.If) and ast.unparse(statement.test) in MEANT_FOR_OTHERS:
            continue
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            called = dotted(statement.value.func)
            file, allowed = SETTLES_THE_KERNEL_CACHE
            if called.endswith(".register_autograd") or (module.name == file and called in allowed):
                continue
        if not isinstance(statement, ast.Assign | ast.AnnAssign):
            yield module.at(statement, f"a statement runs at import: {ast.unparse(statement)[:60]}")
            continue
        for call in calls_made_now(statement):
            name = dotted(call.func)
            if not PURE.fullmatch(name) and name not in own:
                yield module.at(call, f"'{name}' is called at import")


def calls_made_now(node: ast.AST) -> Iterator[ast.Call]:
    """Calls in an expression, but for those inside lambdas, which happen later."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Lambda):
            continue
        if isinstance(child, ast.Call):
            yield child
        yield from calls_made_now(child)


MUTATORS = frozenset(
    {
        "append", "extend", "insert", "add", "update", "setdefault", "pop", "popitem", "remove", "discard", "clear",
        "sort",
    }
)  # fmt: skip


def changes_globals(module: Module) -> Iterator[str]:
    """Module-level names are constants: no function rebinds or changes them."""
    constants = set()
    for statement in module.tree.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        constants |= {target.id for target in targets if isinstance(target, ast.Name)}
    for function in module.functions():
        names = [node for node in ast.walk(function) if isinstance(node, ast.Name)]
        local = {name.id for name in names if isinstance(name.ctx, ast.Store)}
        local |= {argument.arg for argument in ast.walk(function) if isinstance(argument, ast.arg)}
        shared = constants - local
        for node in ast.walk(function):
            if isinstance(node, ast.Global):
                yield module.at(node, f"global {', '.join(node.names)}")
            written = isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del)
            if written and isinstance(node.value, ast.Name) and node.value.id in shared:
                yield module.at(node, f"{node.value.id} is changed after import")
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
                owner = node.func.value
                if isinstance(owner, ast.Name) and owner.id in shared:
                    yield module.at(node, f"{owner.id} is changed after import")


def passes_anything(module: Module) -> Iterator[str]:
    for node in module.functions():
        if node.args.kwarg is not None and not node.name.startswith("_"):
            yield module.at(node, f"{node.name} takes **{node.args.kwarg.arg}: name the parameters")


def moves_to_a_device(module: Module) -> Iterator[str]:
    for node in calls(module.tree):
        if isinstance(node.func, ast.Attribute) and node.func.attr == "cuda":
            yield module.at(node, ".cuda(): the device follows the inputs")


BACKENDS = re.compile(r"(?<![a-z])(cuda|triton|numba)(?![a-z])", re.IGNORECASE)
REPORTS_ON_BACKENDS = ("onefield/kernels/", "onefield/tools/doctor.py")


def names_a_backend(module: Module) -> Iterator[str]:
    if module.name.startswith(REPORTS_ON_BACKENDS):
        return
    prose = documentation(module.tree)
    for node in ast.walk(module.tree):
        words = {
            ast.Name: lambda n: n.id,
            ast.Attribute: lambda n: n.attr,
            ast.alias: lambda n: n.name,
            ast.arg: lambda n: n.arg,
            ast.ImportFrom: lambda n: n.module or "",
            ast.FunctionDef: lambda n: n.name,
            ast.Constant: lambda n: n.value if isinstance(n.value, str) and id(n) not in prose else "",
        }.get(type(node), lambda n: "")(node)
        if BACKENDS.search(words):
            yield module.at(node, f"'{words[:50]}' names a backend outside onefield/kernels")


UNSAFE_MODULES = frozenset({"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"})
UNSAFE_CALLS = frozenset(
    {
        "torch.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "pickle.load", "eval", "exec",
    }
)  # fmt: skip
NETWORK_MODULES = frozenset({"requests", "urllib.request", "http.client", "ftplib", "urllib3"})


def runs_foreign_code(module: Module) -> Iterator[str]:
    for name, node in imported(module):
        if name.partition(".")[0] in UNSAFE_MODULES:
            yield module.at(node, f"import of {name}: nothing is ever unpickled")
    for node in calls(module.tree):
        allowed_pickle = any(
            k.arg == "allow_pickle" and not (isinstance(k.value, ast.Constant) and k.value.value is False)
            for k in node.keywords
        )
        if dotted(node.func) in UNSAFE_CALLS or allowed_pickle:
            yield module.at(node, f"{ast.unparse(node)[:60]} can run foreign code")


def imported(module: Module) -> Iterator[tuple[str, ast.AST]]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module}.{alias.name}", node) for alias in node.names)


def downloads(module: Module) -> Iterator[str]:
    for name, node in imported(module):
        if any(name == unsafe or name.startswith(f"{unsafe}.") for unsafe in NETWORK_MODULES):
            yield module.at(node, f"import of {name}: nothing is downloaded")


def says_nothing(module: Module) -> Iterator[str]:
    if module.path.stem in ("utils", "helpers", "misc", "common", "util", "helper"):
        yield f"{module.name}: a module's name says what is in it"


def undocumented(module: Module) -> Iterator[str]:
    """Public functions and classes of a module have a docstring; so has the module, if there is anything in it."""
    if module.tree.body and ast.get_docstring(module.tree) is None:
        yield f"{module.name}:1: no docstring"
    for node in module.tree.body:
        is_public = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        if is_public and ast.get_docstring(node) is None:
            yield module.at(node, f"{node.name} has no docstring")


def untyped(module: Module) -> Iterator[str]:
    for node in public_functions(module.tree):
        arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        bare = [a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")]
        if node.returns is None and node.name != "__init__":
            bare.append("its result")
        if bare and not compiled(node) and "staticmethod autograd" not in " ".join(decorators(node)):
            yield module.at(node, f"{node.name} says no type for {', '.join(bare)}")


def public_functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for item in node.body:
                if isinstance(item, ast.FunctionDef) and (item.name == "__init__" or not item.name.startswith("_")):
                    yield item


def unexplained_number(module: Module) -> Iterator[str]:
    """A tiny number inside a function is a clamp or an epsilon: it has a name, or a comment on its line or above."""
    lines = module.text.splitlines()
    reported = set()
    for function in module.functions():
        named = {id(word.value) for word in ast.walk(function) if isinstance(word, ast.keyword)}
        for statement in function.body:
            for node in ast.walk(statement):
                if not (isinstance(node, ast.Constant) and isinstance(node.value, float)):
                    continue
                tiny = 0 < abs(node.value) < SMALLEST_PLAIN_NUMBER and id(node) not in named
                near = lines[max(0, node.lineno - 2) : node.lineno]
                if tiny and node.lineno not in reported and not any("#" in line for line in near):
                    reported.add(node.lineno)
                    yield module.at(node, f"{node.value:g} has neither a name nor a reason")


KEEPS_NOTHING = frozenset({"forward", "query", "_evaluate", "render", "render_image"})


def remembers_the_last_call(module: Module) -> Iterator[str]:
    for function in module.functions():
        if function.name in KEEPS_NOTHING:
            for node in ast.walk(function):
                stored = isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
                if stored and isinstance(node.value, ast.Name) and node.value.id == "self":
                    yield module.at(node, f"{function.name} keeps self.{node.attr} of the last call")


RULES = [
    long_file, long_function, many_parameters, large_record, asks_for_attributes, imports_everything, acts_at_import,
    changes_globals, passes_anything, moves_to_a_device, names_a_backend, runs_foreign_code, downloads, says_nothing,
    undocumented, untyped, unexplained_number, remembers_the_last_call,
]  # fmt: skip


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_no_module_breaks(modules, rule):
    broken = [line for module in modules for line in rule(module)]
    assert not broken, "\n" + "\n".join(broken)


EXAMPLES = {
    long_file: '"""."""\n' + "x = 1\n" * 501,
    long_function: "def f():\n" + "    x = 1\n" * 61,
    many_parameters: f"def f({', '.join('abcdefghijklm')}): ...",
    large_record: "@dataclass(frozen=True)\nclass C:\n" + "".join(f"    x{i}: int\n" for i in range(26)),
    asks_for_attributes: "if hasattr(x, 'y'): ...",
    imports_everything: "from os import *",
    acts_at_import: "X = open('file')",
    changes_globals: "CACHE = {}\ndef f():\n    CACHE['x'] = 1",
    passes_anything: "def f(**options): ...",
    moves_to_a_device: "x.cuda()",
    names_a_backend: "torch.zeros(3, device='cuda:0')",
    runs_foreign_code: "import numpy as np\nnp.load('x', allow_pickle=True)",
    downloads: "from urllib import request",
    says_nothing: "",
    undocumented: '"""."""\ndef f(): ...',
    untyped: "def f(x) -> int: ...",
    unexplained_number: "def f(x):\n    return x + 1e-8",
    remembers_the_last_call: "class C:\n    def forward(self, x):\n        self.x = x",
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_rule_catches(rule):
    name = "onefield/utils.py" if rule is says_nothing else "onefield/example.py"
    assert list(rule(parsed(EXAMPLES[rule], name)))


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (acts_at_import, "x = logging.getLogger('a')\nTABLE = {'a': lambda: open('x')}\nP = Point(1, 2)"),
        (changes_globals, "T = {'a': 1}\ndef f(T):\n    T['a'] = 2\ndef g():\n    x = {}\n    x['a'] = T"),
        (names_a_backend, '"""Runs on cuda."""\nx = "cudart"'),
        (unexplained_number, "LEAST = 1e-8\ndef f(x, least=1e-9):\n    # for the root's slope\n    return x + 1e-8"),
        (runs_foreign_code, "np.load('x', allow_pickle=False)\nyaml.safe_load('x')"),
        (remembers_the_last_call, "class C:\n    def __init__(self):\n        self.x = 1"),
    ],
)
def test_the_rule_lets_pass(rule, text):
    assert not list(rule(parsed(text)))


def test_ruff_finds_nothing():
    command = [sys.executable, "-m", "ruff", "check", "--quiet", "--output-format=concise", "."]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
