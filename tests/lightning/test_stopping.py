from __future__ import annotations

import logging
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from lightning import Callback
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor

from standins import nvml as standin
from standins.nvml import Constant, h100
from tests.lightning.training import Classifier, Data, Names, trainer_with
from tests.stopping.replay import PERCENT, Curve, curves, stop_of_the_rule
from trainwatt import StopReason
from trainwatt.errors import ArgumentError
from trainwatt.records.run_folder import read_events
from trainwatt_lightning import FootprintMonitor, GreenEarlyStopping


class Logs(Classifier):
    """Logs given values as its metric, one an evaluation."""

    def __init__(self, values: tuple[float, ...], step_s: float = 0.0) -> None:
        super().__init__()
        self.values, self.step_s, self.evaluations = values, step_s, 0

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        time.sleep(self.step_s)
        return super().training_step(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        self.log("metric", self.values[self.evaluations])
        self.evaluations += 1


def train(module: Logs, *callbacks: Callback, **options: Any) -> Any:
    defaults = {
        "max_epochs": len(module.values),
        "limit_train_batches": 1,
        "limit_val_batches": 1,
        "num_sanity_val_steps": 0,
    }
    trainer = trainer_with(*callbacks, **(defaults | options))
    trainer.fit(module, datamodule=Data())
    return trainer


def saturating(count: int) -> tuple[float, ...]:
    return tuple(0.9 - 0.8 * 0.5**n for n in range(count))


def rising(count: int) -> tuple[float, ...]:
    return tuple(0.1 + 0.8 * n / count for n in range(count))


@pytest.mark.parametrize("curve", list(curves()), ids=lambda curve: curve.name.split("/")[-1])
def test_a_real_curve_is_stopped_where_the_rule_alone_stops_it(curve: Curve) -> None:
    stopping = GreenEarlyStopping("metric", curve.mode, min_gain_per_percent=PERCENT, ideal=curve.ideal, devices="ram")
    module = Logs(curve.values)
    train(module, stopping)
    assert module.evaluations == (stop_of_the_rule(curve, stopping.state_dict()) or len(curve.values))


@pytest.mark.parametrize("stopper_first", [True, False])
def test_a_monitor_and_a_stopper_in_different_places_are_refused_before_the_training(stopper_first: bool) -> None:
    monitor = FootprintMonitor(devices=["ram"], output_dir=None, verbose=False, zone="FR")
    stopping = GreenEarlyStopping("metric", "max", zone="PL", devices=["ram"])
    module = Logs(saturating(3))
    with pytest.raises(ArgumentError, match=r"zone='PL': expected FR \(given\), as for the monitor"):
        train(module, *((stopping, monitor) if stopper_first else (monitor, stopping)))
    assert module.evaluations == 0


def test_a_training_that_no_longer_gains_is_stopped_and_says_why(
    nvml_library: standin.Library, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monitor = FootprintMonitor(devices=["gpu"], output_dir=tmp_path, run_name="run", verbose=False, zone="FR")
    stopping = GreenEarlyStopping("metric", "max", zone="FR", devices=["gpu"])
    module = Logs(saturating(60), step_s=0.02)
    with nvml_library.running(h100(Constant(200.0))):
        trainer = train(module, stopping, monitor)
    assert trainer.should_stop
    assert 8 < module.evaluations < 40
    assert stopping.stopping_reason is StopReason.TREND
    assert stopping.last_decision is not None
    assert stopping.last_decision.stop
    assert not stopping.last_decision.diverged
    sentence = stopping.stopping_reason_message or ""
    assert sentence.startswith(
        f"stopped at epoch {module.evaluations - 1}: the next 1 % of the run is expected to bring"
    )
    assert "CO2e of what was planned" in sentence
    assert [record.message for record in caplog.records if "stopped at" in record.message] == [f"trainwatt: {sentence}"]
    verdicts = [event for event in read_events(tmp_path / "run") if event["event"] == "verdict"]
    assert [verdict["stop"] for verdict in verdicts] == [False] * (module.evaluations - 1) + [True]
    assert sentence.startswith(f"stopped at {verdicts[-1]['at']}: {verdicts[-1]['reason']}")
    assert 0 < verdicts[-1]["total_j"] <= 1.1 * monitor.summary["total_j"]


def test_a_training_that_keeps_paying_is_not_stopped(nvml_library: standin.Library) -> None:
    module = Logs(rising(30), step_s=0.01)
    with nvml_library.running(h100(Constant(200.0))):
        trainer = train(module, GreenEarlyStopping("metric", "max", devices=["gpu"]))
    assert module.evaluations == 30
    assert not trainer.should_stop


def test_its_values_reach_the_loggers_and_other_callbacks() -> None:
    names = Names()
    trainer = train(Logs(saturating(8)), GreenEarlyStopping("metric", "max"), logger=names)
    assert {"stopping/gain_per_kwh", "stopping/expected_gain_per_kwh"} <= set(trainer.callback_metrics)
    assert {"stopping/gain_per_kwh", "stopping/expected_gain_per_kwh"} <= names.seen


def test_without_a_price_it_only_observes() -> None:
    module, names = Logs((0.5,) * 40), Names()
    train(module, GreenEarlyStopping("metric", "max", min_gain_per_kwh=None), logger=names)
    assert module.evaluations == 40
    assert "stopping/expected_gain_per_kwh" in names.seen


@pytest.mark.parametrize("at_epoch_end", [True, False])
@pytest.mark.parametrize("least", [{"min_epochs": 50}, {"min_steps": 50}])
def test_the_trainers_least_length_holds_and_the_stop_is_said_once_when_it_comes(
    at_epoch_end: bool, least: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    module, stopping = Logs(saturating(60)), GreenEarlyStopping("metric", "max", check_on_train_epoch_end=at_epoch_end)
    train(module, stopping, **least)
    assert module.evaluations == 50
    assert [record.message[:30] for record in caplog.records if "stopped at" in record.message] == [
        "trainwatt: stopped at epoch 49"
    ]
    assert stopping.stopped_epoch == 49
    assert str(stopping.stopping_reason_message).startswith("stopped at epoch 49")


def test_a_budget_that_is_spent_before_the_least_number_of_epochs_is_said_when_it_stops(
    nvml_library: standin.Library, caplog: pytest.LogCaptureFixture
) -> None:
    stopping = GreenEarlyStopping("metric", "max", max_kwh=20 / 3.6e6, devices=["gpu"])
    module = Logs(rising(20), step_s=0.05)
    with nvml_library.running(h100(Constant(200.0))):
        train(module, stopping, limit_train_batches=8, min_epochs=4)
    assert module.evaluations == 4
    assert [record.message[:20] for record in caplog.records if "stopped at" in record.message] == [
        "trainwatt: stopped at"[:20]
    ]


class AtEpochEnd(Logs):
    """Logs its metric in the last of the module's hooks."""

    def on_validation_epoch_end(self) -> None:
        pass

    def on_train_epoch_end(self) -> None:
        self.log("metric", self.values[self.evaluations])
        self.evaluations += 1


class Judgements(EarlyStopping):
    """Lightning's own, which keeps what it judges."""

    def __init__(self) -> None:
        super().__init__("metric", patience=100)
        self.judged: list[float] = []

    def _evaluate_stopping_criteria(self, current: Tensor) -> tuple[bool, str | None]:
        self.judged.append(float(current))
        return super()._evaluate_stopping_criteria(current)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("module_class", [Logs, AtEpochEnd])
def test_it_judges_what_lightnings_own_judges_whoever_is_first(module_class: type[Logs], first: bool) -> None:
    own, ours = Judgements(), GreenEarlyStopping("metric", "max", devices="ram")
    module = module_class(rising(8))
    callbacks = [ours, own] if first else [own, ours]
    train(module, *callbacks)
    assert own.judged == pytest.approx(list(rising(8)))
    assert ours.state_dict()["rule"]["scores"] == pytest.approx(own.judged)


def test_it_is_one_of_lightnings_early_stopping_callbacks() -> None:
    ours = GreenEarlyStopping("metric", "max", devices="ram", patience=2)
    trainer = train(Logs(rising(3)), ours)
    assert trainer.early_stopping_callbacks == [ours]
    assert float(trainer.early_stopping_callback.best_score) == pytest.approx(rising(3)[-1])


class Sometimes(Logs):
    """Logs its metric in some epochs only."""

    def __init__(self, values: tuple[float, ...], every: int, first: int) -> None:
        super().__init__(values)
        self.every, self.first = every, first

    def on_validation_epoch_end(self) -> None:
        if self.current_epoch % self.every == self.first:
            super().on_validation_epoch_end()


@pytest.mark.parametrize(("every", "first"), [(2, 1), (2, 0), (3, 2), (5, 4)])
def test_a_metric_of_some_epochs_is_judged_in_these(every: int, first: int, caplog: pytest.LogCaptureFixture) -> None:
    ours = GreenEarlyStopping("metric", "max", devices="ram")
    module = Sometimes(rising(20), every, first)
    train(module, ours, max_epochs=20)
    assert module.evaluations == len(range(first, 20, every))
    assert len(ours.state_dict()["rule"]["scores"]) == module.evaluations
    assert caplog.text.count("which is not available") == (first > 1)


def test_evaluations_of_every_second_epoch_are_judged_at_the_end_of_epochs_if_so_wanted() -> None:
    ours = GreenEarlyStopping("metric", "max", devices="ram", check_on_train_epoch_end=True)
    train(Logs(rising(4)), ours, max_epochs=8, check_val_every_n_epoch=2)
    assert len(ours.state_dict()["rule"]["scores"]) == 4


@pytest.mark.parametrize("interval", ["00:00:00:01", {"seconds": 1}, timedelta(seconds=1)])
def test_evaluations_by_the_clock_are_judged(interval: Any) -> None:
    ours, monitor = GreenEarlyStopping("metric", "max", devices="ram"), FootprintMonitor(output_dir=None, devices="ram")
    module = Logs(rising(20), step_s=0.05)
    train(module, ours, monitor, max_epochs=4, limit_train_batches=8, val_check_interval=interval)
    assert module.evaluations >= 1
    assert len(ours.state_dict()["rule"]["scores"]) == module.evaluations
    assert monitor.summary["phases"]["validate"]["entries"] == module.evaluations


def test_one_of_several_data_sets_is_judged() -> None:
    class Several(Classifier):
        def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
            super().validation_step(batch, batch_idx)

    class Two(Data):
        def val_dataloader(self) -> Any:
            return [super().val_dataloader(), super().val_dataloader()]

    ours = GreenEarlyStopping("val_loss/dataloader_idx_1", devices="ram")
    trainer_with(ours, max_epochs=3).fit(Several(), datamodule=Two())
    assert len(ours.state_dict()["rule"]["scores"]) == 3


@pytest.mark.parametrize(
    ("options", "values", "made", "reason"),
    [
        ({"stopping_threshold": 0.5}, (0.1, 0.3, 0.6, 0.7, 0.8), 3, StopReason.THRESHOLD),
        ({"divergence_threshold": 0.2}, (0.3, 0.4, 0.1, 0.7, 0.8), 3, StopReason.DIVERGED),
        ({"check_finite": True}, (0.3, float("nan"), 0.1), 2, StopReason.DIVERGED),
        ({}, (float("nan"),) * 100, 100, StopReason.DIVERGED),
    ],
)
def test_limits_of_the_metric_are_lightnings(
    options: dict[str, Any], values: tuple[float, ...], made: int, reason: StopReason
) -> None:
    module, ours = Logs(values), GreenEarlyStopping("metric", "max", devices="ram", **options)
    train(module, ours)
    assert module.evaluations == made if made < 100 else module.evaluations < 20
    assert ours.stopping_reason is reason


def test_what_lightning_has_and_we_have_not_names_ours() -> None:
    with pytest.raises(ArgumentError, match=r"min_delta=0.01: expected min_gain_per_percent= or min_gain_per_kwh="):
        GreenEarlyStopping("metric", min_delta=0.01)  # type: ignore[call-arg]
    GreenEarlyStopping("metric", min_delta=0.0, log_rank_zero_only=True)  # type: ignore[call-arg]


def test_the_best_weights_are_kept_by_the_trainers_own_checkpoint(tmp_path: Path) -> None:
    checkpoint = ModelCheckpoint(tmp_path, monitor="metric", mode="max", save_top_k=1)
    values = (*saturating(10), *[0.7] * 50)
    train(Logs(values), GreenEarlyStopping("metric", "max"), checkpoint, enable_checkpointing=True)
    assert checkpoint.best_model_score == pytest.approx(max(values))


def test_a_budget_stops_within_an_epoch(nvml_library: standin.Library, caplog: pytest.LogCaptureFixture) -> None:
    stopping = GreenEarlyStopping("metric", "max", max_kwh=200 / 3.6e6, devices=["gpu"])
    module = Logs(rising(20), step_s=0.1)
    with nvml_library.running(h100(Constant(200.0))):
        trainer = train(module, stopping, limit_train_batches=8)
    assert trainer.should_stop
    assert module.evaluations < 6
    assert "the energy budget of 200 J is spent" in caplog.text


def test_a_budget_may_only_warn(nvml_library: standin.Library, caplog: pytest.LogCaptureFixture) -> None:
    stopping = GreenEarlyStopping("metric", "max", max_co2e_kg=1e-9, over_budget="warn", devices=["gpu"], zone="PL")
    module = Logs(rising(10), step_s=0.05)
    with nvml_library.running(h100(Constant(200.0))):
        train(module, stopping)
    assert module.evaluations == 10
    assert caplog.text.count("CO2e is spent") == 1


def test_a_metric_that_stays_infinite_is_a_run_that_has_diverged(caplog: pytest.LogCaptureFixture) -> None:
    module = Logs((0.5, 0.6, 0.7, *[float("nan")] * 40))
    train(module, GreenEarlyStopping("metric", "max"))
    assert module.evaluations < 20
    assert "the run has diverged" in caplog.text


def test_a_resumed_training_goes_on_with_its_history(tmp_path: Path) -> None:
    values = saturating(60)
    whole = Logs(values)
    train(whole, GreenEarlyStopping("metric", "max", devices="ram"))
    half, stopping = Logs(values), GreenEarlyStopping("metric", "max", devices="ram")
    trainer = train(half, stopping, max_epochs=6, enable_checkpointing=True, default_root_dir=tmp_path)
    spent_kwh = stopping.state_dict()["spent_kwh"]
    rest, resumed = Logs(values), GreenEarlyStopping("metric", "max", devices="ram")
    rest.evaluations = half.evaluations
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    again = trainer_with(resumed, max_epochs=60, limit_train_batches=1, limit_val_batches=1, num_sanity_val_steps=0)
    again.fit(rest, datamodule=Data(), ckpt_path=tmp_path / "last.ckpt", weights_only=False)
    assert len(resumed.state_dict()["rule"]["scores"]) == rest.evaluations
    assert rest.evaluations < 50
    assert resumed.state_dict()["spent_kwh"] > spent_kwh


def test_too_few_evaluations_are_told_once_with_a_way_out(caplog: pytest.LogCaptureFixture) -> None:
    train(Logs(rising(3)), GreenEarlyStopping("metric", "max"))
    (record,) = [record for record in caplog.records if "too few" in record.message]
    assert "val_check_interval" in record.message
    assert record.levelno == logging.WARNING


def test_a_missing_metric_is_lightnings_own_kind_of_error() -> None:
    with pytest.raises(RuntimeError, match=r"`val_acc` which is not available.*`metric`"):
        train(Logs(rising(3)), GreenEarlyStopping("val_acc", "max"))


def test_a_missing_metric_may_be_overlooked(caplog: pytest.LogCaptureFixture) -> None:
    module = Logs(rising(3))
    train(module, GreenEarlyStopping("val_acc", "max", strict=False))
    assert module.evaluations == 3
    assert caplog.text.count("which is not available") == 1


def test_a_wrong_mode_is_lightnings_own_kind_of_error() -> None:
    with pytest.raises(MisconfigurationException, match="`mode` can be min, max, got up"):
        GreenEarlyStopping("metric", "up")


@pytest.mark.parametrize(
    ("argument", "value"),
    [("min_gain_per_kwh", -1), ("min_gain_per_kwh", "much"), ("patience", -1), ("max_kwh", 0), ("over_budget", "cry")],
)
def test_a_wrong_argument_is_told_before_training(argument: str, value: Any) -> None:
    with pytest.raises(ArgumentError, match=argument):
        GreenEarlyStopping("metric", "max", **{argument: value})
