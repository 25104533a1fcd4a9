from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trainwatt.accounting.epoch_index import EpochIndex, EpochLabel


def labels(*numbers: int | None) -> list[tuple[int, int]]:
    """Labels of epochs that are begun with these numbers and ended."""
    index = EpochIndex()
    found = []
    for number in numbers:
        if number is not None:
            index.begin(number, "train")
        found.append(tuple(index.label(index.close())))
    assert index.current == len(numbers)
    return found


def test_numbers_are_counted_unless_they_are_given() -> None:
    assert labels(None, None, 5, None) == [(0, 0), (0, 1), (0, 5), (0, 6)]


def test_numbers_that_do_not_grow_begin_another_loop() -> None:
    assert labels(0, 1, 0, 1, 1, 7, 3) == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 1), (2, 7), (3, 3)]


def test_an_epoch_that_was_never_ended_keeps_its_number() -> None:
    index = EpochIndex()
    for number in (0, 0, 1, 2):
        index.begin(number, "train")
    assert [index.label(each) for each in range(3)] == [(0, 0), (0, 1), (0, 2)]


def test_a_loop_that_was_left_early_shares_no_epoch_with_the_next_one() -> None:
    index = EpochIndex()
    index.begin_loop()
    index.begin(0, "train")
    index.begin_loop()
    index.begin(0, "train")
    assert [index.label(each) for each in range(index.current + 1)] == [EpochLabel(0, 0), EpochLabel(1, 0)]
    index.close()
    index.begin_loop()
    index.begin_loop()
    assert index.label(index.current) == EpochLabel(2, 0)


def test_an_evaluation_of_the_epoch_that_has_ended_begins_none() -> None:
    index = EpochIndex()
    for number in range(3):
        index.begin(number, "train")
        index.close()
        index.begin(number, "validate")
    assert [index.label(each) for each in range(4)] == [(0, 0), (0, 1), (0, 2), (0, 3)]


@given(st.lists(st.one_of(st.integers(-3, 6), st.sampled_from(["end", "loop", "drop"])), max_size=60))
def test_labels_are_unique_whatever_the_numbers(events: list[int | str]) -> None:
    index = EpochIndex()
    seen: dict[int, EpochLabel] = {}
    for event in events:
        before = index.current
        if event == "end":
            assert index.close() == before
        elif event == "loop":
            index.begin_loop()
        elif event == "drop":
            index.drop_before(index.current)
        elif isinstance(event, int):
            index.begin(event, "train")
        assert before <= index.current <= before + 1
        seen[index.current] = index.label(index.current)
    assert len(set(seen.values())) == len(seen)
