from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from trainwatt.accounting.phase_stacks import Active, PhaseStacks


class Elsewhere:
    """Another thread that does one thing after another, and ends when asked to."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)

    def do(self, call: Callable[..., object], *args: object) -> object:
        return self._pool.submit(call, *args).result()

    def end(self) -> None:
        self._pool.shutdown(wait=True)


def test_the_end_of_a_phase_in_one_thread_leaves_those_of_another() -> None:
    stacks, other = PhaseStacks(), Elsewhere()
    stacks.enter("train")
    other.do(stacks.enter, "validate")
    assert stacks.leave("train")
    assert stacks.active.phase == "validate"
    assert not stacks.leave("validate")
    assert stacks.active.phase == "validate"
    assert other.do(stacks.leave, "validate")
    assert stacks.active == Active()
    other.end()


def test_the_phase_that_was_entered_last_is_active_and_then_the_one_before() -> None:
    stacks, other = PhaseStacks(), Elsewhere()
    stacks.enter("train")
    other.do(stacks.enter, "validate")
    assert stacks.active.phase == "validate"
    stacks.enter("checkpoint")
    assert stacks.active.phase == "checkpoint"
    stacks.leave("checkpoint")
    assert stacks.active.phase == "validate"
    other.do(stacks.leave, "validate")
    assert stacks.active.phase == "train"
    other.end()


def test_what_a_dead_thread_left_open_is_dropped() -> None:
    stacks, other = PhaseStacks(), Elsewhere()
    stacks.enter("train")
    other.do(stacks.enter, "validate")
    other.do(stacks.enter_part, "augment")
    assert not stacks.drop_dead()
    other.end()
    assert stacks.drop_dead()
    assert stacks.active == Active("train")
    assert not stacks.drop_dead()


def test_a_new_thread_with_the_identifier_of_a_dead_one_has_no_phases() -> None:
    stacks, left = PhaseStacks(), []

    def begin() -> None:
        stacks.enter("validate")

    def leave() -> None:
        left.append(stacks.leave("validate"))

    for call in (begin, leave):
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
    assert left == [False]


def test_a_part_covers_the_phases_inside_it_and_only_its_own_thread() -> None:
    stacks, other = PhaseStacks(), Elsewhere()
    fold = stacks.enter_part("fold")
    stacks.enter("train")
    assert stacks.active == Active("train", "fold")
    batch = stacks.enter_part("batch")
    assert stacks.active == Active("train", "batch")
    other.do(stacks.enter, "validate")
    assert stacks.active == Active("validate")
    other.do(stacks.leave, "validate")
    assert stacks.leave_part(batch)
    stacks.leave("train")
    assert stacks.active == Active("other", "fold")
    assert stacks.leave_part(fold)
    assert not stacks.leave_part(fold)
    other.end()


def test_a_part_of_a_thread_without_a_phase_is_one_of_the_active_phase() -> None:
    stacks, other = PhaseStacks(), Elsewhere()
    stacks.enter("train")
    label = other.do(stacks.enter_part, "loading")
    assert stacks.active == Active("train", "loading")
    other.do(stacks.leave_part, label)
    assert stacks.active == Active("train")
    other.end()


def test_parts_leave_in_any_order() -> None:
    stacks = PhaseStacks()
    for label in ("a", "b", "a"):
        stacks.enter_part(label)
    stacks.leave_part("b")
    stacks.leave_part("a")
    assert stacks.active.label == "a"


def test_names_without_end_share_one() -> None:
    stacks = PhaseStacks()
    labels = [stacks.enter_part(f"batch {number}") for number in range(500)]
    assert labels[:100] == [f"batch {number}" for number in range(100)]
    assert set(labels[100:]) == {"other labels"}
    assert stacks.enter_part("batch 5") == "batch 5"
