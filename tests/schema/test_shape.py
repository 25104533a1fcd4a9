"""Checked values: what a reader may rely on, and what the sentence names otherwise."""

from __future__ import annotations

import math
from typing import Any

import pytest

from trainwatt.schema import checkpoint, events, parts
from trainwatt.schema.shape import DamagedError, count, list_of, moment, number, record, text
from trainwatt.schema.summary import SCHEMA, summary


@pytest.mark.parametrize("value", [True, None, "1", [1], math.nan, math.inf, -1, 10**400, -(10**4000), 1e300])
def test_what_is_no_number_in_its_range_is_refused(value: Any) -> None:
    with pytest.raises(DamagedError, match="a number of at least 0"):
        number(0)(value)


def test_numbers_stay_what_they_are_and_the_tiniest_are_nothing() -> None:
    assert [number()(each) for each in (3, 0.5, -2.5, 1e-320)] == [3, 0.5, -2.5, 0.0]
    assert [type(number()(each)) for each in (3, 3.0)] == [int, float]
    assert count()(4.0) == 4


@pytest.mark.parametrize("value", [1.5, -1, "4", 10**16, False])
def test_what_is_no_count_is_refused(value: Any) -> None:
    with pytest.raises(DamagedError):
        count()(value)


@pytest.mark.parametrize("value", ["2026-01-01", "2026-01-01T00:00:00", "0001-01-01T00:00:00+00:00", 5, "x"])
def test_a_time_has_a_zone_and_a_year_that_calendars_know(value: Any) -> None:
    with pytest.raises(DamagedError, match="a time such as"):
        moment(value)
    assert moment("2026-11-25T08:49:46.000+00:00")


def test_the_sentence_names_the_field_what_is_there_and_what_would_be_right() -> None:
    shape = record({"devices": list_of(record({"joules": number(0)}))})
    with pytest.raises(DamagedError) as caught:
        shape({"devices": [{"joules": 1}, {"joules": "many"}]})
    assert str(caught.value) == "devices[1].joules is 'many': expected a number of at least 0"
    with pytest.raises(DamagedError, match=r"devices\[0\]: expected the field joules, which is missing"):
        shape({"devices": [{}]})


def test_fields_of_another_version_are_kept_unless_they_are_too_deep() -> None:
    deep: list[Any] = []
    for _ in range(500):
        deep = [deep]
    made = record({"a": text})({"a": "x", "new": {"b": [1]}, "deep": deep})
    assert made == {"a": "x", "new": {"b": [1]}}


def test_halves_of_pairs_do_not_pass() -> None:
    made = record({"a": text})({"a": "x\ud800", "\udfff": "\ud800"})
    assert str(made).encode("utf-8")


def test_a_newer_schema_is_told_with_its_version() -> None:
    newer = {"run": "r", "status": "finished", "total_j": 1, "phases": {}, "devices": []}
    newer |= {"schema": SCHEMA + 1, "about": {"trainwatt": "9.0"}}
    with pytest.raises(DamagedError, match=r"schema is 2: .*written by a newer trainwatt 9\.0; please update"):
        summary(newer)


def test_a_range_is_in_order() -> None:
    assert parts.quantity({"low": 1, "central": 2, "high": 3, "high_why": ""}) == {"low": 1, "central": 2, "high": 3}
    with pytest.raises(DamagedError, match="low ≤ central ≤ high, not low 3, central 2, high 3"):
        parts.quantity({"low": 3, "central": 2, "high": 3})


def test_joules_that_were_no_number_are_left_out_with_their_reason() -> None:
    span = {"seconds": 1.0, "entries": 1, "steps": 0, "joules": {"a": 2.0, "b": None, "b_why": "NaN"}}
    assert parts.span(span)["joules"] == {"a": 2.0}


@pytest.mark.parametrize(
    "event",
    [
        {"event": "score", "loss": 0.5},
        {"event": "span", "phase": "train"},
        {"event": "power", "stretches": "high"},
        {"event": "start"},
        {"event": ["score"]},
        {"event": "note", "name": "score"},
        {},
    ],
)
def test_a_note_named_like_an_event_of_ours_is_none(event: dict[str, Any]) -> None:
    assert events.checked(event) is None


def test_a_score_may_have_no_value_and_a_reason() -> None:
    made = events.checked({"event": "score", "name": "f1", "value": None, "problems": {"value": "NaN"}, "total_j": 1.0})
    assert made is not None
    assert made["value"] is None


def test_a_state_of_a_stopper_is_checked_as_a_whole() -> None:
    rule = {"scores": [0.1, 0.2], "energies_kwh": [1.0, 2.0], "failures": 0, "finite_kwh": 2.0}
    state = {"rule": rule, "first": 0.1, "best": 0.2, "evaluations": 2, "agreed": 0, "spent_kwh": 2.0, "run": {}}
    assert checkpoint.stopper(state)["evaluations"] == 2
    for wrong in (
        {**state, "rule": {**rule, "scores": [0.1]}},
        {**state, "rule": {**rule, "energies_kwh": [2.0, 1.0]}},
        {**state, "best": math.nan},
        {**state, "best": None},
        {**state, "evaluations": -1},
    ):
        with pytest.raises(DamagedError):
            checkpoint.stopper(wrong)
