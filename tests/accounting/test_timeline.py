from __future__ import annotations

import pytest

from trainwatt.accounting.timeline import Span, SpanKey, Timeline, merged, total_of


@pytest.mark.slow
def test_a_run_of_a_million_epochs_stays_small_and_adds_up() -> None:
    timeline, epochs = Timeline(), 1_000_000
    for epoch in range(epochs):
        timeline.add(SpanKey(epoch, "train"), Span(1.0, {"gpu:1": 2.0, "cpu:1": 0.5}, 1, 10))
    assert len(timeline) <= 8192
    assert total_of(merged(timeline.phases())).total_j == pytest.approx(2.5 * epochs, rel=1e-9)
    assert sum(span.total_j for _, span in timeline) == pytest.approx(2.5 * epochs, rel=1e-9)
    assert sum(span.steps for _, span in timeline) == 10 * epochs
    assert dict(timeline.epoch(epochs - 1))[SpanKey(epochs - 1, "train")].total_j == 2.5


def test_a_span_survives_being_written_down() -> None:
    span = Span(1.5, {"gpu:1": 2.0}, 3, 4)
    assert Span.from_dict(span.to_dict()) == span


def test_what_was_added_since_is_the_difference() -> None:
    before = Span(1.0, {"gpu:1": 2.0}, 1, 10)
    after = Span(3.0, {"gpu:1": 5.0, "cpu:1": 1.0}, 2, 30)
    assert after.since(before) == Span(2.0, {"gpu:1": 3.0, "cpu:1": 1.0}, 1, 20)
