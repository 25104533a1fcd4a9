"""Green early stopping in a custom training loop; the rest is covered by the callbacks' tests."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

import trainwatt
from standins import nvml as standin
from standins.nvml import Constant, h100
from trainwatt.errors import ArgumentError
from trainwatt.records.run_folder import read_events
from trainwatt.site import Site
from trainwatt.stopping.criteria import Decision, StoppingCriteria
from trainwatt.stopping.reason import StopReason
from trainwatt.testing import ConstantCounter, VirtualClock, VirtualTracker
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


FRANCE = {"zone": "FR", "devices": ["ram"], "output_dir": None, "verbose": False}


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment that tells no place, like that of a server in UTC."""
    for variable in [name for name in os.environ if name.startswith(("TRAINWATT_", "AWS_"))]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("TRAINWATT_CONFIG", str(tmp_path / "trainwatt.toml"))
    (tmp_path / "trainwatt.toml").write_text('zone = "WORLD"')


def test_a_cost_budget_needs_an_electricity_price() -> None:
    with pytest.raises(ArgumentError, match=r"max_cost=1\.0: expected tariff="):
        GreenStopper("max", max_cost=1.0, carbon_intensity=100, zone="IN")
    GreenStopper("max", max_cost=1.0, carbon_intensity=100, tariff=0.2)


@pytest.mark.usefixtures("nowhere")
def test_a_cost_budget_without_a_place_takes_its_monitors_price_or_is_refused_before_the_training() -> None:
    stopper = GreenStopper("max", max_cost=1.0, devices=["ram"])
    with pytest.raises(ArgumentError, match=r"max_cost=1\.0: expected tariff=.*World"):
        stopper.start()
    with trainwatt.measure(**FRANCE), stopper:
        assert not stopper.check_budget().stop
    india = trainwatt.measure(**FRANCE | {"zone": "IN"})
    with india, pytest.raises(ArgumentError, match=r"max_cost.*India"):
        stopper.start()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"zone": "PL"}, r"zone='PL': expected FR \(given\), as for the monitor"),
        ({"cloud": "aws/us-east-1"}, r"cloud='aws/us-east-1': expected FR"),
        ({"site": Site(zone="SE", environ={})}, r"zone='SE': expected FR"),
        ({"pue": 1.5}, r"pue=1\.5: expected 1\.2 \(given\)"),
        ({"zone": "FR", "pue": 1.5}, r"pue=1\.5: expected 1\.2 \(given\)"),
    ],
)
def test_another_place_than_the_monitors_is_refused_before_the_training(options: dict[str, Any], message: str) -> None:
    stopper = GreenStopper("max", devices=["ram"], **options)
    with trainwatt.measure(**FRANCE, pue=1.2), pytest.raises(ArgumentError, match=message):
        stopper.start()


def test_the_same_place_or_only_more_factors_are_accepted() -> None:
    for options in ({}, {"zone": "FR"}, {"zone": "FR", "pue": 1.2}, {"cloud": "aws/eu-west-3"}, {"tariff": 0.3}):
        with trainwatt.measure(**FRANCE), GreenStopper("max", devices=["ram"], **options) as stopper:
            assert not stopper.check_budget().stop


@pytest.mark.usefixtures("nowhere")
def test_the_environments_place_yields_to_the_monitors() -> None:
    with trainwatt.measure(**FRANCE), GreenStopper("max", devices=["ram"], max_co2e_kg=1.0) as stopper:
        assert not stopper.check_budget().stop


@pytest.mark.slow
def test_a_stoppers_own_factor_is_applied_at_the_monitors_place(nvml_library: standin.Library) -> None:
    with nvml_library.running(h100(Constant(200.0))):
        for factor, spent in ((650.0, True), (42.0, False)):
            budget = GreenStopper("max", devices=["gpu"], max_co2e_kg=2e-5, carbon_intensity=factor)
            monitor = trainwatt.measure(cloud="aws/eu-west-3", devices=["gpu"], output_dir=None, verbose=False)
            with monitor, budget:
                # 140 J with a PUE of 1.14: 0.029 g or 0.0019 g
                time.sleep(0.7)
                assert budget.check_budget().stop == spent


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


@pytest.fixture
def virtual() -> Iterator[type[VirtualStopper]]:
    """Stoppers in virtual time, which end with the test."""
    yield VirtualStopper
    while VirtualStopper.running:
        VirtualStopper.running.pop().stopper.stop()


class VirtualStopper:
    """A stopper of 100 W in virtual time, whose training saves and restores its state."""

    running: ClassVar[list[VirtualStopper]] = []

    def __init__(self, state: dict[str, Any] | None = None, **options: Any) -> None:
        self.running.append(self)
        self.stopper = GreenStopper("max", min_gain_per_kwh=1e-9, **{"zone": "FR", **options})
        self.clock, self.score = VirtualClock(), 0.5
        settings = self.stopper._tracker._settings
        self.tracker = VirtualTracker(self.clock, [ConstantCounter(self.clock, watts=100.0)], site=settings.site)
        self.stopper._tracker = self.tracker
        self.stopper.start()
        if state is not None:
            self.stopper.load_state_dict(json.loads(json.dumps(state)))

    def epoch(self, seconds: float, done: float | None = None) -> Decision:
        self.tracker.advance(seconds)
        self.score += 0.01
        return self.stopper.evaluate(self.score, done=done)


def test_a_budget_counts_a_run_once_that_restores_its_own_checkpoint(virtual: type[VirtualStopper]) -> None:
    run = virtual(max_kwh=90.0 / 3.6e6)
    run.epoch(0.3)
    state = run.stopper.state_dict()
    assert not run.epoch(0.3).stop
    for _ in range(3):
        run.stopper.load_state_dict(state)
    assert run.stopper.spent_kwh * 3.6e6 == pytest.approx(60.0)
    assert not run.epoch(0.29).stop
    decision = run.epoch(0.02)
    assert (decision.stop, decision.reason) == (True, StopReason.BUDGET_KWH)
    run.stopper.stop()
    assert run.stopper.spent_kwh * 3.6e6 == pytest.approx(91.0)


def test_a_budget_of_emissions_prices_earlier_attempts_at_their_own_place(virtual: type[VirtualStopper]) -> None:
    """0.1 kWh in Poland are about 90 times as much as in Sweden."""
    first = virtual(zone="PL")
    first.epoch(3600.0)
    report = first.stopper._report()
    assert report is not None
    spent_kg, state = report.footprint.co2e_kg.central, first.stopper.state_dict()
    first.stopper.stop()
    over, under = (virtual(state, zone="SE", max_co2e_kg=part * spent_kg) for part in (1.005, 1.5))
    assert over.epoch(3600.0).reason == StopReason.BUDGET_CO2E
    assert under.epoch(3600.0).reason is None
    assert over.stopper.spent_kwh == pytest.approx(0.2)


def test_a_projection_holds_after_a_training_has_gone_back(virtual: type[VirtualStopper]) -> None:
    """10 epochs of 0.01 kWh each, of which three are made twice."""
    run = virtual(max_kwh=0.2)
    for epoch in (*range(5), *range(2, 8)):
        run.epoch(360.0, (epoch + 1) / 10)
    planned = run.stopper._planned_kwh
    assert planned is not None
    assert planned.central == pytest.approx(0.13)


def test_the_state_of_an_older_version_counts_its_energy_once(virtual: type[VirtualStopper]) -> None:
    run = virtual()
    run.epoch(360.0)
    older = {name: value for name, value in run.stopper.state_dict().items() if name != "run"}
    run.stopper.stop()
    again = virtual(older)
    again.epoch(360.0)
    again.stopper.load_state_dict(older)
    assert again.stopper.spent_kwh == pytest.approx(0.02)
