from __future__ import annotations

import pytest

from trainwatt.accounting.timeline import Span, SpanKey, Timeline, merged, total_of


@pytest.mark.slow
def test_a_run_of_a_million_epochs_stays_small_and_adds_up() -> None:
    timeline, epochs, taken = Timeline(), 1_000_000, 0
    for epoch in range(epochs):
        timeline.add(SpanKey(epoch, "train"), Span(1.0, {"gpu:1": 2.0, "cpu:1": 0.5}, 1, 10))
        if epoch % 100 == 0:
            taken += sum(span.steps for _, span in timeline.take(epoch))
    assert len(timeline) <= 8192
    assert taken == 10 * (epochs - 100)
    assert total_of(merged(timeline.phases())).total_j == pytest.approx(2.5 * epochs, rel=1e-9)
    assert sum(span.total_j for _, span in timeline) == pytest.approx(2.5 * epochs, rel=1e-9)
    assert sum(span.steps for _, span in timeline) == 10 * epochs
    assert dict(timeline.epoch(epochs - 1))[SpanKey(epochs - 1, "train")].total_j == 2.5


def test_epochs_are_given_out_once_and_whole_however_late() -> None:
    timeline = Timeline()
    for epoch in range(20_000):
        timeline.add(SpanKey(epoch, "train"), Span(steps=1))
        timeline.add(SpanKey(epoch, "validate"), Span(steps=2))
    keys = [key for key, _ in timeline.take(19_999)]
    assert keys == [SpanKey(epoch, phase) for epoch in range(19_999) for phase in ("train", "validate")]
    assert timeline.take(19_999) == []
    assert [span.steps for _, span in timeline.take(20_000)] == [1, 2]


def test_parts_and_the_rest_of_a_phase_add_up() -> None:
    span = Span(4.0, {"gpu:1": 8.0}, 2, 10)
    span.add(Span(1.0, {"gpu:1": 3.0}, 0, 4).labelled("augment", 3))
    span.add(Span(0.5, {"gpu:1": 1.0}, 0, 0).labelled("load", 1))
    assert span.parts() == {
        "": Span(4.0, {"gpu:1": 8.0}, 2, 10),
        "augment": Span(1.0, {"gpu:1": 3.0}, 3, 4),
        "load": Span(0.5, {"gpu:1": 1.0}, 1, 0),
    }
    assert Span.from_dict(span.to_dict()) == span
    assert sum(part.total_j for part in span.parts().values()) == span.total_j
    assert Span(1.0).labelled("all", 1).parts() == {"all": Span(1.0, entries=1)}


def test_a_phase_of_a_later_version_counts() -> None:
    spans = [(SpanKey(0, "rest"), Span(joules={"gpu:1": 2.0})), (SpanKey(0, "train"), Span(joules={"gpu:1": 1.0}))]
    phases = merged(spans)  # type: ignore[arg-type]
    assert list(phases) == ["train", "rest"]
    assert total_of(phases).total_j == 3.0


def test_a_span_survives_being_written_down() -> None:
    span = Span(1.5, {"gpu:1": 2.0}, 3, 4)
    assert Span.from_dict(span.to_dict()) == span


def test_what_was_added_since_is_the_difference() -> None:
    before = Span(1.0, {"gpu:1": 2.0}, 1, 10)
    after = Span(3.0, {"gpu:1": 5.0, "cpu:1": 1.0}, 2, 30)
    assert after.since(before) == Span(2.0, {"gpu:1": 3.0, "cpu:1": 1.0}, 1, 20)
