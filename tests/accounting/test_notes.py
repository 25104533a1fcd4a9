"""Notes of a person's own: any of them can be written, and none is taken for one of our events."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainwatt.accounting.notes import note_event, score_event


class Bad:
    def __float__(self) -> float:
        raise RuntimeError("CUDA error")

    def __str__(self) -> str:
        raise RuntimeError("CUDA error")

    def __hash__(self) -> int:
        return 1


def circle() -> dict[str, Any]:
    note: dict[str, Any] = {"event": "mine"}
    note["again"] = [note]
    return note


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_a_note_keeps_its_name_and_its_values() -> None:
    note = {"event": "start", "path": PurePosixPath("a/b"), "lr": Decimal("0.5"), "sizes": (1, 2), "none": None}
    assert note_event(note) == {
        "event": "note",
        "name": "start",
        "data": {"path": "a/b", "lr": 0.5, "sizes": [1, 2], "none": None},
    }


@pytest.mark.parametrize(
    ("note", "path", "why"),
    [
        ({"event": "x", "loss": float("nan")}, "data.loss", "nan"),
        ({"event": "x", "a": {"b": [1, float("inf")]}}, "data.a.b.1", "inf"),
        (circle(), "data.again.0", "contains itself"),
        ({"event": "x", "value": Bad()}, "data.value", "RuntimeError: CUDA error"),
        ({"event": "x", Bad(): 1}, "data", "a key without a text"),
        ({"event": "x", "deep": nested(100)}, "data.deep" + 31 * ".0", "nested more than 32 deep"),
        ({"event": "x", "long": 10**5000}, "data.long", "too many"),
    ],
)
def test_a_value_that_is_not_json_is_null_with_the_reason(note: Any, path: str, why: str) -> None:
    event = note_event(note)
    assert list(event["problems"]) == [path]
    assert why in event["problems"][path]
    json.dumps(event, allow_nan=False)


@pytest.mark.parametrize("note", ["a word", None, 3, ["event"], Bad()])
def test_what_is_no_mapping_is_a_name(note: Any) -> None:
    event = note_event(note)
    assert isinstance(event["name"], str)
    assert event["data"] == {}
    json.dumps(event, allow_nan=False)


def test_keys_that_are_no_texts_become_texts() -> None:
    assert note_event({"event": "x", 3: 4, (1, 2): 5, None: 6})["data"] == {"3": 4, "(1, 2)": 5, "None": 6}


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (1, 1),
        (0.5, 0.5),
        (True, 1.0),
        (Decimal("0.25"), 0.25),
        ("0.5", 0.5),
        (float("nan"), None),
        (Bad(), None),
        (float("-inf"), None),
        (None, None),
        ([1.0], None),
        (10**400, None),
    ],
)
def test_a_metric_is_a_finite_number_or_null(value: Any, kept: float | None) -> None:
    event = score_event("loss", value)
    assert event["value"] == kept
    assert ("value" in event.get("problems", {})) == (kept is None)
    json.dumps(event, allow_nan=False)


ANY = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.builds(Bad)),
    lambda inner: st.lists(inner) | st.dictionaries(st.one_of(st.text(), st.integers(), st.builds(Bad)), inner),
)


@given(ANY)
def test_any_note_can_be_written(note: Any) -> None:
    event = note_event(note)
    assert event["event"] == "note"
    assert json.loads(json.dumps(event, allow_nan=False)) == event
