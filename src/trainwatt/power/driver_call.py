"""Calls into a driver that may never return, each in a thread of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable, Mapping
from concurrent import futures
from typing import Any, TypeVar

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

# A driver that answers none of its open calls for this long is not waited for any longer. GPUs that wake up from a
# sleep state take some seconds together, but they answer one after the other.
SILENT_S = 1.0
_SLICE_S = 0.05


class UnresponsiveError(Exception):
    """A call that has not returned, and that nobody waits for."""


# Calls that have not returned in time. As long as they do not, the driver is not asked the same again.
_silent: dict[Hashable, futures.Future[Any]] = {}


def answers(calls: Mapping[K, Callable[[], T]]) -> dict[K, T | Exception]:
    """Make some calls at once, and wait as long as they are answered, each no more than a second after another.

    A call that is not answered is left in its thread, and a process waits for it once: until it returns, the same call
    is not made again. A forked process, to which that thread does not belong, asks for itself.

    Args:
        calls: The calls, each by a key that is the same in every run of this process.

    Returns:
        Their results. In place of a result: what the call raised, or `UnresponsiveError`.
    """
    open_calls = {key: _started(call) for key, call in calls.items() if key not in _silent or _silent[key].done()}
    _wait(set(open_calls.values()))
    _silent.update({key: call for key, call in open_calls.items() if not call.done()})
    found: dict[K, T | Exception] = {}
    for key in calls:
        answer: T | Exception = _answer(open_calls.get(key))
        found[key] = answer
    return found


def _started(call: Callable[[], T]) -> futures.Future[T]:
    answer: futures.Future[T] = futures.Future()

    def ask() -> None:
        try:
            answer.set_result(call())
        # Returned to the thread that waits.
        except BaseException as error:  # noqa: BLE001
            answer.set_exception(error)

    threading.Thread(target=ask, name="trainwatt-discover", daemon=True).start()
    return answer


def _wait(open_calls: set[futures.Future[T]]) -> None:
    silent_s = 0.0
    while open_calls and silent_s < SILENT_S:
        answered, open_calls = futures.wait(open_calls, _SLICE_S, futures.FIRST_COMPLETED)
        # In slices: if this process gets no CPU time, its driver is not to blame for all of the time that passes.
        silent_s = 0.0 if answered else silent_s + _SLICE_S


def _answer(call: futures.Future[T] | None) -> T | Exception:
    if call is None or not call.done():
        return UnresponsiveError(f"no answer within {SILENT_S:g} s")
    error = call.exception()
    if error is None:
        return call.result()
    return error if isinstance(error, Exception) else RuntimeError(f"{type(error).__name__}: {error}")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_silent.clear)
