from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainwatt.quantity import spread
from trainwatt.site import Factor

RATIOS = st.lists(st.floats(0.1, 10), max_size=5)


def test_exact_parts_make_an_exact_product() -> None:
    assert spread([]) == 1
    assert spread([1.0, 1.0]) == 1


def test_two_errors_add_up_to_less_than_both_and_more_than_either() -> None:
    assert spread([2.0]) == pytest.approx(2)
    assert 2 < spread([2.0, 1.5]) < 3
    assert math.log(spread([math.exp(3), math.exp(4)])) == pytest.approx(5)


def test_a_side_of_which_nothing_is_known_has_no_end() -> None:
    assert spread([0.0, 0.9]) == math.inf


@given(RATIOS)
def test_it_is_the_same_below_as_above(ratios: list[float]) -> None:
    assert spread(ratios) >= 1
    assert spread(ratios) == pytest.approx(spread([1 / ratio for ratio in ratios]))


def test_figures_compare_within_one_source_basis_and_unit() -> None:
    ember = Factor("carbon intensity", 42, 20, 70, "gCO2e/kWh", "Ember", "2025", "lifecycle")
    assert ember.compares_with(replace(ember, value=30, year="2024"))
    assert not ember.compares_with(replace(ember, basis="direct"))
    assert not ember.compares_with(replace(ember, source="EPA"))
    assert not ember.compares_with(replace(ember, unit="lb/MWh"))
    own = Factor.given("carbon intensity", 42, "gCO2e/kWh")
    assert not own.compares_with(own)
