"""Handlers are called after the outermost hook, in their order, and are then in place again."""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from trainwatt.containment import Failures
from trainwatt.signals.deferral import held, hold, is_from_handler, release
from trainwatt.signals.main_thread import call_in_main_thread
from trainwatt.signals.wakeup import WakeUp

Function = Callable[[], None]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
    before = [signal.getsignal(number) for number in numbers]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def _raises(number: int, frame: FrameType | None) -> None:
    raise RuntimeError


def send(number: int) -> None:
    os.kill(os.getpid(), number)
    # The interpreter takes notice between two bytecodes.
    time.sleep(0)


def held_calls(function: Function) -> Function:
    @functools.wraps(function)
    def wrapper() -> None:
        with held():
            function()

    return wrapper


def test_ctrl_c_comes_after_the_outermost_block() -> None:
    steps = []

    @held_calls
    def nested() -> None:
        with held():
            send(signal.SIGINT)
            steps.append("inner")
        steps.append("outer")

    with pytest.raises(KeyboardInterrupt):
        nested()
    assert steps == ["inner", "outer"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_whoever_presses_it_three_times_does_not_wait() -> None:
    steps = []

    @held_calls
    def impatient() -> None:
        send(signal.SIGINT)
        send(signal.SIGINT)
        steps.append("twice")
        send(signal.SIGINT)
        steps.append("three times")

    with pytest.raises(KeyboardInterrupt):
        impatient()
    assert steps == ["twice"]
    with held():
        pass


def test_each_handler_is_called_once_even_if_another_one_raises() -> None:
    called = []

    def first(number: int, frame: FrameType | None) -> None:
        called.append(number)
        raise RuntimeError("first")

    signal.signal(signal.SIGUSR1, first)
    signal.signal(signal.SIGUSR2, lambda number, frame: called.append(number))

    @held_calls
    def block() -> None:
        for number in (signal.SIGUSR2, signal.SIGUSR1, signal.SIGUSR2):
            send(number)
        assert called == []

    with pytest.raises(RuntimeError, match="first"):
        block()
    assert sorted(called) == [signal.SIGUSR1, signal.SIGUSR2]


class Handler:
    def __call__(self, number: int, frame: FrameType | None) -> None:
        raise RuntimeError

    def method(self, number: int, frame: FrameType | None) -> None:
        self(number, frame)


@pytest.mark.parametrize("handler", [Handler(), Handler().method, functools.partial(Handler()), _raises])
def test_what_a_handler_raises_is_contained_nowhere(handler: Any) -> None:
    signal.signal(signal.SIGUSR1, handler)
    failures = Failures()
    with pytest.raises(RuntimeError), failures.contained("a part"):
        send(signal.SIGUSR1)
    with pytest.raises(RuntimeError):
        failures.result("a part", lambda: send(signal.SIGUSR1), None)
    with failures.contained("a part"):
        raise RuntimeError
    assert not is_from_handler(None)


def test_an_error_of_the_block_is_the_context_of_the_interrupt() -> None:
    @held_calls
    def block() -> None:
        send(signal.SIGINT)
        raise ValueError("of the block")

    with pytest.raises(KeyboardInterrupt) as error:
        block()
    assert str(error.value.__context__) == "of the block"


def test_ignored_signals_and_defaults_are_left_alone() -> None:
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    with held():
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL
        send(signal.SIGUSR1)


def test_a_handler_that_is_installed_meanwhile_stays() -> None:
    def later(number: int, frame: FrameType | None) -> None:
        """Do nothing."""

    with held():
        signal.signal(signal.SIGINT, later)
    assert signal.getsignal(signal.SIGINT) is later


def test_other_threads_have_no_handlers_to_defer() -> None:
    found = []
    thread = threading.Thread(target=lambda: found.append(hold()))
    thread.start()
    thread.join()
    assert found == [None]
    release(None)


def test_the_main_thread_is_reached_even_while_it_waits_for_a_thread() -> None:
    found = []

    def call() -> None:
        call_in_main_thread(lambda: found.append(threading.current_thread()), nudge=True)
        found.append(threading.current_thread())

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert found == [threading.main_thread(), thread]
    assert signal.getsignal(signal.SIGWINCH) is signal.SIG_DFL


def test_signals_are_received_and_passed_on_but_not_those_of_a_forked_child() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing)
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
    wakeup = WakeUp()
    try:
        wakeup.install()
        child = os.fork()
        if child == 0:
            send(signal.SIGUSR1)
            os._exit(0)
        os.waitpid(child, 0)
        send(signal.SIGUSR1)
        wakeup.send(77)
        assert wakeup.receive() == signal.SIGUSR1
        wakeup.forward(signal.SIGUSR1)
        assert os.read(reading, 10) == bytes((signal.SIGUSR1,))
        if sys.platform == "linux":
            assert wakeup.receive() == 77
        wakeup.uninstall()
        assert signal.set_wakeup_fd(-1) == writing
    finally:
        signal.set_wakeup_fd(before)
        wakeup.close()
        os.close(reading)
        os.close(writing)
