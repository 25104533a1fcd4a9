from __future__ import annotations

import csv
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import pytest

from standins import nvml as standin
from standins.nvml import Constant, h100
from tests.stopping.replay import PERCENT, Curve, curves, stop_of_the_rule
from trainwatt import StopReason
from trainwatt.errors import ArgumentError
from trainwatt.records.run_folder import read_events
from trainwatt_keras import FootprintMonitor, GreenEarlyStopping

# Keras's torch backend converts tensors in a way that NumPy 2 deprecates
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


class Given(keras.metrics.Metric):
    """A metric that is what it is told to be."""

    def __init__(self) -> None:
        super().__init__(name="metric")
        self.value = self.add_variable((), "zeros", name="value")

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        pass

    def reset_state(self) -> None:
        pass

    def result(self) -> Any:
        return keras.ops.convert_to_tensor(self.value)


class Tells(keras.callbacks.Callback):
    """Tells it the values of a curve, one an epoch, and takes its time."""

    def __init__(self, metric: Given, values: tuple[float, ...], step_s: float) -> None:
        super().__init__()
        self.metric, self.values, self.step_s, self.epochs = metric, values, step_s, 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.metric.value.assign(self.values[epoch])
        self.epochs += 1

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        time.sleep(self.step_s)


def train(values: tuple[float, ...], *callbacks: Any, step_s: float = 0.0, **options: Any) -> Any:
    """A training whose metric takes these values; its history has the epochs that were made."""
    metric = Given()
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=[metric], run_eagerly=True)
    x = np.ones((2, 2), "float32")
    tells = Tells(metric, values, step_s)
    defaults = {"epochs": len(values), "verbose": 0, "batch_size": 2}
    return model.fit(x, x[:, :1], callbacks=[tells, *callbacks], **(defaults | options))


def saturating(count: int) -> tuple[float, ...]:
    return tuple(0.9 - 0.8 * 0.5**n for n in range(count))


def rising(count: int) -> tuple[float, ...]:
    return tuple(0.1 + 0.8 * n / count for n in range(count))


@pytest.mark.parametrize("stopper_first", [True, False])
def test_a_monitor_and_a_stopper_in_different_places_are_refused_before_the_training(stopper_first: bool) -> None:
    monitor = FootprintMonitor(devices=["ram"], output_dir=None, verbose=False, zone="FR")
    stopping = GreenEarlyStopping("metric", "max", zone="PL", devices=["ram"])
    with pytest.raises(ArgumentError, match=r"zone='PL': expected FR \(given\), as for the monitor"):
        train(saturating(3), *((stopping, monitor) if stopper_first else (monitor, stopping)))
    assert monitor.summary.get("epochs", 0) == 0


@pytest.mark.parametrize("curve", list(curves()), ids=lambda curve: curve.name.split("/")[-1])
def test_a_real_curve_is_stopped_where_the_rule_alone_stops_it(curve: Curve) -> None:
    values = tuple(float(np.float32(value)) for value in curve.values)
    curve = Curve(curve.name, curve.mode, values)
    stopping = GreenEarlyStopping(
        "metric", curve.mode, min_gain_per_percent=PERCENT, ideal=curve.ideal, devices="ram", verbose=0
    )
    history = train(values, stopping)
    assert len(history.epoch) == (stop_of_the_rule(curve, stopping.state_dict()) or len(values))


def test_a_training_that_no_longer_gains_is_stopped_and_says_why(
    nvml_library: standin.Library, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monitor = FootprintMonitor(devices=["gpu"], output_dir=tmp_path, run_name="run", verbose=False, zone="FR")
    stopping = GreenEarlyStopping("metric", "max", zone="FR", devices=["gpu"])
    log = keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))
    with nvml_library.running(h100(Constant(200.0))):
        history = train(saturating(60), log, stopping, monitor, step_s=0.02)
    epochs = len(history.epoch)
    assert 8 < epochs < 40
    assert stopping.stopped_epoch == epochs - 1
    assert stopping.stopping_reason is StopReason.TREND
    assert stopping.last_decision is not None
    assert stopping.last_decision.stop
    assert not stopping.last_decision.diverged
    sentence = stopping.stopping_reason_message or ""
    assert sentence.startswith(f"stopped at epoch {epochs}: the next 1 % of the run is expected to bring")
    assert "CO2e of what was planned" in sentence
    assert [record.message for record in caplog.records if "stopped at" in record.message] == [f"trainwatt: {sentence}"]
    verdicts = [event for event in read_events(tmp_path / "run") if event["event"] == "verdict"]
    assert [verdict["stop"] for verdict in verdicts] == [False] * (epochs - 1) + [True]
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert all(row["stopping/expected_gain_per_kwh"] for row in rows)
    assert float(rows[-1]["stopping/expected_gain_per_kwh"]) >= 0
    assert len(history.history["stopping/gain_per_kwh"]) == epochs


def test_a_training_that_keeps_paying_is_not_stopped(nvml_library: standin.Library) -> None:
    with nvml_library.running(h100(Constant(200.0))):
        history = train(rising(30), GreenEarlyStopping("metric", "max", devices=["gpu"]), step_s=0.01)
    assert len(history.epoch) == 30


def test_the_best_weights_are_put_back_if_asked() -> None:
    values = (*saturating(10), *[0.7] * 50)
    kept: list[Any] = []

    class Keeps(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            kept.append(self.model.get_weights())

    stopping = GreenEarlyStopping("metric", "max", restore_best_weights=True, verbose=0)
    history = train(values, Keeps(), stopping)
    assert stopping.best_epoch == 9
    for weights, best in zip(history.model.get_weights(), kept[9], strict=True):
        assert np.array_equal(weights, best)


def test_a_budget_stops_within_an_epoch(nvml_library: standin.Library, caplog: pytest.LogCaptureFixture) -> None:
    with nvml_library.running(h100(Constant(200.0))):
        stopping = GreenEarlyStopping("metric", "max", max_kwh=400 / 3.6e6, devices=["gpu"])
        history = train(rising(20), stopping, step_s=0.5, batch_size=1)
    assert len(history.epoch) < 8
    assert "the energy budget of 0.111 Wh is spent" in caplog.text


def test_a_mode_that_is_not_given_is_the_metrics_own() -> None:
    stopping = GreenEarlyStopping("loss", devices="ram", verbose=0)
    train(rising(6), stopping)
    assert stopping.state_dict()["best"] <= stopping.state_dict()["first"]


def test_a_missing_metric_and_an_unknown_mode_are_keras_own_warnings() -> None:
    with pytest.warns(UserWarning, match="mode 'up' is unknown, fallback to auto"):
        GreenEarlyStopping("metric", "up")
    with pytest.warns(UserWarning, match="conditioned on metric `val_acc` which is not available"):
        history = train(rising(2), GreenEarlyStopping("val_acc", "max"))
    assert len(history.epoch) == 2


def test_too_few_evaluations_are_told_once_with_a_way_out(caplog: pytest.LogCaptureFixture) -> None:
    train(rising(3), GreenEarlyStopping("metric", "max"))
    assert caplog.text.count("too few to stop early") == 1
    assert "steps_per_epoch" in caplog.text
