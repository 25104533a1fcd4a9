from __future__ import annotations

import json
from collections import OrderedDict
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainwatt.files.strict_json import dumps

INFINITY, NAN = float("inf"), float("nan")


class Level(IntEnum):
    LOW = 1


class Odd:
    """A value of the user's of which nothing works."""

    def __float__(self) -> float:
        raise RuntimeError("no number")

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError("no text")


def strictly(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ({"loss": NAN}, {"loss": None, "problems": {"loss": "nan"}}),
        ({"loss": np.float32("inf")}, {"loss": None, "problems": {"loss": "inf"}}),
        ({"a": {"b": [0.5, -INFINITY]}}, {"a": {"b": [0.5, None]}, "problems": {"a.b.1": "-inf"}}),
        ({"loss": NAN, "problems": {"x": "y"}}, {"loss": None, "problems": {"x": "y", "loss": "nan"}}),
        ([NAN, 1], [None, 1]),
        (NAN, None),
        ({"a": np.float32(0.5), "b": np.int64(3), "c": Path("d")}, {"a": 0.5, "b": 3.0, "c": "d"}),
        ({"a": np.array([1, 2])}, {"a": "[1 2]"}),
        ({(1, 2): 3, None: 4, True: 5}, {"(1, 2)": 3, "None": 4, "True": 5}),
        ({"a": {1}, "b": (2,), "c": OrderedDict(d=Level.LOW)}, {"a": [1], "b": [2], "c": {"d": 1}}),
        ({"lone": "\ud800"}, {"lone": "\ud800"}),
        (Text("a"), "a"),
    ],
)
def test_what_json_lacks_is_null_with_its_reason(given: object, written: object) -> None:
    assert strictly(dumps(given)) == written
    assert strictly(dumps(given, indent=1)) == written


@pytest.mark.parametrize(
    ("value", "why"),
    [(Odd(), "no text"), (10**5000, "digits"), ({Odd(): 1}, "key")],
    ids=["odd value", "long number", "odd key"],
)
def test_a_value_that_raises_costs_itself(value: object, why: str) -> None:
    written = strictly(dumps({"a": value, "b": 2}))
    assert written["b"] == 2
    assert why in next(iter(written["problems"].values()))


def test_a_value_that_contains_itself_costs_itself() -> None:
    ring: dict[str, Any] = {"ok": 1}
    ring["ring"] = [ring]
    written = strictly(dumps(ring))
    assert written["ok"] == 1
    assert written["ring"] == [None]
    assert written["problems"] == {"ring.0": "it contains itself"}


def test_deep_nesting_is_cut() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert len(dumps({"deep": deep})) < 1000


def test_what_is_json_already_is_written_as_it_is() -> None:
    state = {"a": [1, 2.5, None, True, "\u00e9"], "b": {}}
    assert dumps(state) == json.dumps(state)
    assert dumps(state, indent=1) == json.dumps(state, indent=1)
