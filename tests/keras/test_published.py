"""What is in Keras's logs in one epoch is there in all: no ragged history, and no column that CSVLogger loses."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import pytest

from tests.keras.training import BATCH, BATCHES, classifier, fit, points
from trainwatt_keras import FootprintMonitor, GreenEarlyStopping
from trainwatt_keras.published import Published

# Keras's torch backend converts tensors in a way that NumPy 2 deprecates
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

OURS = ("energy/", "footprint/", "projection/", "stopping/")


def monitor(**options: Any) -> FootprintMonitor:
    return FootprintMonitor(**{"output_dir": None, "verbose": False, "zone": "FR", "devices": ["ram"], **options})


class Evaluates(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Evaluates by itself, but not in the first epochs."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch >= 3:
            self.model.evaluate(*points(2), verbose=0)


class Breaks(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Breaks what we count with."""

    def __init__(self, ours: FootprintMonitor) -> None:
        super().__init__()
        self.ours = ours

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == 2:
            self.ours._run._session._ledger = None


def trainings() -> dict[str, Callable[[Path], list[Any]]]:
    return {
        "a projection after several epochs": lambda log: [monitor(project_after=5 * BATCHES)],
        "no projection": lambda log: [monitor(project_after=None)],
        "a projection that never comes": lambda log: [monitor(project_after=10**6)],
        "a stopper of what is rarely evaluated": lambda log: [monitor(), GreenEarlyStopping(devices="ram", verbose=0)],
        "evaluations of another callback": lambda log: [monitor(), Evaluates()],
        "a failure of ours": lambda log: [(broken := monitor()), Breaks(broken)],
    }


@pytest.mark.parametrize("case", trainings())
def test_every_epoch_has_the_same_names(case: str, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    history = fit(keras.callbacks.CSVLogger(str(log)), *trainings()[case](log), epochs=8, validation_freq=2).history
    lengths = {name: len(values) for name, values in history.items() if name.startswith(OURS)}
    assert lengths
    assert set(lengths.values()) == {8}
    with log.open() as file:
        rows = list(csv.DictReader(file))
    first = {name for name in lengths if case == "evaluations of another callback" or name in rows[0]}
    assert first == set(lengths)
    assert all(None not in row and None not in row.values() for row in rows)


def test_a_projection_that_comes_late_is_unknown_before() -> None:
    history = fit(monitor(project_after=3 * BATCHES + 1), epochs=6).history
    known = [math.isfinite(value) for value in history["projection/total_kwh"]]
    assert known == [False] * 3 + [True] * 3


@pytest.mark.parametrize("kind", ["checkpoint", "early stopping", "plateau"])
def test_what_monitors_a_value_that_is_unknown_at_first_gets_its_best_later(kind: str, tmp_path: Path) -> None:
    name, path = "projection/total_kwh", str(tmp_path / "best.keras")
    other = {
        "checkpoint": keras.callbacks.ModelCheckpoint(path, name, save_best_only=True, mode="min"),
        "early stopping": keras.callbacks.EarlyStopping(name, mode="min", patience=9),
        "plateau": keras.callbacks.ReduceLROnPlateau(name, mode="min", patience=9, min_delta=0),
    }[kind]
    history = fit(other, monitor(project_after=3 * BATCHES), epochs=6).history[name]
    assert other.best == min(value for value in history if math.isfinite(value))


def test_values_stay_and_unknown_ones_are_nan() -> None:
    published, logs = Published(), [{"loss": 1.0} for _ in range(3)]
    for each, values in zip(logs, ({"a": 1.0, "b": 2.0}, {"a": 2.0}, {"b": 3.0, "c": 4.0}), strict=True):
        published.publish(values, [each, None], [])
    assert logs[0] == {"loss": 1.0, "a": 1.0, "b": 2.0}
    assert logs[1]["a"] == 2.0
    assert math.isnan(logs[1]["b"])
    assert math.isnan(logs[2]["a"])
    assert (logs[2]["b"], logs[2]["c"]) == (3.0, 4.0)


def test_a_standalone_evaluation_has_names_of_its_own() -> None:
    model, ours, seen = classifier(), monitor(), {}

    class Sees(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
        def on_test_end(self, logs: Any = None) -> None:
            seen.update(logs)

    fit(ours, model=model)
    model.evaluate(*points(2), batch_size=BATCH, verbose=0, callbacks=[Sees(), ours])
    assert seen["test/energy_kwh"] > 0
    assert not [name for name in seen if name.startswith(OURS)]
