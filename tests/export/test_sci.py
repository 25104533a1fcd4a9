from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.export.runs import summary_at
from trainwatt.errors import ArgumentError
from trainwatt.export import sci
from trainwatt.site import Site


def test_it_is_energy_times_intensity_and_the_embodied_share_over_the_units(summary: dict[str, Any]) -> None:
    """ISO/IEC 21031: SCI = (E * I + M) / R, here of 10 kWh at PUE 1.2, two hours of eight H100 of 164 kg."""
    embodied_kg = 8 * 164 * 2 / (5 * 8760 * 0.85)
    score = sci(summary, "epoch")
    assert score.units == 5
    assert score.g_per_unit.central == pytest.approx((12 * 41.79 + embodied_kg * 1000) / 5, rel=1e-3)
    assert score.embodied_kg is not None
    assert score.embodied_kg.central == pytest.approx(embodied_kg, rel=1e-3)
    assert "R: 5 epochs" in score.text()
    assert score.to_dict()["units"] == 5


def test_steps_are_counted_and_others_are_given(summary: dict[str, Any]) -> None:
    per_step, per_token = sci(summary, "step"), sci(summary, "token", 1_000_000)
    assert per_step.units == 1000
    assert per_token.g_per_unit.central * 1000 == pytest.approx(per_step.g_per_unit.central)


def test_samples_of_an_evaluation_are_counted(summary: dict[str, Any]) -> None:
    assert sci(summary | {"samples": 500}, "sample").units == 500


def test_a_contract_does_not_change_it() -> None:
    plain, green = (summary_at(Site(zone="FR", market_intensity=each, environ={})) for each in (None, 0))
    assert sci(plain).g_per_unit == sci(green).g_per_unit


def test_hardware_of_which_nothing_is_known_is_left_out_and_said_to_be(summary: dict[str, Any]) -> None:
    summary["footprint"]["embodied_kg"] = None
    assert sci(summary).g_per_unit.central == pytest.approx(12 * 41.79 / 5)
    assert "M: unknown, left out" in sci(summary).text()
    assert sci(summary, embodied_kg=1.0).g_per_unit.central == pytest.approx((12 * 41.79 + 1000) / 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"unit": "token"}, "units=None: expected the number of tokens in the run"),
        ({"unit": "token", "units": 0}, "units=0"),
        ({"units": -1.0}, "units=-1.0"),
        ({"units": float("nan")}, "units=nan"),
        ({"embodied_kg": -1.0}, "embodied_kg=-1.0"),
    ],
)
def test_what_cannot_be_counted_by_is_told(summary: dict[str, Any], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        sci(summary, **arguments)


def test_a_run_without_epochs_has_none_to_count_by(summary: dict[str, Any]) -> None:
    summary["epochs"] = 0
    with pytest.raises(ArgumentError, match="its summary counts none"):
        sci(summary)


@given(st.floats(1e-3, 1e12))
def test_its_range_holds_it(units: float) -> None:
    score = sci(summary_at(Site(zone="FR", environ={})), "sample", units).g_per_unit
    assert 0 < score.low <= score.central <= score.high
