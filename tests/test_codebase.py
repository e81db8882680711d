"""Tests of the code base itself: the version, the stub, and what the wheel ships."""

import ast
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import lstmcore
from lstmcore import _core

ROOT = Path(__file__).parent.parent
PACKAGE = Path(lstmcore.__file__).parent


def test_version_comes_from_one_place() -> None:
    header = (ROOT / "include/lstmcore/version.h").read_text()
    version = re.search(r'LSTMCORE_VERSION "(.+)"', header)[1]
    assert lstmcore.__version__ == _core.__version__ == version
    assert importlib.metadata.version("lstmcore") == version
    places = subprocess.run(
        [
            "git",
            "grep",
            "-lF",
            f'"{version}"',
            "--",
            ":!CHANGELOG.md",
            ":!*.lock",
            ":!bench/results",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if places.returncode in (0, 1):  # a source tree without git has nothing to search
        assert places.stdout.split() == ["include/lstmcore/version.h"]


def stub_names(tree: ast.AST) -> set[str]:
    return {
        node.name if isinstance(node, ast.FunctionDef | ast.ClassDef) else node.target.id
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AnnAssign)
    }


def test_stub_of_the_native_module_is_in_sync() -> None:
    stub = ast.parse((PACKAGE / "_core.pyi").read_text())
    native = {name for name in dir(_core) if not name.startswith("_") or name == "__version__"}
    assert stub_names(stub) == native
    lstm = next(node for node in stub.body if isinstance(node, ast.ClassDef))
    methods = {name for name in dir(_core.Lstm) if not name.startswith("_")}
    assert stub_names(lstm) - {"__init__"} == methods
    for node in lstm.body:
        if node.name in methods and not node.decorator_list:
            documented = getattr(_core.Lstm, node.name).__doc__
            arguments = node.args.args[1:] + node.args.kwonlyargs
            assert [a.arg for a in arguments] == re.findall(
                r"(\w+):(?= )", documented.split(") ->")[0]
            )[1:]


def test_only_numpy_is_imported() -> None:
    code = "import sys, lstmcore; print(*{name.split('.')[0] for name in sys.modules})"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    foreign = set(out.stdout.split()) - set(sys.stdlib_module_names)
    assert {"lstmcore", "numpy"} <= foreign
    assert not foreign & {"tensorflow", "torch", "scipy", "rich", "h5py", "ml_dtypes", "hypothesis"}


def test_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").exists()


def test_every_test_file_is_sanitized_or_has_a_reason() -> None:
    listed = {}
    for line in (ROOT / "tests/sanitized.txt").read_text().splitlines():
        if not line.startswith("#"):
            name, choice, *reason = line.split(maxsplit=2)
            assert name not in listed
            assert choice == "yes" or (choice == "no" and reason), line
            listed[name] = choice
    assert listed.keys() == {path.name for path in (ROOT / "tests").glob("test_*.py")}
    assert "yes" in listed.values()
