"""The house: which room may import which, and how a file in it looks."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("lightning_gen", "datamodules", "callbacks", "benchmarks")
MODULES = {
    "levels",
    "capabilities",
    "randomness",
    "optimizers",
    "tracking",
    "files",
    "checkpoints",
    "scores",
    "settings",
    "secrets",
    "stopping",
    "_torchvision",
}
ALLOWED = {  # room: what it may import of ours, itself included
    "lightning_gen/nn": {"lightning_gen.nn"},
    "lightning_gen/losses": {"lightning_gen.losses"},
    "lightning_gen/networks": {"lightning_gen.networks", "lightning_gen.nn"},
    "lightning_gen/models": {
        "lightning_gen.models",
        "lightning_gen.nn",
        "lightning_gen.losses",
        *(f"lightning_gen.{name}" for name in MODULES),
    },
    "lightning_gen/metrics": {
        "lightning_gen.metrics",
        *(f"lightning_gen.{name}" for name in MODULES - {"optimizers"}),
    },
    "lightning_gen/analysis": {
        "lightning_gen.analysis",
        "lightning_gen.capabilities",
        "lightning_gen.metrics",
    },
    "lightning_gen/compare": {
        "lightning_gen.compare",
        *(f"lightning_gen.{name}" for name in MODULES - {"optimizers"}),
    },
    "lightning_gen/suites": {
        "lightning_gen.suites",
        "lightning_gen.compare",
        *(f"lightning_gen.{name}" for name in MODULES - {"optimizers"}),
    },
    "datamodules": {
        "datamodules",
        *(f"lightning_gen.{name}" for name in ("_torchvision", "randomness", "files")),
    },
    "callbacks": {
        "callbacks",
        "lightning_gen.analysis",
        "lightning_gen.metrics",
        *(f"lightning_gen.{name}" for name in MODULES - {"optimizers"}),
    },
}


def imports(path: Path) -> set[str]:
    """The modules of ours that a file imports, by absolute name."""
    parts, names = path.relative_to(ROOT).with_suffix("").parts, set()
    package = parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            stem = ".".join([*base, *([node.module] if node.module else [])])
            names |= {f"{stem}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] in OURS}


@pytest.mark.parametrize("room", ALLOWED)
def test_imports_point_one_way(room):
    for path in (ROOT / room).rglob("*.py"):
        bad = {
            name
            for name in imports(path)
            if not any(f"{name}.".startswith(f"{allowed}.") for allowed in ALLOWED[room])
        }
        assert not bad, f"{path.relative_to(ROOT)} imports {sorted(bad)}"


def test_the_base_vocabulary_imports_nothing_above_it():
    for name in MODULES:
        for found in imports(ROOT / "lightning_gen" / f"{name}.py"):
            assert found.split(".")[1] in MODULES, f"{name} imports {found}"


def test_the_torchvision_mend_comes_before_lightning():
    """Every package that imports pytorch_lightning mends torchvision first."""
    for package in ("callbacks", "datamodules", "lightning_gen/models", "lightning_gen/metrics"):
        text = (ROOT / package / "__init__.py").read_text()
        first = next(
            node for node in ast.parse(text).body if isinstance(node, ast.Import | ast.ImportFrom)
        )
        assert "_torchvision" in ast.unparse(first), f"{package} does not mend torchvision first"


def sources() -> list[Path]:
    return [p for room in OURS[:3] for p in sorted((ROOT / room).rglob("*.py"))]


def test_every_file_says_what_it_is():
    for path in sources():
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree) or not tree.body, f"{path} has no docstring"


def test_files_and_functions_are_short():
    for path in sources():
        text = path.read_text()
        assert text.count("\n") <= 310, f"{path} has {text.count(chr(10))} lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
                assert lines <= 45, f"{path}: {node.name} has {lines} lines"


def code_lines(path: Path) -> int:
    """Lines of a file that are neither empty nor of docstrings."""
    text, said = path.read_text(), set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            said |= {*range(node.body[0].lineno, node.body[0].end_lineno + 1)}
    return sum(bool(line.strip()) and i not in said for i, line in enumerate(text.split("\n"), 1))


ROOMS = ("autoencoders", "autoregressive", "energy", "flows", "gans")  # of models


def test_models_are_short_enough_to_be_read_beside_their_papers():
    models = ROOT / "lightning_gen" / "models"
    files = [path for room in ROOMS for path in models.glob(f"{room}/*")]
    files = [path for path in files if path.suffix == ".py" and path.name != "base.py"]
    for path in (*files, models / "heads.py", models / "logistic_mixture.py"):
        assert code_lines(path) < 100, f"{path} has {code_lines(path)} lines"


def test_models_leave_the_framework_to_their_bases():
    for path in (ROOT / "lightning_gen" / "models").glob("*/*.py"):
        text = path.read_text()
        for word in ("self.optimizers(", ".backward(", ".cuda(", "rank == 0", "manual_backward"):
            assert word not in text, f"{path} has {word}"


def test_nothing_is_swallowed_and_nothing_unsafe_is_loaded():
    for path in sources():
        text = path.read_text()
        for word in ("weights_only=False", "yaml.load(", 'eval("', "shell=True"):
            assert word not in text, f"{path} has {word}"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ExceptHandler):
                passes = len(node.body) == 1 and isinstance(node.body[0], ast.Pass)
                broad = node.type is None or ast.unparse(node.type) in (
                    "Exception",
                    "BaseException",
                )
                assert not (passes and broad), f"{path}:{node.lineno} swallows every error"
