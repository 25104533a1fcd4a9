from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainwatt.accounting.ledger import Ledger
from trainwatt.accounting.timeline import merged

POWER_W = 50.0


class Source:
    """One device of constant power."""

    def joules_at(self, time_s: float) -> dict[str, float]:
        return {"gpu:1": POWER_W * time_s}


def ledger_after(steps: int, step_s: float = 0.01, *, book_every: int = 0) -> tuple[Ledger, float]:
    ledger, now_s = Ledger(Source(), 100.0), 100.0
    ledger.begin("train", now_s, 0)
    for number in range(1, steps + 1):
        now_s += step_s
        ledger.steps += 1
        ledger.batch(1, now_s)
        if book_every and number % book_every == 0:
            ledger.book(now_s - 0.5 * step_s)
    return ledger, now_s


def test_the_first_steps_have_a_block_each_and_later_ones_share() -> None:
    ledger, now_s = ledger_after(2000)
    blocks = ledger.blocks(now_s)
    assert [block.steps for block in blocks[:60]] == [1] * 60
    assert 10 < blocks[-1].steps <= 2000 / 64 + 1
    assert blocks[0].joules == pytest.approx(POWER_W * 0.01)


def test_an_hour_takes_only_some_more_blocks_than_a_minute() -> None:
    minute, hour = (len(ledger.blocks(now_s)) for ledger, now_s in (ledger_after(600, 0.1), ledger_after(36_000, 0.1)))
    assert hour < 3 * minute
    assert hour < 600


@given(
    st.lists(st.tuples(st.sampled_from(["train", "validate", "step", "end", "book"]), st.floats(0.001, 5)), max_size=60)
)
def test_blocks_partition_the_run_as_its_spans_do(events: list[tuple[str, float]]) -> None:
    ledger, now_s = Ledger(Source(), 100.0), 100.0
    for name, seconds in events:
        now_s += seconds
        if name == "step":
            ledger.steps += 1
            ledger.batch(1, now_s)
        elif name == "end":
            ledger.end("validate", now_s)
        elif name == "book":
            ledger.book(now_s)
        else:
            ledger.begin(name, now_s)  # type: ignore[arg-type]
    ledger.end("train", now_s)
    ledger.begin("other", now_s)  # closes the last block
    blocks = ledger.blocks(now_s)
    spans = merged([*ledger.timeline.phases(), *ledger.unbooked(now_s)])
    for phase, span in spans.items():
        own = [block for block in blocks if block.key.phase == phase]
        assert sum(block.seconds for block in own) == pytest.approx(span.seconds)
        assert sum(block.joules for block in own) == pytest.approx(span.total_j)
    assert sum(block.steps for block in blocks) == ledger.steps


@pytest.mark.parametrize("book_every", [1, 7, 1000])
def test_blocks_are_the_same_however_they_are_booked(book_every: int) -> None:
    once, now_s = ledger_after(500)
    often, _ = ledger_after(500, book_every=book_every)
    expected = once.blocks(now_s)
    found = often.blocks(now_s)
    assert [block.steps for block in found] == [block.steps for block in expected]
    assert [block.joules for block in found] == pytest.approx([block.joules for block in expected])


def test_there_is_an_end_to_blocks() -> None:
    ledger, now_s = Ledger(Source(), 0.0), 0.0
    for _ in range(3000):
        now_s += 1
        ledger.begin("train", now_s)
        ledger.end("train", now_s + 0.5)
        ledger.book(now_s)
    assert len(ledger.blocks(now_s)) == 2048
