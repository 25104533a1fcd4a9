"""The public API: what ``__all__`` names exists, is documented, and is all that the documentation uses."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import trainwatt
from tests.support.import_graph import Tree
from tests.test_alone import WITHOUT

ROOT = Path(__file__).parents[1]
CORE = ("trainwatt", "trainwatt.export", "trainwatt.live", "trainwatt.testing")
PLUGINS = ("trainwatt_keras", "trainwatt_lightning", "trainwatt_transformers")
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("integrations/*/README.md"))]
API = "".join(page.read_text(encoding="utf-8") for page in sorted(ROOT.glob("docs/api/*.md")))
SENTENCE = (
    "The names in ``__all__`` of trainwatt, trainwatt.live, trainwatt.export, trainwatt.testing and of the plugins are "
    "public. Everything else is private and may change in any release."
)

CHECK = """
import importlib, inspect, os

def check(package, names):
    module = importlib.import_module(package)
    for name in names:
        value = getattr(module, name)
        doc = inspect.cleandoc(value.__doc__ or "")
        assert name == "__version__" or doc and not doc.startswith(f"{name}("), f"{name} has no docstring"

def in_a_fresh_process(package, names):
    if not (process := os.fork()):
        try:
            check(package, names)
            os._exit(0)
        except BaseException as error:
            print(f"{package}: {type(error).__name__}: {error}", flush=True)
            os._exit(1)
    return os.waitpid(process, 0)[1]
"""


def public(package: str) -> list[str]:
    """Read ``__all__`` without importing the package's framework."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    (names,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    return list(names)


def python(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("package", [*CORE, *PLUGINS])
def test_the_names_are_sorted(package: str) -> None:
    names = public(package)
    assert names == sorted(set(names))


@pytest.mark.parametrize("package", [*CORE, *(pytest.param(name, marks=pytest.mark.slow) for name in PLUGINS)])
def test_each_name_resolves_in_a_fresh_interpreter_and_has_a_docstring(package: str) -> None:
    names = public(package)
    # a plugin's framework takes seconds to import: all names in one process
    groups = [[name] for name in names] if package in CORE else [names]
    run = python(f"{CHECK}\nassert not any([in_a_fresh_process({package!r}, names) for names in {groups}])")
    assert run.returncode == 0, run.stdout + run.stderr


def test_each_name_is_lazy() -> None:
    assert set(trainwatt.__all__) == {"__version__", *trainwatt._HOMES}
    assert set(trainwatt.__all__) <= set(dir(trainwatt))
    code = "import sys, trainwatt; print(*(name for name in sys.modules if name.startswith(('trainwatt', 'numpy'))))"
    assert python(code).stdout.split() == ["trainwatt.version", "trainwatt"]


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(trainwatt, "nothing_of_the_kind")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("FootprintMonitor", ["FootprintMonitor", "FootprintMonitor", "FootprintCallback"]),
        ("FootprintCallback", ["FootprintMonitor", "FootprintMonitor", "FootprintCallback"]),
        ("GreenEarlyStopping", ["GreenEarlyStopping", "GreenEarlyStopping", "GreenEarlyStoppingCallback"]),
        ("GreenEarlyStoppingCallback", ["GreenEarlyStopping", "GreenEarlyStopping", "GreenEarlyStoppingCallback"]),
    ],
)
def test_a_class_of_a_plugin_is_not_looked_for_in_vain(name: str, expected: list[str]) -> None:
    with pytest.raises(ImportError, match=f"{name} is in the package of your framework: ") as caught:
        exec(f"from trainwatt import {name}")
    named = dict(re.findall(r"(trainwatt_\w+)\.(\w+)", str(caught.value)))
    assert [*named] == ["trainwatt_lightning", "trainwatt_keras", "trainwatt_transformers"]
    assert [*named.values()] == expected
    assert all(its_name in public(plugin) for plugin, its_name in named.items())
    assert name not in dir(trainwatt)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plugin", "absent"),
    [
        ("lightning", {"lightning", "pytorch_lightning"}),
        ("lightning", {"lightning", "pytorch_lightning", "torch"}),
        ("keras", {"keras"}),
        ("transformers", {"transformers"}),
        ("transformers", {"torch"}),
        ("transformers", {"accelerate"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(sorted(value)),
)
def test_a_plugin_without_its_framework_says_how_to_install_it(plugin: str, absent: set[str]) -> None:
    run = python(f"absent = {absent}\n{WITHOUT}\nimport trainwatt_{plugin}")
    last = run.stderr.splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert f'pip install "trainwatt[{plugin}]"' in last
    assert "ModuleNotFoundError" in run.stderr
    assert "direct cause" in run.stderr


def test_what_is_private_is_stated() -> None:
    assert SENTENCE in " ".join(str(trainwatt.__doc__).split())
    assert SENTENCE.replace("``", "`") in " ".join(API.split())
    for package in (*CORE, *PLUGINS):
        assert f"`{package}`" in API


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_documentation_uses_public_names_only(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    # inline code, but neither a role of Sphinx nor the name of a file
    blocks += re.findall(r"(?<![`}])`([^`\n]+)`(?!`)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    code = re.sub(r"trainwatt\.toml", "", "\n".join(blocks))
    known = {package: set(public(package)) for package in (*CORE, *PLUGINS)}
    known["trainwatt.errors"] = {"ArgumentError", "SourceError", "SourceLostError"}
    for package, names in re.findall(r"from (trainwatt[\w.]*) import ([\w, ]+)", code):
        assert set(names.split(", ")) <= known[package]
    for package in re.findall(r"^\s*import (trainwatt[\w.]*)", code, flags=re.MULTILINE):
        assert package in known
    modules = {package.partition(".")[2] for package in known}
    for package, name in re.findall(r"(?<![\w./-])(trainwatt(?:_\w+)?)\.(\w+)", code):
        assert name in known[package] | (modules if package == "trainwatt" else set()), f"{package}.{name}"


@pytest.mark.parametrize("package", [*CORE, *PLUGINS])
def test_the_reference_lists_each_name(package: str) -> None:
    if f".. automodule:: {package}\n" in API:
        return
    listed = set(re.findall(rf"^\.\. auto\w+:: {package}\.(\w+)$", API, flags=re.MULTILINE))
    assert set(public(package)) - {"__version__"} == listed - {"testing"}


def test_the_core_does_not_import_the_test_doubles() -> None:
    files = Tree.of(Path(trainwatt.__file__).parent).files()
    users = {name for name, targets in files.items() if any(each.startswith("trainwatt.testing") for each in targets)}
    assert {name for name in users if not name.startswith("trainwatt.testing")} == set()
