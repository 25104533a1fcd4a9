"""Imports point down only."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import trainwatt

ROOT = Path(trainwatt.__file__).parent
FLOORS = {
    "units": 0,
    "clock": 0,
    "errors": 0,
    "check": 0,
    "about": 0,
    "power": 1,
    "live": 1,
    "site": 1,
    "series": 2,
    "refresh": 2,
    "reader": 2,
    "track": 2,
    "sampler": 2,
    "timeline": 2,
    "ledger": 2,
    "powercurve": 2,
    "attempt": 3,
    "hourly": 3,
    "footprint": 3,
    "lifetime": 3,
    "profile": 2,
    "plan": 3,
    "warmup": 3,
    "projection": 3,
    "projector": 5,
    "stopping": 3,
    "schedule": 3,
    "shard": 3,
    "merging": 3,
    "processes": 2,
    "together": 5,
    "neighbours": 5,
    "jobs": 5,
    "report": 4,
    "text": 4,
    "bar": 4,
    "digest": 4,
    "notebook": 4,
    "estimate": 4,
    "record": 5,
    "harmless": 5,
    "recording": 5,
    "sessions": 5,
    "ending": 5,
    "summary": 4,
    "recorded": 5,
    "attach": 5,
    "trackers": 5,
    "comparison": 5,
    "terminal": 5,
    "export": 5,
    "html": 5,
    "settings": 5,
    "session": 5,
    "run": 5,
    "green": 5,
    "doctor": 5,
    "cli": 6,
    "__main__": 6,
}
FRAMEWORKS = {"torch", "lightning", "pytorch_lightning", "keras", "tensorflow", "transformers", "jax"}


def modules() -> list[Path]:
    return [path for path in sorted(ROOT.rglob("*.py")) if path != ROOT / "__init__.py"]


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def floor_of(name: str) -> int:
    return FLOORS[name.split(".")[1]]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_nothing_from_above(path: Path) -> None:
    own = FLOORS[path.relative_to(ROOT).parts[0].removesuffix(".py")]
    ours = [name for name in imported(path) if name.startswith("trainwatt.") and name != "trainwatt.__version__"]
    assert [name for name in ours if floor_of(name) > own] == []
    assert {name.split(".")[0] for name in imported(path)} & FRAMEWORKS == set()


def test_importing_the_core_imports_no_framework_and_no_plugin() -> None:
    modules = ", ".join(f"trainwatt.{name}" for name in FLOORS if name != "__main__")
    code = f"import sys, {modules}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in run.stdout.split()}
    assert loaded & (FRAMEWORKS | {"trainwatt_lightning", "trainwatt_keras", "trainwatt_transformers"}) == set()


@pytest.mark.parametrize(
    ("plugin", "own"),
    [
        ("trainwatt_lightning", "lightning.pytorch"),
        ("trainwatt_keras", "keras"),
        ("trainwatt_transformers", "transformers.Trainer"),
    ],
)
def test_importing_a_plugin_imports_no_framework_but_its_own(plugin: str, own: str) -> None:
    """What the framework itself brings along is its own affair."""
    module, _, name = own.rpartition(".")
    frameworks = []
    for line in (f"from {module} import {name}" if module else f"import {name}", f"import {plugin}"):
        code = f"import sys\n{line}\nprint(*sys.modules)"
        run = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
        frameworks.append({name.split(".")[0] for name in run.stdout.splitlines()[-1].split()} & FRAMEWORKS)
    assert frameworks[1] <= frameworks[0]


def test_a_plugin_is_typed_for_its_users() -> None:
    for package in ("trainwatt", "trainwatt_lightning", "trainwatt_keras", "trainwatt_transformers"):
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        assert (Path(spec.origin).parent / "py.typed").exists()
