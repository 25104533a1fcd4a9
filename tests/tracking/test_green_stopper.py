"""Green stopping for a loop of one's own; the callbacks' tests show the rest."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

import trainwatt
from standins import nvml as standin
from standins.nvml import Constant, h100
from trainwatt.errors import ArgumentError
from trainwatt.records.run_folder import read_events
from trainwatt.tracking.green_stopper import GreenStopper, StoppingCriteria


def saturating(epoch: int) -> float:
    return 0.9 - 0.8 * 0.5**epoch


def train(stopper: GreenStopper, epochs: int = 60, metric: Any = saturating) -> int:
    """Epochs made until it says stop."""
    with stopper:
        for epoch in range(epochs):
            time.sleep(0.01)
            if stopper.evaluate(metric(epoch), done=(epoch + 1) / epochs, when=f"epoch {epoch}").stop:
                return epoch + 1
    return epochs


def test_a_loop_of_ones_own_stops_when_it_no_longer_pays(nvml_library: standin.Library, tmp_path: Path) -> None:
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
    (score,) = (event for event in events if event["event"] == "score")
    assert (score["name"], score["value"]) == ("val_acc", saturating(made - 1))
    assert 0 < score["total_j"] <= 1.1 * run.summary["total_j"]


def test_patience_asks_for_so_many_more_that_agree() -> None:
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
    ("mode", "values", "price"),
    [
        ("max", (0.1, 0.7), 0.001),  # an accuracy between 0 and 1: 0.1 points
        ("max", (10.0, 70.0), 0.1),  # the same in per cent
        ("min", (2.5, 1.0), 0.0025),  # a loss: 0.1 % of its first value
    ],
)
def test_the_price_that_is_not_named_fits_the_metric(mode: Any, values: tuple[float, float], price: float) -> None:
    assert StoppingCriteria().price(mode, *values).min_gain_per_percent == pytest.approx(price)


def test_a_price_that_is_named_holds() -> None:
    assert StoppingCriteria(min_gain_per_kwh=0.5).price("max", 0.1, 0.7).min_gain_per_kwh == 0.5
    assert StoppingCriteria(min_gain_per_percent=0.2).price("max", 0.1, 0.7).min_gain_per_percent == 0.2
    assert not StoppingCriteria(min_gain_per_kwh=None).price("max", 0.1, 0.7).asked


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ({"max_kwh": 20 / 3.6e6}, "the energy budget of 20.0 J is spent"),
        ({"max_co2e_kg": 1e-7, "zone": "PL"}, "CO2e is spent"),
        ({"max_cost": 1e-6, "zone": "FR"}, "the budget of 1e-06 EUR is spent"),
    ],
)
def test_a_budget_is_kept(nvml_library: standin.Library, limit: dict[str, Any], said: str) -> None:
    with nvml_library.running(h100(Constant(200.0))), GreenStopper("max", devices=["gpu"], **limit) as stopper:
        time.sleep(1.0)
        decision = stopper.check_budget("step 7")
        assert decision.stop
        assert decision.sentence.startswith("stopped at step 7: ")
        assert said in decision.sentence
        assert not stopper.check_budget("step 8").sentence


@pytest.mark.parametrize(
    ("argument", "value"),
    [("min_gain_per_kwh", 0), ("min_gain_per_percent", -1), ("warmup", 1.5), ("max_cost", -1), ("over_budget", "no")],
)
def test_a_wrong_argument_is_told(argument: str, value: Any) -> None:
    with pytest.raises(ArgumentError, match=argument):
        GreenStopper("max", **{argument: value})


def test_beside_a_monitor_its_site_counts(nvml_library: standin.Library) -> None:
    with nvml_library.running(h100(Constant(200.0))):
        for zone, spent in (("PL", True), ("FR", False)):
            budget = GreenStopper("max", devices=["gpu"], max_co2e_kg=1.5e-5)
            with trainwatt.measure(zone=zone, devices=["gpu"], output_dir=None, verbose=False), budget:
                time.sleep(0.7)  # about 0.023 g in Poland, 0.0016 g in France
                assert budget.check_budget().stop == spent


def test_a_budget_of_money_needs_a_price() -> None:
    with pytest.raises(ArgumentError, match="max_cost"):
        GreenStopper("max", max_cost=1.0, carbon_intensity=100)
    GreenStopper("max", max_cost=1.0, carbon_intensity=100, tariff=0.2)


@pytest.mark.parametrize(("max_kwh", "passed"), [(400 / 3.6e6, True), (2000 / 3.6e6, False)])
def test_a_budget_may_be_kept_before_it_is_spent(nvml_library: standin.Library, max_kwh: float, passed: bool) -> None:
    """Twenty evaluations in 4 s at 200 W take 800 J."""
    stopper = GreenStopper("max", devices=["gpu"], min_gain_per_kwh=None, max_kwh=max_kwh, foresee=True)
    with nvml_library.running(h100(Constant(200.0))), stopper:
        for number in range(1, 9):
            time.sleep(0.2)
            decision = stopper.evaluate(0.5 + 0.02 * number, done=number / 20)
            if decision.stop:
                break
    assert decision.stop == passed
    if passed:
        assert number == 3
        assert decision.sentence.endswith("will be passed by the whole training")
