from __future__ import annotations

import pytest

from trainwatt.site.everyday import equivalences


def test_everyday_things_have_a_name_a_mass_and_a_source() -> None:
    known = equivalences()
    assert known["train_km"].value == 41
    assert known["flight_par_lon"].name == "Paris-London flight, one seat"
    for factor in known.values():
        assert factor.value > 0
        assert factor.unit in ("gCO2", "gCO2e")
        assert factor.source


def test_what_counts_co2_alone_says_so() -> None:
    assert equivalences()["car_km_eu_new_2024"].unit == "gCO2"
    assert equivalences()["car_km_eu_fleet"].value / 1000 == pytest.approx(0.175)
