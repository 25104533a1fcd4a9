"""Examples and claims of the README, checked."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TEN_LINES = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)[:4]
BEFORE = {
    "trainwatt_lightning": """
from tests.lightning.training import Classifier, Data
model, datamodule = Classifier(), Data()
""",
    "trainwatt_keras": """
from tests.keras.training import classifier, points
model, (x, y) = classifier(), points(8)
""",
    "trainwatt_transformers": """
from transformers import TrainingArguments
from tests.transformers.training import model, sentences
model, data = model(), sentences(6)
args = TrainingArguments("trainer", use_cpu=True, report_to="none", save_strategy="no", num_train_epochs=2)
""",
    "trainwatt": """
batches = range(3)
train_step, evaluate = (lambda batch: None), (lambda: None)
""",
}


@pytest.mark.slow
@pytest.mark.parametrize("lines", TEN_LINES, ids=list(BEFORE))
def test_the_ten_lines_run(lines: str, tmp_path: Path) -> None:
    assert len(lines.splitlines()) <= 10
    package = re.findall(r"(?:from|import) (trainwatt\w*)", lines)[0]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BEFORE[package] + lines],
        env=os.environ | {"PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "run folder: footprint" in run.stdout


def test_green_stopping_is_as_it_says() -> None:
    pytest.importorskip("lightning")
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    (callbacks,) = (block for block in blocks if "import GreenEarlyStopping" in block)
    (loop,) = (block for block in blocks if "GreenStopper(" in block)
    exec(compile(callbacks, "README.md", "exec"), {})
    exec(compile(loop, "README.md", "exec"), {"epochs": 3, "train": lambda: None, "accuracy": lambda: 0.5})


def test_every_metric_is_in_the_table() -> None:
    # importing the plugin would need its framework
    specs = [importlib.util.find_spec(name) for name in ("trainwatt", "trainwatt_transformers")]
    packages = [Path(spec.origin).parent for spec in specs if spec is not None and spec.origin is not None]
    names = ("metrics.py", "snapshot.py", "green_stopper.py", "callback.py", "trainer_state.py")
    sources = [path for package in packages for name in names for path in package.rglob(name)]
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    named = set(re.findall(r'"((?:energy|footprint|projection|stopping)/\w+)"', text))
    assert named == set(re.findall(r"`((?:energy|footprint|projection|stopping)/\w+)`", README))


def test_the_doctor_is_a_command() -> None:
    command = [sys.executable, "-m", "trainwatt", "doctor", "--seconds", "0.1"]
    assert subprocess.run(command, capture_output=True, check=True).stdout
