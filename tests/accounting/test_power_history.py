from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainwatt.accounting.power_history import PowerHistory
from trainwatt.accounting.timeline import PHASES

parts = st.lists(
    st.tuples(st.sampled_from(PHASES), st.floats(0, 1e4, allow_subnormal=False), st.floats(0, 1e6)), max_size=60
)


@given(parts)
def test_time_and_energy_add_up(parts: list[tuple[str, float, float]]) -> None:
    curve, stretches = PowerHistory(), []
    for number, (phase, seconds, joules) in enumerate(parts):
        curve.add(phase, seconds, joules)  # type: ignore[arg-type]
        if number % 7 == 0:
            stretches += curve.take()
    stretches += curve.take(last=True)
    assert sum(each.total_s for each in stretches) == pytest.approx(sum(seconds for _, seconds, _ in parts), rel=1e-12)
    assert sum(each.joules for each in stretches) == pytest.approx(sum(joules for *_, joules in parts), rel=1e-12)
    assert curve.take(last=True) == []


def test_a_minute_is_told_in_some_hundred_stretches_and_weeks_in_some_thousand() -> None:
    curve = PowerHistory()
    for _ in range(6000):
        curve.add("train", 0.01, 2.5)
    assert 200 < len(curve.take()) < 600
    for _ in range(20 * 24 * 360):
        curve.add("train", 10.0, 2500.0)
    assert len(curve.take(last=True)) < 4000
