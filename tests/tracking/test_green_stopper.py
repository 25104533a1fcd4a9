"""Green early stopping in a custom training loop; the rest is covered by the callbacks' tests."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import pytest

import trainwatt
from standins import nvml as standin
from standins.nvml import Constant, h100
from trainwatt.errors import ArgumentError
from trainwatt.records.run_folder import read_events
from trainwatt.stopping.criteria import Decision, StoppingCriteria
from trainwatt.stopping.reason import StopReason
from trainwatt.tracking.green_stopper import GreenStopper


def saturating(epoch: int) -> float:
    return 0.9 - 0.8 * 0.5**epoch


def train(stopper: GreenStopper, epochs: int = 60, metric: Any = saturating) -> int:
    """Return the number of epochs until it stops."""
    return decisions(stopper, epochs, metric)[0]


def decisions(stopper: GreenStopper, epochs: int = 60, metric: Any = saturating) -> tuple[int, Decision]:
    """Return the number of epochs until it stops, and the last decision."""
    decision = Decision()
    with stopper:
        for epoch in range(epochs):
            time.sleep(0.01)
            decision = stopper.evaluate(metric(epoch), done=(epoch + 1) / epochs, when=f"epoch {epoch}")
            if decision.stop:
                return epoch + 1, decision
    return epochs, decision


def test_a_custom_loop_stops_when_it_no_longer_pays(nvml_library: standin.Library, tmp_path: Path) -> None:
    with (
        nvml_library.running(h100(Constant(200.0))),
        trainwatt.measure(devices=["gpu"], output_dir=tmp_path, run_name="run", verbose=False) as run,
    ):
        made = train(trainwatt.GreenStopper("max", devices=["gpu"]))
        run.metric("val_acc", saturating(made - 1))
    assert 8 < made < 40
    events = list(read_events(tmp_path / "run"))
    verdicts = [event for event in events if event["event"] == "verdict"]
    assert [verdict["stop"] for verdict in verdicts] == [False] * (made - 1) + [True]
    assert [verdict["stop_reason"] for verdict in verdicts] == [None] * (made - 1) + ["trend"]
    (score,) = (event for event in events if event["event"] == "score")
    assert (score["name"], score["value"]) == ("val_acc", saturating(made - 1))
    assert 0 < score["total_j"] <= 1.1 * run.summary["total_j"]


def test_patience_requires_further_verdicts_that_agree() -> None:
    # at a steady power the evaluations' energies differ by little, and so does where the rule itself stops
    at_once, patient = (train(GreenStopper("max", patience=patience, devices="ram")) for patience in (0, 10))
    assert patient >= at_once + 5


def test_nothing_is_stopped_during_warmup() -> None:
    assert train(GreenStopper("max", warmup=45, devices="ram")) > 45


def test_a_stopper_may_be_used_again() -> None:
    stopper = GreenStopper("max", devices="ram")
    first = train(stopper)
    assert abs(train(stopper) - first) < 10
    assert len(stopper.state_dict()["rule"]["scores"]) < 40


@pytest.mark.parametrize(
    ("mode", "values", "threshold"),
    [
        ("max", (0.1, 0.7), 0.001),  # an accuracy between 0 and 1: 0.1 points
        ("max", (10.0, 70.0), 0.1),  # the same in per cent
        ("min", (2.5, 1.0), 0.0025),  # a loss: 0.1 % of its first value
    ],
)
def test_the_default_threshold_fits_the_metric(mode: Any, values: tuple[float, float], threshold: float) -> None:
    assert StoppingCriteria().threshold(mode, *values).min_gain_per_percent == pytest.approx(threshold)


def test_a_given_threshold_is_kept() -> None:
    assert StoppingCriteria(min_gain_per_kwh=0.5).threshold("max", 0.1, 0.7).min_gain_per_kwh == 0.5
    assert StoppingCriteria(min_gain_per_percent=0.2).threshold("max", 0.1, 0.7).min_gain_per_percent == 0.2
    assert not StoppingCriteria(min_gain_per_kwh=None).threshold("max", 0.1, 0.7).is_set


@pytest.mark.parametrize(
    ("limit", "text", "reason"),
    [
        ({"max_kwh": 20 / 3.6e6}, "the energy budget of 20.0 J is spent", StopReason.BUDGET_KWH),
        ({"max_co2e_kg": 1e-7, "zone": "PL"}, "CO2e is spent", StopReason.BUDGET_CO2E),
        ({"max_cost": 1e-6, "zone": "FR"}, "the budget of 1e-06 EUR is spent", StopReason.BUDGET_COST),
    ],
)
def test_an_exceeded_budget_stops(
    nvml_library: standin.Library, limit: dict[str, Any], text: str, reason: StopReason, tmp_path: Path
) -> None:
    with (
        nvml_library.running(h100(Constant(200.0))),
        trainwatt.measure(devices=["gpu"], output_dir=tmp_path, run_name="run", verbose=False),
        GreenStopper("max", devices=["gpu"], **limit) as stopper,
    ):
        time.sleep(1.0)
        decision = stopper.check_budget("step 7")
        assert decision.stop
        assert decision.reason is reason
        assert decision.sentence.startswith("stopped at step 7: ")
        assert text in decision.sentence
        assert not stopper.check_budget("step 8").sentence
    (event,) = (event for event in read_events(tmp_path / "run") if event["event"] == "budget")
    assert (event["stop"], event["stop_reason"]) == (True, reason.value)


def test_an_exceeded_budget_may_only_warn(nvml_library: standin.Library, tmp_path: Path) -> None:
    with (
        nvml_library.running(h100(Constant(200.0))),
        trainwatt.measure(devices=["gpu"], output_dir=tmp_path, run_name="run", verbose=False),
        GreenStopper("max", devices=["gpu"], max_kwh=1 / 3.6e6, over_budget="warn") as stopper,
    ):
        time.sleep(0.7)
        decision = stopper.check_budget()
    assert (decision.stop, decision.reason) == (False, None)
    assert decision.sentence.startswith("the energy budget of 1.00 J")
    (event,) = (event for event in read_events(tmp_path / "run") if event["event"] == "budget")
    assert (event["stop"], event["stop_reason"]) == (False, None)


def test_a_run_that_no_longer_pays_stops_by_its_trend() -> None:
    _, decision = decisions(GreenStopper("max", devices="ram"))
    assert decision.reason is StopReason.TREND
    assert not decision.diverged


def test_a_diverged_run_stops_for_that_reason() -> None:
    epochs, decision = decisions(GreenStopper("max", devices="ram"), metric=lambda e: 0.01 * e if e < 8 else math.nan)
    assert epochs >= 12
    assert decision.reason is StopReason.DIVERGED
    assert decision.diverged


def test_a_diverged_run_without_a_threshold_continues() -> None:
    stopper = GreenStopper("max", min_gain_per_kwh=None, devices="ram")
    _, decision = decisions(stopper, 40, lambda e: 0.01 * e if e < 8 else math.nan)
    assert (decision.stop, decision.reason) == (False, None)
    assert decision.diverged


def test_a_run_whose_learning_rate_has_yet_to_decay_is_advised_to_cool_down() -> None:
    decay = [*[1.0] * 50, *(1 - step / 50 for step in range(51))]
    with GreenStopper("max", devices="ram") as stopper:
        for epoch in range(60):
            time.sleep(0.01)
            decision = stopper.evaluate(saturating(epoch), done=(epoch + 1) / 60, remaining_lr=decay)
            if decision.stop:
                break
            assert not decision.cool_down
    assert decision.stop
    assert decision.cool_down
    assert decision.reason is StopReason.TREND


def test_criteria_are_given_by_name_only() -> None:
    with pytest.raises(TypeError, match="positional"):
        StoppingCriteria(0.5)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("argument", "value"),
    [("min_gain_per_kwh", 0), ("min_gain_per_percent", -1), ("warmup", 1.5), ("max_cost", -1), ("over_budget", "no")],
)
def test_a_wrong_argument_raises_by_name(argument: str, value: Any) -> None:
    with pytest.raises(ArgumentError, match=argument):
        GreenStopper("max", **{argument: value})


@pytest.mark.slow
def test_the_site_of_a_concurrent_monitor_is_used(nvml_library: standin.Library) -> None:
    with nvml_library.running(h100(Constant(200.0))):
        for zone, spent in (("PL", True), ("FR", False)):
            budget = GreenStopper("max", devices=["gpu"], max_co2e_kg=1.5e-5)
            with trainwatt.measure(zone=zone, devices=["gpu"], output_dir=None, verbose=False), budget:
                time.sleep(0.7)  # about 0.023 g in Poland, 0.0016 g in France
                assert budget.check_budget().stop == spent


def test_a_cost_budget_needs_an_electricity_price() -> None:
    with pytest.raises(ArgumentError, match="max_cost"):
        GreenStopper("max", max_cost=1.0, carbon_intensity=100)
    GreenStopper("max", max_cost=1.0, carbon_intensity=100, tariff=0.2)


@pytest.mark.slow
@pytest.mark.parametrize(("max_kwh", "passed"), [(400 / 3.6e6, True), (2000 / 3.6e6, False)])
def test_a_budget_may_be_applied_to_the_projection(nvml_library: standin.Library, max_kwh: float, passed: bool) -> None:
    """Project twenty evaluations in 4 s at 200 W, which use 800 J."""
    stopper = GreenStopper("max", devices=["gpu"], min_gain_per_kwh=None, max_kwh=max_kwh, predictive=True)
    with nvml_library.running(h100(Constant(200.0))), stopper:
        for number in range(1, 9):
            time.sleep(0.2)
            decision = stopper.evaluate(0.5 + 0.02 * number, done=number / 20)
            if decision.stop:
                break
    assert decision.stop == passed
    if passed:
        assert number == 3
        assert decision.reason is StopReason.BUDGET_KWH
        assert decision.sentence.endswith("will be passed by the whole training")
