"""Failures that cost themselves and one warning."""

from __future__ import annotations

import logging

import pytest

from trainwatt.containment import Failures, error_text


class UnprintableError(RuntimeError):
    def __str__(self) -> str:
        raise ZeroDivisionError


def fail(failures: Failures, kind: str, error: BaseException) -> None:
    with failures.contained(kind, "the rest goes on"):
        raise error


def test_each_kind_is_logged_once_per_run(caplog: pytest.LogCaptureFixture) -> None:
    failures = Failures()
    for kind in ("the plan", "the plan", "a sink"):
        fail(failures, kind, ValueError("bad\nvalue"))
    assert [record.getMessage() for record in caplog.records] == [
        "trainwatt: the plan failed (ValueError: bad value); the rest goes on",
        "trainwatt: a sink failed (ValueError: bad value); the rest goes on",
    ]
    fail(Failures(), "the plan", ValueError())
    assert len(caplog.records) == 3


def test_an_interrupt_is_not_contained() -> None:
    with pytest.raises(KeyboardInterrupt):
        fail(Failures(), "the plan", KeyboardInterrupt())


def test_a_function_that_fails_has_its_default() -> None:
    failures = Failures()
    assert failures.result("a part", lambda: 1 // 0, 7) == 7
    assert failures.result("a part", lambda: 3, 7) == 3


def test_an_error_without_a_text_is_named() -> None:
    assert "UnprintableError" in error_text(UnprintableError())


class Raising(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise OSError("the log is full")


def test_a_handler_of_the_users_that_raises_reaches_nobody() -> None:
    logger, handler = logging.getLogger("trainwatt"), Raising()
    logger.addHandler(handler)
    try:
        fail(Failures(), "the plan", ValueError())
        logger.warning("trainwatt: a warning")
    finally:
        logger.removeHandler(handler)
