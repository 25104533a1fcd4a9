"""Parts of a summary, as they are written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trainwatt.accounting.timeline import Span
from trainwatt.distributed.rank_record import PhaseHistory, RankRecord
from trainwatt.power.device import Device
from trainwatt.schema import parts
from trainwatt.schema.shape import DamagedError

RAM = Device("ram:a", "ram", "Stand-in", "estimated", "a model")


def packed(*known: tuple[float, dict[Any, Span]]) -> dict[str, Any]:
    history = PhaseHistory(100.0)
    for to_s, phases in known[:-1]:
        history.add(to_s, phases)
    to_s, phases = known[-1]
    record = RankRecord("id", 1, 2, 100.0, to_s, phases, history.slices(to_s, phases), (RAM,))
    written: dict[str, Any] = json.loads(json.dumps(record.to_dict()))
    return written


def test_a_slice_may_correct_what_was_known_of_a_phase_before() -> None:
    first = {"setup": Span(1.0, {"ram:a": 5.0}, 1), "train": Span(1.0, {"ram:a": 4.0}, 1)}
    later = {"setup": Span(1.0, {"ram:a": 4.9}, 1), "train": Span(2.0, {"ram:a": 8.1}, 1)}
    written = packed((102.0, first), (103.0, later))
    assert written["slices"][1][2]["setup"][3] == pytest.approx(-0.1)
    record = RankRecord.from_dict(parts.rank_record(written))
    assert sum(span.total_j for part in record.slices for span in part.phases.values()) == pytest.approx(13.0)


def test_a_total_below_zero_is_damaged() -> None:
    with pytest.raises(DamagedError, match="at least 0"):
        parts.rank_record(packed((102.0, {"setup": Span(1.0, {"ram:a": -5.0}, 1)})))
