from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainwatt.errors import ArgumentError
from trainwatt.footprint.lifetime import lifetime


@given(st.floats(1e-6, 1e6), st.floats(1e-3, 1e6))
def test_at_the_break_even_training_is_half_of_all(training_kwh: float, request_j: float) -> None:
    expected = lifetime(training_kwh, request_j, lifetime(training_kwh, request_j).break_even_requests)
    assert expected.training_share == pytest.approx(0.5)
    assert expected.use_kwh == pytest.approx(training_kwh)


def test_a_model_of_a_kilowatt_hour_and_a_joule_a_request() -> None:
    assert lifetime(1.0, 1.0).break_even_requests == 3.6e6
    text = lifetime(1.0, 1.0, 1e7).text()
    assert "after 3.6e+06 requests" in text
    assert "training is 26%" in text


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((-1.0, 1.0), "training_kwh"),
        ((math.inf, 1.0), "training_kwh"),
        ((1.0, 0.0), "request_j"),
        ((1.0, math.nan), "request_j"),
        ((1.0, 1.0, -1.0), "expected_requests"),
    ],
)
def test_what_cannot_be_is_told(arguments: tuple[float, ...], name: str) -> None:
    with pytest.raises(ArgumentError, match=name):
        lifetime(*arguments)
