"""Periodic requests to a live source in a background thread; queries return at once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from trainwatt.containment import error_text
from trainwatt.live import cache
from trainwatt.live.cache import Fetched
from trainwatt.live.fetch import FetchError, fetch, secrets_of
from trainwatt.live.intervals import Intervals
from trainwatt.live.provider import Interval, Provider, Query, Source, checked_interval
from trainwatt.masking import masked

_log = logging.getLogger("trainwatt")

_FIRST_RETRY_S, _LONGEST_RETRY_S, _MOST_DOUBLINGS = 30.0, 1_800.0, 10
_REFUSED_RETRY_S = 3_600.0
# Upper bound for the wait that a server requests.
_LONGEST_WAIT_S = 86_400.0
# Smaller clock differences are ignored.
_SKEW_S = 60.0
_KEEP_S = 40 * 86_400.0
_CACHE_S = 2 * 86_400.0


class Feed:
    """Live carbon intensity over time.

    Only its own thread uses the network; all other methods return at once. The thread ends with the process.

    Args:
        provider: the live source.
        folder: cache folder shared with other runs; None disables the cache.
    """

    def __init__(self, provider: Provider, folder: Path | None = None) -> None:
        # Incremented with every answer.
        self.version = 0
        # Reason for missing new figures; empty if there is none.
        self.problem = "no answer yet"
        self._folder = folder
        self._skew_s = 0.0
        self._failures = 0
        self._warned = False
        # Parts of the source's requests that must not be shown.
        self._secrets: set[str] = set()
        self._stop = threading.Event()
        self.name, self.basis = type(provider).__name__, ""
        self._actual, self._forecast = Intervals(), Intervals()
        try:
            self._source = Source.of(provider)
        except Exception as error:  # noqa: BLE001  # a user's own source may raise anything
            self._failed(FetchError(error_text(error)))
            return
        self.name, self.basis = self._source.name, self._source.basis
        self._actual = Intervals(carry_s=self._source.carry_s)
        threading.Thread(target=self._run, name="trainwatt-live", daemon=True).start()

    def close(self) -> None:
        """Stop the requests; a pending one is abandoned."""
        self._stop.set()

    def at(self, wall_s: float) -> float | None:
        """Return the carbon intensity at a time of this machine's clock, gCO2e/kWh; None if unknown."""
        return self._actual.at(wall_s + self._skew_s)

    def forecast(self, begin_s: float, end_s: float) -> tuple[float, float] | None:
        """Return the forecast mean over an interval, and the part of it that the forecast covers; None without one."""
        return self._forecast.mean(begin_s + self._skew_s, end_s + self._skew_s)

    def _run(self) -> None:
        wait_s = self._safely(self._recall)
        while not self._stop.wait(wait_s):
            wait_s = self._safely(self._request)

    def _safely(self, step: Callable[[], float]) -> float:
        """Take a step, and return the seconds until the next one."""
        try:
            return step()
        # Any error is retried, so that a run never loses its live figures for good. A user's own source may even exit.
        except BaseException as error:  # noqa: BLE001
            return self._failed(FetchError(error_text(error)))

    def _recall(self) -> float:
        """Load the cache; return the seconds until the next request."""
        kept, now_s = cache.load(self._folder, self._source.key), time.time()
        if kept.actual and now_s - kept.time_s < _CACHE_S:
            self._take(kept)
        # No server asks for more than the longest wait, so a later time is a spoilt one.
        not_before_s = kept.not_before_s if kept.not_before_s <= now_s + _LONGEST_WAIT_S else 0.0
        due_s = max(kept.time_s + self._source.refresh_s, not_before_s)
        return min(max(0.0, due_s - now_s), _LONGEST_WAIT_S) if kept.time_s <= now_s else 0.0

    def _request(self) -> float:
        """Make one round of requests; return the seconds until the next."""
        now_s = time.time()
        actual, skew_s, failures = self._answers(self._source.provider.actual(now_s + self._skew_s))
        if not actual:
            return self._failed(failures[-1] if failures else FetchError("no figures in the answer"))
        forecast, _, more = self._answers(self._source.provider.forecast(now_s + self._skew_s))
        fetched = Fetched(now_s, skew_s, tuple(actual), tuple(forecast))
        self._failures, self.problem = 0, ""
        self._take(fetched)
        cache.save(self._folder, self._source.key, fetched)
        asked_s = max((error.retry_s or 0.0 for error in (*failures, *more)), default=0.0)
        return min(max(self._source.refresh_s, asked_s), _LONGEST_WAIT_S)

    def _answers(self, queries: Sequence[Query]) -> tuple[list[Interval], float, list[FetchError]]:
        """Make requests, some of which may fail; return intervals, clock skew and failures."""
        intervals: list[Interval] = []
        skew_s, failures = 0.0, []
        for query in queries:
            found, ahead_s, error = self._answer(query)
            intervals += found
            skew_s = ahead_s or skew_s
            failures += [error] if error else []
        return intervals, skew_s, failures

    def _answer(self, query: Query) -> tuple[list[Interval], float, FetchError | None]:
        self._secrets |= {*map(str, query.headers.values()), *secrets_of(query.url)}
        try:
            answer = fetch(query.url, query.headers, self._source.timeout_s)
            ahead_s = 0.0 if answer.server_s is None else answer.server_s - time.time()
            return _parsed(query, answer.payload), ahead_s if abs(ahead_s) > _SKEW_S else 0.0, None
        except FetchError as error:
            return [], 0.0, error

    def _take(self, fetched: Fetched) -> None:
        since_s = time.time() + fetched.skew_s - _KEEP_S
        self._skew_s = fetched.skew_s
        self._actual = self._actual.updated(fetched.actual, since_s=since_s)
        self._forecast = Intervals(fetched.forecast)
        self.problem = ""
        self.version += 1

    def _failed(self, error: FetchError) -> float:
        self.problem = masked(str(error), self._secrets)
        self._failures += 1
        if not self._warned:
            self._warned = True
            _log.warning(
                "trainwatt: no live carbon intensity from %s (%s): the static factor is used until it is available",
                self.name,
                self.problem,
            )
        if error.retry_s is not None:
            wait_s = min(max(error.retry_s, 1.0), _LONGEST_WAIT_S)
            kept = cache.load(self._folder, self._source.key)
            cache.save(self._folder, self._source.key, replace(kept, not_before_s=time.time() + wait_s))
            return wait_s
        if error.refused:
            return _REFUSED_RETRY_S
        return float(min(_FIRST_RETRY_S * 2 ** min(self._failures - 1, _MOST_DOUBLINGS), _LONGEST_RETRY_S))


def _parsed(query: Query, payload: object) -> list[Interval]:
    try:
        intervals = [checked_interval(*each) for each in query.parse(payload)]
    # An answer may contain anything, and the parser may be the user's own.
    except Exception as error:  # noqa: BLE001
        raise FetchError(f"malformed answer: {error_text(error)}") from None
    if not intervals:
        raise FetchError("no figures in the answer")
    return intervals
