from __future__ import annotations

import csv
import math
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
from trainwatt_keras.backup import Backup
from trainwatt_keras.learning_rate import LearningRates

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


class Logs(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Logs a value of its own in some epochs."""

    def __init__(self, value: Any, every: int = 1) -> None:
        super().__init__()
        self.value, self.every = value, every

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch % self.every == self.every - 1:
            logs["own"] = self.value(epoch) if callable(self.value) else self.value


def own(mode: str = "max", **options: Any) -> GreenEarlyStopping:
    return GreenEarlyStopping("own", mode, **{"devices": ["ram"], "verbose": 0, **options})


@pytest.mark.parametrize("stopper_first", [True, False])
def test_a_metric_that_another_callback_logs_is_judged_in_the_same_epoch(stopper_first: bool) -> None:
    stopping, logs = own(), Logs(lambda epoch: 1 - 0.5**epoch)
    history = train(rising(7), *((stopping, logs) if stopper_first else (logs, stopping)))
    assert stopping.state_dict()["evaluations"] == 7
    known = [math.isfinite(value) for value in history.history["stopping/gain_per_kwh"]]
    assert known == [False] * 4 + [True] * 3


@pytest.mark.parametrize("every", [2, 3])
@pytest.mark.filterwarnings("error:.*onditioned on metric")
def test_a_metric_that_is_rarely_logged_is_judged_where_it_is(every: int, caplog: pytest.LogCaptureFixture) -> None:
    stopping, logs = own(), Logs(lambda epoch: epoch / 12, every)
    if every > 2:
        with pytest.warns(UserWarning, match="onditioned on metric"):
            train(rising(12), stopping, logs)
    else:
        train(rising(12), stopping, logs)
    assert stopping.state_dict()["evaluations"] == 12 // every
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("check_finite", "epochs"), [(None, range(4, 10)), (True, range(1, 2)), (False, range(40, 41))]
)
def test_a_metric_that_is_nan_from_the_first_epoch_on_has_diverged(check_finite: bool | None, epochs: range) -> None:
    stopping = own(check_finite=check_finite)
    history = train(rising(40), stopping, Logs(float("nan")))
    assert len(history.epoch) in epochs
    assert (stopping.stopping_reason is StopReason.DIVERGED) == (check_finite is not False)


@pytest.mark.parametrize("value", [np.array([1.0, 2.0]), "good", object()], ids=["array", "text", "object"])
def test_a_value_that_is_no_number_costs_one_warning(value: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert len(train(rising(4), own(), Logs(value)).epoch) == 4
    assert caplog.text.count("the conversion of 'own' to a number failed") == 1


@pytest.mark.parametrize("patience", [0, 1, 2, 3])
def test_a_baseline_holds_as_in_keras(patience: int) -> None:
    logs = Logs(lambda epoch: [0.9, 0.5, 0.92, 0.7, 0.4, 0.3][epoch])
    keras_own = keras.callbacks.EarlyStopping("own", mode="max", baseline=0.95, patience=patience)
    expected = train(rising(6), logs, keras_own).epoch
    assert train(rising(6), logs, own(baseline=0.95, patience=patience)).epoch == expected
    assert len(train(rising(6), logs, own(baseline=0.8, patience=patience)).epoch) == 6


def test_best_weights_are_of_the_first_epoch_that_counts_or_later() -> None:
    logs = Logs(lambda epoch: [0.9, 0.5, 0.6, 0.7, 0.4][epoch])
    stopping = own(start_from_epoch=2, restore_best_weights=True, stopping_threshold=0.65)
    assert len(train(rising(5), logs, stopping).epoch) == 4
    assert (stopping.best_epoch, stopping.best) == (3, 0.7)
    assert stopping.stopping_reason is StopReason.THRESHOLD


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"min_delta": 0.01}, "min_delta=0.01: expected min_gain_per_percent="),
        ({"early_stopping_patience": 3}, "early_stopping_patience=3: expected patience="),
        ({"baseline": "high"}, "baseline='high': expected a value of the metric"),
    ],
)
def test_what_keras_calls_otherwise_says_what_to_use(option: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        own(**option)
    own(min_delta=0)


def test_a_direction_that_cannot_be_told_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert len(train(rising(3), own("auto"), Logs(0.5)).epoch) == 3
    assert caplog.text.count('pass mode="min" or mode="max"') == 1


def test_two_stoppers_of_one_metric_judge_each_for_itself(
    nvml_library: standin.Library, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monitor = FootprintMonitor(devices=["gpu"], output_dir=tmp_path, run_name="run", verbose=False, zone="FR")
    budget = own(max_kwh=300 / 3.6e6, devices=["gpu"], verbose=1)
    price = own(tariff=0.2, max_cost=1.0, devices=["gpu"], verbose=1)
    with nvml_library.running(h100(Constant(200.0))):
        history = train(rising(40), budget, Logs(lambda epoch: epoch / 40), price, monitor, step_s=0.1)
    assert 2 < len(history.epoch) < 20
    assert (budget.stopping_reason, price.stopping_reason) == (StopReason.BUDGET_KWH, None)
    assert caplog.text.count("stopped at") == 1
    events = [event["event"] for event in read_events(tmp_path / "run")]
    assert events.count("verdict") == 2 * len(history.epoch)
    assert events.count("budget") == 1


def test_two_stoppers_continue_where_the_training_was_cut_short(tmp_path: Path) -> None:
    class Crash(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == 4:
                raise ZeroDivisionError

    def callbacks() -> list[Any]:
        backup = keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))
        return [backup, Logs(lambda epoch: epoch / 8), own(max_kwh=100.0), own(max_co2e_kg=100.0)]

    with pytest.raises(ZeroDivisionError):
        train(rising(8), Crash(), *callbacks())
    *_, first, second = resumed = callbacks()
    train(rising(8), *resumed)
    assert first.state_dict()["evaluations"] == second.state_dict()["evaluations"] == 8


@pytest.mark.parametrize("text", ["[]", "[" * 20_000, "null", '{"a": 1}', '{"rule": {"scores": "x"}}', "\x00"])
def test_a_damaged_backup_costs_what_it_held(text: str, tmp_path: Path) -> None:
    stopping, backup = own(), keras.callbacks.BackupAndRestore(str(tmp_path))
    for part in ("", stopping._name):
        file = Backup([backup], part)._file
        assert file is not None
        file.write_text(text)
    monitor = FootprintMonitor(devices=["ram"], output_dir=None, verbose=False)
    history = train(rising(3), backup, monitor, stopping, Logs(0.5))
    assert len(history.epoch) == len(history.history["energy/total_kwh"]) == 3
    assert stopping.state_dict()["evaluations"] == 3


def test_an_evaluation_after_the_training_neither_judges_nor_writes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    stopping = GreenEarlyStopping("loss", devices=["ram"], verbose=0)
    model = train(rising(3), stopping).model
    before, other = stopping.state_dict(), FootprintMonitor(devices=["ram"], output_dir=tmp_path, verbose=False)
    x = np.ones((2, 2), "float32")
    for call in (model.evaluate, lambda *args, **options: model.predict(args[0], **options)):
        call(x, x[:, :1], verbose=0, callbacks=[stopping, other])
    assert stopping.state_dict() == before
    assert (caplog.text, capsys.readouterr().out) == ("", "")
    for run in tmp_path.iterdir():
        assert not [event for event in read_events(run) if event["event"] in ("verdict", "budget")]


def test_a_stopper_takes_the_place_of_the_monitor_of_its_own_training_only() -> None:
    places: list[str] = []

    class Place(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            report = stopping._controller._stopper._report()
            places.append(report.site.name if report else "")

    stopping = GreenEarlyStopping("loss", devices=["ram"], verbose=0, max_co2e_kg=1.0)
    options = {"devices": ["ram"], "output_dir": None, "verbose": False}
    abandoned = FootprintMonitor(zone="PL", **options)
    keras.callbacks.CallbackList([abandoned], model=keras.Sequential(), epochs=1, steps=1).on_train_begin()
    train(rising(1), stopping, FootprintMonitor(zone="FR", **options), Place())
    train(rising(1), stopping, Place())
    abandoned.on_train_end()
    assert places[0] == "France"
    assert places[1] != "Poland"


@pytest.mark.parametrize("steps", [4, None], ids=["known length", "unknown length"])
def test_a_schedule_is_read_once_and_tells_what_is_left(steps: int | None) -> None:
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([8, 16], [1.0, 0.1, 0.01])
    optimizer = keras.optimizers.SGD(schedule)
    rates = LearningRates(optimizer, None if steps is None else 6 * steps)
    optimizer.iterations.assign(4)
    first = rates.remaining(1 / 6)
    assert first is not None
    assert first[0] == pytest.approx(1.0)
    assert first[-1] == pytest.approx(0.01)
    optimizer.iterations.assign(0)
    assert rates.remaining(0.5) == first[len(first) - len(rates.remaining(0.5) or ()) :]
    assert LearningRates(keras.optimizers.SGD(0.1), 10.0).remaining(0.5) is None
