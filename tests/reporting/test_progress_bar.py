from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainwatt.reporting.progress_bar import UNITS, bar_texts

WIDE = "160"


@pytest.mark.parametrize(
    ("metrics", "text"),
    [
        ({}, {}),
        ({"energy/total_kwh": 1e-6}, {"J": "3.60"}),
        ({"energy/total_kwh": 0.0123}, {"Wh": "12.3"}),
        ({"energy/total_kwh": 12.34}, {"kWh": "12.3"}),
        ({"energy/total_kwh": 0.0123, "projection/total_kwh": 0.1542}, {"Wh": "12.3 of 154"}),
        ({"energy/total_kwh": 0.0123, "projection/total_kwh": 1.542}, {"kWh": "0.0123 of 1.54"}),
        (
            {"energy/total_kwh": 0.01, "footprint/co2e_kg": 0.0058, "projection/co2e_kg": 0.071},
            {"Wh": "10.0", "gCO2e": "5.8 of 71"},
        ),
        ({"energy/total_kwh": 0.15, "projection/total_kwh": 0.15, "projection/remaining_s": 0.0}, {"Wh": "150"}),
        ({"energy/total_kwh": 12, "footprint/co2e_kg": 5.8}, {"kWh": "12.0", "kgCO2e": "5.8"}),
    ],
)
def test_the_bar_reads_well(metrics: dict[str, float], text: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", WIDE)
    assert bar_texts(metrics) == text


def test_a_narrow_terminal_has_room_for_the_energy_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert bar_texts({"energy/total_kwh": 0.01, "footprint/co2e_kg": 0.0058}) == {"Wh": "10.0"}


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_so_far_and_the_whole_are_told_in_one_unit_and_briefly(kwh: float, whole: float) -> None:
    ((unit, text),) = bar_texts({"energy/total_kwh": kwh, "projection/total_kwh": whole}).items()
    assert unit in UNITS
    assert " of " in text
