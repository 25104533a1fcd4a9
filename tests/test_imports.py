"""Imports point down only: no circle among files or folders, and CONTRIBUTING shows the floors as they are."""

from __future__ import annotations

import ast
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import trainwatt
from tests.support.import_graph import Tree, circles, flattest, floors, imported, table

CORE = Path(trainwatt.__file__).parent
PLUGINS = ("trainwatt_lightning", "trainwatt_keras", "trainwatt_transformers", "trainwatt_torch")
FRAMEWORKS = {"torch", "lightning", "pytorch_lightning", "keras", "tensorflow", "transformers", "jax"}
CONTRIBUTING = Path(__file__).parents[1] / "CONTRIBUTING.md"


def package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def house() -> Tree:
    return Tree.of(CORE, single=map(package, PLUGINS))


def test_no_circle_among_files() -> None:
    assert circles(house().files()) == []


def test_no_circle_among_folders_and_contributing_shows_the_floors() -> None:
    folders = house().folders()
    assert circles(folders) == []
    shown = table(floors(folders))
    print(shown)
    between = re.search(
        r"<!-- floors -->\n(.*?)\n<!-- /floors -->", CONTRIBUTING.read_text(encoding="utf-8"), re.DOTALL
    )
    assert between is not None
    assert between[1] == shown


@pytest.mark.parametrize("path", sorted(CORE.rglob("*.py")), ids=lambda path: str(path.relative_to(CORE)))
def test_the_core_imports_no_framework_and_no_plugin(path: Path) -> None:
    assert imported(path) & (FRAMEWORKS | set(PLUGINS)) == set()


def test_every_module_of_the_core_needs_only_what_the_core_depends_on() -> None:
    needed = {"trainwatt", "numpy", "nvidia", "pynvml", "psutil", "tomli"}
    program = f"""
import importlib, pkgutil, sys

class Bare:
    def find_spec(name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in {needed}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Bare)
import trainwatt
for each in pkgutil.walk_packages(trainwatt.__path__, "trainwatt."):
    if not each.name.endswith("__main__"):
        importlib.import_module(each.name)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]


# the test is tested: each of these makes a circle in a copy of the sources


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("units", "import trainwatt"),
        ("units", "from trainwatt import Site"),
        ("clock", "def later():\n    from trainwatt.sampling.sampler import Sampler"),
        ("errors", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from trainwatt.site import Site"),
        ("records.run_folder", "def show(folder):\n    from trainwatt.reporting.html import write_report"),
        ("power.device", "from importlib import import_module\nimport_module('trainwatt.tracking.session')"),
    ],
)
def test_a_planted_circle_is_found(module: str, line: str, tmp_path: Path) -> None:
    copy = tmp_path / "trainwatt"
    shutil.copytree(CORE, copy)
    assert circles(Tree.of(copy).folders()) == []
    file = copy / f"{module.replace('.', '/')}.py"
    file.write_text(file.read_text(encoding="utf-8") + f"\n\n{line}\n", encoding="utf-8")
    found = circles(Tree.of(copy).files()) + circles(Tree.of(copy).folders())
    assert any(f"trainwatt.{module}".startswith(name.removesuffix("/")) for circle in found for name in circle)


def test_a_circle_between_two_folders_is_found_where_no_two_files_make_one(tmp_path: Path) -> None:
    for name, text in {
        "house/__init__.py": "",
        "house/up/__init__.py": "",
        "house/up/view.py": "from house.down.base import x",
        "house/up/base.py": "",
        "house/down/__init__.py": "",
        "house/down/base.py": "",
        "house/down/other.py": "from ..up import base",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    tree = Tree.of(tmp_path / "house")
    assert circles(tree.files()) == []
    assert circles(tree.folders()) == [["house.down/", "house.up/"]]


# at run time


def modules_after(code: str) -> set[str]:
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"import sys\n{code}\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(run.stdout.splitlines()[-1].split())


def test_a_leaf_loads_nothing_but_itself() -> None:
    loaded = modules_after("import trainwatt.units")
    assert {name for name in loaded if name.startswith("trainwatt")} == {
        "trainwatt",
        "trainwatt.units",
        "trainwatt.version",
    }
    assert "numpy" not in loaded


def test_importing_all_of_the_core_imports_no_framework_and_no_plugin() -> None:
    names = ", ".join(name for name in Tree.of(CORE).modules if name != "trainwatt.__main__")
    loaded = {name.split(".")[0] for name in modules_after(f"import {names}")}
    assert loaded & (FRAMEWORKS | set(PLUGINS)) == set()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plugin", "own"),
    [
        ("trainwatt_lightning", "from lightning import pytorch"),
        ("trainwatt_keras", "import keras"),
        ("trainwatt_transformers", "from transformers import Trainer"),
    ],
)
def test_importing_a_plugin_imports_no_framework_but_its_own(plugin: str, own: str) -> None:
    """What the framework itself brings along is its own affair."""
    before, after = ({name.split(".")[0] for name in modules_after(line)} for line in (own, f"{own}\nimport {plugin}"))
    assert after & FRAMEWORKS <= before & FRAMEWORKS


def test_the_lazy_names_are_where_the_types_say() -> None:
    tree = ast.parse((CORE / "__init__.py").read_text(encoding="utf-8"))
    typed = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "trainwatt"
        for alias in node.names
        if alias.name != "__version__"
    }
    assert typed == trainwatt._HOMES


def test_a_plugin_is_typed_for_its_users() -> None:
    for name in ("trainwatt", *PLUGINS):
        assert (package(name) / "py.typed").exists()


def test_no_folder_is_flatter_than_agreed() -> None:
    tree = house()
    folder, count = flattest(tree.modules, tree)
    print(f"flattest folder: {folder} with {count} modules")
    assert count <= 12
