"""Properties of the stopping rule for any metric, unit and threshold."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainwatt.errors import ArgumentError
from trainwatt.stopping.rule import StoppingRule, Verdict
from trainwatt.stopping.threshold import Threshold

PLANNED_KWH = 100.0


def verdicts(rule: StoppingRule, values: Sequence[float | None], planned: float = PLANNED_KWH) -> list[Verdict]:
    """Return the verdicts on evaluations that divide the plan evenly."""
    step = planned / len(values)
    return [rule.update(value, step * (i + 1), planned_kwh=planned) for i, value in enumerate(values)]


def stop_at(rule: StoppingRule, values: Sequence[float | None], planned: float = PLANNED_KWH) -> int | None:
    """Return the index of the first evaluation at which the rule stops; None if there is none."""
    return next((i for i, verdict in enumerate(verdicts(rule, values, planned)) if verdict.stop), None)


def rule_at(threshold: float, mode: str = "max", ideal: float | None = 100.0) -> StoppingRule:
    return StoppingRule(Threshold(min_gain_per_kwh=threshold), mode, ideal=ideal)  # type: ignore[arg-type]


@st.composite
def histories(draw: st.DrawFn) -> list[float]:
    """Draw typical learning curves: saturating, stepped, noisy, collapsing, late to take off."""
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    count = draw(st.integers(5, 80))
    t = np.linspace(0, 1, count + 1)[1:]
    curve = draw(st.floats(0, 80)) * (1 - np.exp(-t * draw(st.floats(0.5, 50))))
    curve += draw(st.floats(-30, 30)) * (t > draw(st.floats(0, 1)))
    curve += draw(st.sampled_from([0.0, 0.01, 0.3, 5.0])) * random.standard_normal(count)
    return [float(value) for value in curve]


# each example replays a whole run, twice
few = settings(max_examples=50, deadline=None)
thresholds = st.sampled_from([0.003, 0.01, 0.03, 0.1, 0.3, 1.0])
# exact in binary, so that rounding does not affect the comparison
powers = st.integers(-30, 30).map(lambda n: 2.0**n)


@few
@given(histories(), thresholds, powers)
def test_the_unit_of_the_metric_does_not_matter(values: list[float], threshold: float, factor: float) -> None:
    plain = stop_at(rule_at(threshold), values)
    scaled = stop_at(rule_at(threshold * factor, ideal=100 * factor), [factor * value for value in values])
    assert scaled == plain


@few
@given(histories(), thresholds, powers)
def test_the_unit_of_energy_does_not_matter(values: list[float], threshold: float, factor: float) -> None:
    assert stop_at(rule_at(threshold / factor), values, PLANNED_KWH * factor) == stop_at(rule_at(threshold), values)


@few
@given(histories(), thresholds)
def test_min_is_the_mirror_image_of_max(values: list[float], threshold: float) -> None:
    mirrored = stop_at(rule_at(threshold, "min", -100.0), [-value for value in values])
    assert mirrored == stop_at(rule_at(threshold), values)


@few
@given(histories(), thresholds, st.floats(1, 100))
def test_a_higher_threshold_never_stops_later(values: list[float], threshold: float, factor: float) -> None:
    low, high = stop_at(rule_at(threshold), values), stop_at(rule_at(threshold * factor), values)
    assert low is None or (high is not None and high <= low)


@few
@given(
    thresholds,
    st.floats(1.5, 100),
    st.lists(st.floats(0.5, 2.0), min_size=4, max_size=100),
)
def test_never_stops_a_run_that_keeps_meeting_the_threshold(
    threshold: float, factor: float, energies: list[float]
) -> None:
    rule, spent, planned = rule_at(threshold, ideal=1e6), 0.0, 1.5 * sum(energies)
    for energy in energies:
        spent += energy
        assert not rule.update(factor * threshold * spent, spent, planned_kwh=planned).stop


@few
@given(histories(), thresholds, st.integers(0, 79), st.booleans())
def test_a_resumed_run_decides_as_an_uninterrupted_one(
    history: list[float], threshold: float, cut: int, fail: bool
) -> None:
    cut = min(cut, len(history) - 1)
    values: list[float | None] = [*history[: cut + 1], *([None, math.inf] if fail else []), *history[cut + 1 :]]
    whole, first, second = rule_at(threshold), rule_at(threshold), rule_at(threshold)
    step = PLANNED_KWH / len(values)
    for i, value in enumerate(values):
        resumed, spent = first if i <= cut else second, step * (i + 1)
        expected = whole.update(value, spent, planned_kwh=PLANNED_KWH)
        assert resumed.update(value, spent, planned_kwh=PLANNED_KWH) == expected
        if i == cut:
            second.load_state_dict(json.loads(json.dumps(first.state_dict())))


anything = st.one_of(st.none(), st.floats(), st.integers(-3, 3).map(float))


@given(st.lists(anything, max_size=40), st.lists(st.one_of(st.floats(0, 10), st.just(math.nan), st.just(math.inf))))
@settings(max_examples=200, deadline=None)
def test_no_value_that_a_training_may_log_raises(values: list[float | None], energies: list[float]) -> None:
    rule = StoppingRule(Threshold(min_gain_per_kwh=0.1), "max")
    for i, value in enumerate(values):
        spent = energies[i] if i < len(energies) else float(i)
        verdict = rule.update(value, spent, planned_kwh=20.0)
        assert verdict.expected_high is None or math.isfinite(verdict.expected_high)
    json.dumps(rule.state_dict(), allow_nan=False)


@pytest.mark.parametrize("too_high", [1.3, 2.0, 4.0])
@pytest.mark.parametrize("evaluations", [1, 2, 4])
def test_first_figures_that_were_too_high_stop_nothing_early(too_high: float, evaluations: int) -> None:
    def stop(too_high: float) -> int:
        rule = StoppingRule(Threshold(min_gain_per_percent=0.001))
        spent = {t: t + 10 * (too_high if t <= evaluations else 1.0) for t in range(1, 61)}  # a long setup
        given = ((t, rule.update(0.9 - 0.8 * 0.5**t, spent[t], planned_kwh=70.0)) for t in spent)
        return next(t for t, verdict in given if verdict.stop)

    assert stop(too_high) >= stop(1.0) - 1


def test_stops_a_plateau_after_it_stopped_paying_and_says_why() -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, 100)
    values = [90 * (1 - math.exp(-t / 4)) + noise[t] for t in range(100)]
    found = verdicts(rule_at(0.1), values)
    stop = next(i for i, verdict in enumerate(found) if verdict.stop)
    assert 18 <= stop <= 60  # the slope falls below the threshold at 22
    assert found[stop].reason.startswith("the next kWh is expected to bring ")
    assert "(90 %: " in found[stop].reason
    assert found[stop].reason.endswith("you asked for 0.1")
    assert found[stop].saves_kwh == pytest.approx(99 - stop)


def test_waits_longer_for_less() -> None:
    values = [90 * (1 - math.exp(-t / 8)) for t in range(200)]
    stops = [stop_at(rule_at(threshold), values) or 0 for threshold in (0.3, 0.1, 0.03)]
    assert 0 < stops[0] < stops[1] < stops[2]


def test_one_bad_evaluation_stops_nothing() -> None:
    values: list[float | None] = [float(i) for i in range(50)]
    values[20], values[30], values[40] = 0.0, None, math.nan
    assert stop_at(rule_at(0.1), values) is None


def test_waits_for_a_slow_start() -> None:
    values = [1.0 + 0.01 * t for t in range(15)] + [min(80.0, 1.0 + 4 * t) for t in range(85)]
    stop = stop_at(rule_at(0.1), values)
    assert stop is None or stop > 35


def test_a_collapse_waits_less_than_a_run_that_still_improves() -> None:
    collapsed = [20.0 + t for t in range(30)] + [25.0] * 70
    creeping = [20.0 + t for t in range(30)] + [49.0 + 0.002 * t for t in range(70)]
    first, second = stop_at(rule_at(0.03), collapsed), stop_at(rule_at(0.03), creeping)
    assert first is not None
    assert second is None or first < second


def test_diverged_after_several_failures_that_cost_something() -> None:
    values = [float(t) for t in range(20)] + [math.nan] * 30
    found = verdicts(rule_at(0.1), values)
    stop = next(i for i, verdict in enumerate(found) if verdict.stop)
    assert 22 <= stop <= 23
    assert found[stop].diverged
    assert "the run has diverged" in found[stop].reason


def test_a_few_failures_in_a_long_run_are_not_a_divergence() -> None:
    values: list[float | None] = [float(t) for t in range(400)]
    values[200:206] = [None] * 6
    assert stop_at(rule_at(0.1, ideal=1000.0), values) is None


def test_a_three_epoch_fine_tune_is_advised_to_evaluate_more_often() -> None:
    found = verdicts(rule_at(0.1), [70.0, 70.0, 70.0])
    assert not any(verdict.stop for verdict in found)
    assert "evaluate more often" in found[-1].reason


def test_without_a_threshold_it_observes() -> None:
    found = verdicts(StoppingRule(Threshold(), "max", ideal=100.0), [50.0] * 60 + [math.nan] * 40)
    assert not any(verdict.stop for verdict in found)
    assert found[59].expected_gain_per_kwh == 0.0
    assert found[59].gain_per_kwh == 0.0


def test_gains_are_per_kwh() -> None:
    last = verdicts(rule_at(0.01), [0.5 * t for t in range(1, 101)])[-1]
    assert last.gain_per_kwh == pytest.approx(0.5, rel=0.01)
    assert last.expected_gain_per_kwh == pytest.approx(0.5, rel=0.1)
    low, gain, high = last.expected_low or 0.0, last.expected_gain_per_kwh or 0.0, last.expected_high or 0.0
    assert 0.4 < low <= gain <= high < 0.6


def test_a_percent_of_the_run_is_a_threshold_too() -> None:
    values = [90 * (1 - math.exp(-t / 4)) for t in range(100)]
    by_percent = StoppingRule(Threshold(min_gain_per_percent=0.1), "max", ideal=100.0)
    assert stop_at(by_percent, values, planned=20.0) == stop_at(rule_at(0.5), values, planned=20.0)
    assert "the next 1 % of the run" in by_percent.update(90.0, 20.0, planned_kwh=20.0).reason


def plateau_under(lr_left_at: dict[int, list[float]], threshold: float = 0.03) -> list[Verdict]:
    rule = rule_at(threshold)
    values = [90 * (1 - math.exp(-t / 4)) for t in range(100)]
    return [
        rule.update(value, t + 1.0, planned_kwh=100.0, remaining_lr=lr_left_at.get(t, [1.0] * 101))
        for t, value in enumerate(values)
    ]


def test_goes_on_up_to_a_learning_rate_fall_that_should_pay() -> None:
    constant = next(t for t, verdict in enumerate(plateau_under({})) if verdict.stop)
    fall = {t: [1.0] * (constant + 5 - t) + [0.1] * (95 - constant) for t in range(constant + 5)}
    stepped = next(t for t, verdict in enumerate(plateau_under(fall)) if verdict.stop)
    assert stepped == constant + 5


def test_advises_the_cool_down_of_a_run_that_has_one_left() -> None:
    decay = [*[1.0] * 40, *np.linspace(1, 0, 61)]
    found = plateau_under({t: decay[t:] for t in range(99)})
    stopped = next(verdict for verdict in found if verdict.stop)
    assert stopped.cool_down
    assert "decay now" in stopped.reason


def test_the_ideal_is_guessed_from_the_values() -> None:
    values = [0.9 * (1 - math.exp(-t / 4)) for t in range(100)]
    losses = [1 - value for value in values]
    known = stop_at(rule_at(0.001, ideal=1.0), values)
    assert stop_at(rule_at(0.001, ideal=None), values) == known
    assert stop_at(rule_at(0.1, ideal=None), [100 * value for value in values]) is not None
    assert stop_at(rule_at(0.001, "min", None), losses) == known


def test_an_unbounded_metric_is_judged_by_its_range() -> None:
    rewards = [-500 + 900 * (1 - math.exp(-t / 4)) for t in range(100)]
    stop = stop_at(rule_at(1.0, ideal=None), rewards)
    assert stop is not None
    assert stop > 20


def test_a_run_without_a_plan_is_assumed_to_be_half_done() -> None:
    values = [90 * (1 - math.exp(-t / 40)) for t in range(400)]
    known, unknown = rule_at(0.1), rule_at(0.1)
    for t, value in enumerate(values):
        spent = t + 1.0
        assert unknown.update(value, spent) == known.update(value, spent, planned_kwh=2 * spent)


def test_an_evaluation_before_training_counts_for_the_best_only() -> None:
    rule = rule_at(0.1)
    assert not rule.update(10.0, 0.0, planned_kwh=100.0).stop
    assert rule.update(20.0, 1.0, planned_kwh=100.0).expected_gain_per_kwh is None


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("name", ["min_gain_per_kwh", "min_gain_per_percent"])
def test_a_threshold_is_a_positive_number(name: str, value: float) -> None:
    with pytest.raises(ArgumentError, match=name):
        Threshold(**{name: value})


def test_bad_arguments_raise_by_name() -> None:
    with pytest.raises(ArgumentError, match="min_gain_per_percent"):
        Threshold(min_gain_per_kwh=1.0, min_gain_per_percent=1.0)
    with pytest.raises(ArgumentError, match="mode"):
        StoppingRule(Threshold(), "auto")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="ideal"):
        StoppingRule(Threshold(), "max", ideal=math.nan)
