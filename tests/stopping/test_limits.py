"""Limits of the metric itself, as the frameworks' own EarlyStopping has them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from trainwatt.errors import ArgumentError
from trainwatt.stopping.criteria import StoppingCriteria, without_foreign
from trainwatt.stopping.limits import MetricLimits
from trainwatt.stopping.reason import StopReason
from trainwatt.stopping.threshold import Mode


def reached(mode: Mode, values: list[float], **criteria: Any) -> list[StopReason | None]:
    """Return what each of some evaluations reaches."""
    limits, best, found = MetricLimits(StoppingCriteria(**criteria)), None, []
    for value in values:
        improved = math.isfinite(value) and (best is None or (value > best if mode == "max" else value < best))
        best = value if improved else best
        limit = limits.check(value, mode, best, improved=improved)
        found.append(limit.reason if limit else None)
    return found


NO = None
THRESHOLD, DIVERGED, BASELINE = StopReason.THRESHOLD, StopReason.DIVERGED, StopReason.BASELINE


@pytest.mark.parametrize(
    ("mode", "criteria", "values", "reasons"),
    [
        ("max", {}, [0.1, math.nan, math.inf], [NO, NO, NO]),
        ("max", {"check_finite": True}, [0.1, math.nan, -math.inf], [NO, DIVERGED, DIVERGED]),
        ("max", {"check_finite": False}, [math.nan], [NO]),
        ("max", {"stopping_threshold": 0.9}, [0.8, 0.9, 0.95], [NO, THRESHOLD, THRESHOLD]),
        ("min", {"stopping_threshold": 0.1}, [0.2, 0.1], [NO, THRESHOLD]),
        ("max", {"divergence_threshold": 0.2}, [0.3, 0.2, 0.1], [NO, NO, DIVERGED]),
        ("min", {"divergence_threshold": 9.0}, [2.0, 9.0, 9.5], [NO, NO, DIVERGED]),
        ("max", {"baseline": 0.5}, [0.1, 0.2, 0.1], [NO, NO, BASELINE]),
        ("max", {"baseline": 0.5, "patience": 4}, [0.1, 0.2, 0.1, 0.1, 0.1], [NO, NO, NO, BASELINE, BASELINE]),
        ("max", {"baseline": 0.5}, [0.1, 0.6, 0.1, 0.1], [NO, NO, NO, NO]),
        ("min", {"baseline": 0.5}, [0.9, 0.8, 0.8], [NO, NO, BASELINE]),
    ],
)
def test_a_limit_is_reached_where_it_should_be(
    mode: Mode, criteria: dict[str, Any], values: list[float], reasons: list[StopReason | None]
) -> None:
    assert reached(mode, values, **criteria) == reasons


@pytest.mark.parametrize("name", ["stopping_threshold", "divergence_threshold", "baseline"])
@pytest.mark.parametrize("value", [math.nan, math.inf, "0.5", True])
def test_a_limit_is_a_value_of_the_metric(name: str, value: Any) -> None:
    with pytest.raises(ArgumentError, match=name):
        StoppingCriteria(**{name: value})


@pytest.mark.parametrize(
    ("name", "neutral", "asking", "instead"),
    [
        ("min_delta", 0.0, 0.01, "min_gain_per_percent="),
        ("early_stopping_threshold", None, 0.5, "min_gain_per_kwh="),
        ("start_from_epoch", 0, 5, "warmup="),
        ("restore_best_weights", False, True, "ModelCheckpoint"),
        ("strict", False, True, "warning"),
        ("log_rank_zero_only", True, "yes", ""),
    ],
)
def test_a_name_of_a_framework_is_refused_only_if_it_asks_for_something(
    name: str, neutral: Any, asking: Any, instead: str
) -> None:
    assert without_foreign({name: neutral, "patience": 3}) == {"patience": 3}
    with pytest.raises(ArgumentError, match=f"{name}=.*{instead}"):
        without_foreign({name: asking})


def test_patience_has_one_name() -> None:
    with pytest.raises(ArgumentError, match="patience= instead"):
        without_foreign({"early_stopping_patience": 0})
