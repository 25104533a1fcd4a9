from __future__ import annotations

import csv
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trainwatt.records.run_folder import read_summary

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_digits_are_learnt_and_measured_with_lightning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monitor = runpy.run_path(str(EXAMPLES / "lightning_digits.py"))["main"](max_epochs=3)
    printed = capsys.readouterr().out
    assert monitor.summary["epochs"] == 3
    assert len(list((tmp_path / "footprint").glob("*/summary.json"))) == 1
    assert "run folder: footprint" in printed
    assert float(printed.split("val_acc ")[-1]) > 0.8


def printed_by(script: str, call: str, folder: Path) -> str:
    """Return the output of an example's function, run in a new process that sets Keras's backend and threads."""
    path = f"import sys; sys.path.insert(0, {str(EXAMPLES)!r})"  # as for a script that is run from there
    code = f"{path}; import runpy; runpy.run_path({str(EXAMPLES / script)!r})[{'main'!r}]({call})"
    variables = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", code]
    run = subprocess.run(
        command, cwd=folder, env=os.environ | variables, capture_output=True, text=True, check=False, timeout=300
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def value(printed: str, name: str) -> float:
    return float(printed.rpartition(f"{name} ")[2].partition("\n")[0])


def only_run(folder: Path) -> dict[str, Any]:
    (run,) = (each for each in (folder / "footprint").iterdir() if read_summary(each)["phases"].get("train"))
    return read_summary(run)


def test_the_digits_are_learnt_and_measured_with_keras(tmp_path: Path) -> None:
    printed = printed_by("keras_digits.py", "epochs=3", tmp_path)
    assert value(printed, "val_acc") > 0.8
    assert value(printed, "joules to read a digit") > 0
    assert only_run(tmp_path)["epochs"] == 3
    with (tmp_path / "digits.csv").open() as file:
        totals_kwh = [float(row["energy/total_kwh"]) for row in csv.DictReader(file)]
    assert 0 < totals_kwh[0] < totals_kwh[1] < totals_kwh[2]


def test_a_text_is_learnt_and_its_tokens_measured_with_transformers(tmp_path: Path) -> None:
    printed = printed_by("transformers_text.py", "num_train_epochs=2", tmp_path)
    assert value(printed, "eval_loss") < 3.2  # 5.5 before
    summary = only_run(tmp_path)
    assert summary["epochs"] == 2
    tokens = 2 * 31 * 16 * 64
    train_j = sum(summary["phases"]["train"]["joules"].values())
    assert value(printed, "millijoules to learn from a token") == pytest.approx(1000 * train_j / tokens, rel=0.5)


@pytest.mark.parametrize("script", ["lightning_green.py", "keras_green.py", "transformers_green.py"])
def test_a_green_stop_saves_against_full_length_and_patience(tmp_path: Path, script: str) -> None:
    rows = [line.rsplit(maxsplit=3) for line in printed_by(script, "", tmp_path).splitlines()[-3:]]
    joules = {name: float(figure) for name, _, figure, _ in rows}
    to_its_end, patience, green = joules.values()
    assert list(joules)[::2] == ["to its end", "green"]
    assert green < 0.9 * to_its_end
    assert green < patience


def test_every_example_is_run() -> None:
    tests = Path(__file__).read_text(encoding="utf-8")
    assert [path.name for path in EXAMPLES.glob("*.py") if path.name not in tests] == []
