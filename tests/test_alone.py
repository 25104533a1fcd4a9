"""Each plugin works in an environment that has no framework but its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.test_readme import BEFORE, ROOT, TEN_LINES

FRAMEWORKS = {"torch", "lightning", "pytorch_lightning", "keras", "tensorflow", "transformers", "jax", "accelerate"}
REPORTERS = {"mlflow", "peft", "sklearn", "tensorboard", "wandb"}
WITHOUT = """
import sys

class Without:
    '''Finds what another finder does, but for some packages, which seem not to be installed.'''

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, *args):
        return None if name.partition(".")[0] in absent else self.finder.find_spec(name, *args)

    def find_distributions(self, context):
        return [] if context.name in absent else self.finder.find_distributions(context)

sys.meta_path = [Without(finder) if hasattr(finder, 'find_distributions') else finder for finder in sys.meta_path]
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plugin", "present"),
    [
        ("trainwatt_lightning", {"lightning", "torch"}),
        ("trainwatt_keras", {"keras", "tensorflow"}),
        ("trainwatt_keras", {"keras", "torch"}),
        ("trainwatt_keras", {"keras", "jax"}),
        ("trainwatt_transformers", {"transformers", "torch", "accelerate"}),
        ("trainwatt", set()),
    ],
    ids=lambda value: "-".join(sorted(value)) if isinstance(value, set) else None,
)
def test_a_training_is_measured_where_other_frameworks_are_absent(
    plugin: str, present: set[str], tmp_path: Path
) -> None:
    lines = dict(zip(BEFORE, TEN_LINES, strict=True))[plugin]
    absent = f"absent = {(FRAMEWORKS | REPORTERS) - present}\n"
    variables = {
        "KERAS_BACKEND": "".join(present - {"keras"}),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    command = [sys.executable, "-W", "ignore", "-c", absent + WITHOUT + BEFORE[plugin] + lines]
    run = subprocess.run(
        command, cwd=tmp_path, env=os.environ | variables, capture_output=True, text=True, check=False, timeout=300
    )
    assert run.returncode == 0, run.stderr
    assert "run folder: footprint" in run.stdout
