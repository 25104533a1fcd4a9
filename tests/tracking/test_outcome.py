"""Status of a run from the exception that has ended it, and its readers."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest

from trainwatt import compare, measure, read_run
from trainwatt.distributed.aggregation import _WORST
from trainwatt.records.snapshot import Status
from trainwatt.reporting.html import write_report
from trainwatt.tracking.outcome import status_of


def package(name: str, source: str) -> ModuleType:
    """A module of a tuner that need not be installed, with real classes and functions."""
    module = ModuleType(name)
    exec(compile(source, f"<{name}>", "exec"), vars(module))
    return module


OPTUNA = package("optuna.exceptions", "class OptunaError(Exception): pass\nclass TrialPruned(OptunaError): pass")
RAY = package(
    "ray.air._internal.session",
    "import sys\n"
    "class StopTrial(Exception): pass\n"
    "class ActorDiedError(Exception): pass\n"
    "def report():\n"
    "    sys.exit(0)",
)


class Own(OPTUNA.TrialPruned):  # type: ignore[name-defined,misc]
    """A user's own kind of pruning."""


def raised(error: BaseException) -> BaseException:
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


def exits_by_ray() -> BaseException:
    with pytest.raises(SystemExit) as caught:
        RAY.report()
    return caught.value


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "finished"),
        (OPTUNA.TrialPruned(), "stopped"),
        (Own(), "stopped"),
        (RAY.StopTrial(), "stopped"),
        (exits_by_ray(), "stopped"),
        (OPTUNA.OptunaError(), "failed"),
        (RAY.ActorDiedError(), "failed"),
        (raised(ValueError()), "failed"),
        (raised(StopIteration()), "failed"),
        (raised(MemoryError()), "failed"),
        (raised(KeyboardInterrupt()), "interrupted"),
        (raised(SystemExit(0)), "interrupted"),
        (raised(SystemExit(1)), "interrupted"),
        (GeneratorExit(), "interrupted"),
        (BaseException(), "interrupted"),
    ],
)
def test_the_status_tells_how_it_ended(error: BaseException | None, status: str) -> None:
    assert status_of(error) == status


def test_a_pruned_trial_is_stopped_for_every_reader(tmp_path: Path) -> None:
    run = measure(zone="FR", output_dir=tmp_path, run_name="trial", devices=("ram",), verbose=False)

    def objective() -> None:
        with run:
            for _ in run.epochs(3):
                raise OPTUNA.TrialPruned

    with pytest.raises(OPTUNA.TrialPruned):
        objective()
    found = read_run(tmp_path / "trial")
    assert run.summary["status"] == found.status == "stopped"
    assert found.events[-1]["status"] == "stopped"
    assert "trial stopped after" in run.summary.text()
    write_report(tmp_path / "trial")
    page = (tmp_path / "trial" / "report.html").read_text(encoding="utf-8")
    assert "Stopped after" in page
    assert "stopped" in compare([tmp_path / "trial"]).text()


def test_every_status_has_its_place_among_the_worst() -> None:
    assert set(get_args(Status)) <= set(_WORST)
