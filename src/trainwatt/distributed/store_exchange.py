"""Exchange between ranks through a key-value store, where no rank waits for one that does not come.

Ranks announce themselves and leave their figures; rank 0 reads what is there and leaves its values for the others.
Nothing of it is a collective: no device takes part, and a rank that does not reach a hook delays the others for a
limited time.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

_log = logging.getLogger("trainwatt")

# Longest wait for figures, and at the start for rank 0.
PATIENCE_S = 30.0
# Longest wait for the values of rank 0, which may do work of its own first; the training waits for it as well.
_VALUES_S = 600.0
_FIRST_POLL_S, _LAST_POLL_S = 0.001, 0.05
# Values that all ranks have surely read.
_KEPT_VALUES = 16

# Runs of each channel that this process has begun: all ranks begin theirs in the same order.
_begun: Counter[str] = Counter()
_begun_lock = threading.Lock()


class Store(Protocol):
    """Key-value store that all ranks share, such as that of ``torch.distributed``."""

    def set(self, key: str, value: str, /) -> Any:
        """Write a value."""
        ...

    def get(self, key: str, /) -> bytes:
        """Read a value that exists."""
        ...

    def check(self, keys: list[str], /) -> bool:
        """Return True if all keys exist, at once."""
        ...

    def delete_key(self, key: str, /) -> bool:
        """Remove a value."""
        ...


class StoreExchange:
    """Exchange of one run.

    Args:
        store: the store; its methods may raise any exception.
        channel: name of the part of this process that exchanges, the same on all ranks.
        rank: rank of this process, from 0.
        world_size: number of processes.
        patience_s: longest wait for a rank that does not come.
    """

    def __init__(self, store: Store, channel: str, rank: int, world_size: int, patience_s: float = PATIENCE_S) -> None:
        with _begun_lock:
            _begun[channel] += 1
            self._prefix = f"trainwatt/{channel}/{_begun[channel]}/"
        self._store, self._rank, self._patience_s = store, rank, patience_s
        self._others = range(1, world_size)
        self._sent = self._shared = 0
        # of rank 0: the next record to read of each rank that takes part, and those that are known not to
        self._next: dict[int, int] = {}
        self._silent: set[int] = set()
        self._late: set[int] = set()
        self._is_led: bool | None = None
        self._has_ended = False
        if rank:
            self._put(f"here/{rank}", None)

    def name(self, own: str | None) -> str | None:
        """Return the name that rank 0 gives at the start of a run; None if it has none or does not come."""
        if not self._rank:
            self._put("lead", own)
            return own
        if not self._wait(lambda: self._has("lead"), self._patience_s):
            _log.warning(
                "trainwatt: rank 0 has not begun to measure within %.0f s: this rank measures by itself. "
                "Give the callback to every rank",
                self._patience_s,
            )
            return None
        return self._read_name()

    def figures(self, own: Any, *, last: bool = False) -> list[Any]:
        """Send the figures of this rank; return those of the others to rank 0, and nothing to them.

        Rank 0 waits for the ranks that take part, until the time limit. What comes later is read the next time.

        Args:
            own: figures of this rank, JSON-able.
            last: True at the end of the run; rank 0 may be gone as soon as it has them.
        """
        self._sent += 1
        if self._rank:
            if self._leads():
                self._put(f"figures/{self._rank}/{self._sent}", own)
            self._has_ended = last
            return []
        self._note_who_is_here()
        awaited = [rank for rank in self._next if rank not in self._late]
        self._wait(lambda: all(self._has_sent(rank) for rank in awaited), self._patience_s)
        self._note_who_is_late(awaited)
        return [record for rank in self._next for record in self._received(rank)]

    def share(self, own: Any) -> Any:
        """Return the values of rank 0 to every rank; None if it does not measure."""
        self._shared += 1
        key = f"values/{self._shared}"
        if not self._rank:
            self._put(key, own)
            if self._shared > _KEPT_VALUES:
                self._store.delete_key(f"{self._prefix}values/{self._shared - _KEPT_VALUES}")
            return own
        if not self._leads():
            return None
        if not self._wait(lambda: self._has(key) or self._has("closed"), _VALUES_S):
            self._is_led = False
            _log.warning("trainwatt: rank 0 has shared no values for %.0f s; this rank goes on without", _VALUES_S)
            return None
        return self._get(key) if self._has(key) else None

    def agree(self, own: bool) -> bool:
        """Return the decision of rank 0 on every rank; False unless every rank takes part.

        Args:
            own: decision of this rank; only that of rank 0 matters.
        """
        return bool(self.share(own and all(self._has(f"here/{rank}") for rank in self._others)))

    def close(self) -> None:
        """End the part of this rank: no other waits for it any more."""
        if not self._rank:
            self._put("closed", None)
        elif not self._has_ended and self._leads():
            self._put(f"left/{self._rank}", None)

    def _leads(self) -> bool:
        """Return True if rank 0 measures: where it does, it has said so before any rank reaches this."""
        if self._is_led is None:
            self._is_led = self._has("lead")
        return self._is_led

    def _read_name(self) -> str | None:
        self._is_led = True
        name = self._get("lead")
        return str(name) if name else None

    def _note_who_is_here(self) -> None:
        missing = [rank for rank in self._others if rank not in self._next and not self._joins(rank)]
        news = [rank for rank in missing if rank not in self._silent]
        self._silent = set(missing)
        if news:
            _log.warning(
                "trainwatt: %s not measured, so that the figures are of the other processes: give the callback to "
                "every rank",
                _ranks_text(news),
            )

    def _joins(self, rank: int) -> bool:
        if not self._has(f"here/{rank}"):
            return False
        self._next[rank] = 1
        return True

    def _note_who_is_late(self, awaited: Iterable[int]) -> None:
        late = [rank for rank in awaited if not self._has(self._record(rank, self._sent))]
        gone = {rank for rank in late if self._has(f"left/{rank}")}
        news = [rank for rank in late if rank not in gone]
        self._late |= set(late)
        if news:
            _log.warning(
                "trainwatt: no figures of rank %s within %.0f s; earlier ones are kept, and it is no longer waited for",
                ", ".join(map(str, news)),
                self._patience_s,
            )

    def _has_sent(self, rank: int) -> bool:
        return self._has(self._record(rank, self._sent)) or self._has(f"left/{rank}")

    def _received(self, rank: int) -> Sequence[Any]:
        """Return the latest record of a rank, and remove all that have come."""
        latest: list[Any] = []
        while self._next[rank] <= self._sent and self._has(key := self._record(rank, self._next[rank])):
            latest = [self._get(key)]
            self._store.delete_key(self._prefix + key)
            self._next[rank] += 1
        if self._next[rank] > self._sent:
            self._late.discard(rank)
        return latest

    @staticmethod
    def _record(rank: int, number: int) -> str:
        return f"figures/{rank}/{number}"

    def _put(self, key: str, value: Any) -> None:
        self._store.set(self._prefix + key, json.dumps(value))

    def _get(self, key: str) -> Any:
        return json.loads(self._store.get(self._prefix + key))

    def _has(self, key: str) -> bool:
        return self._store.check([self._prefix + key])

    @staticmethod
    def _wait(come: Callable[[], bool], patience_s: float) -> bool:
        """Return True as soon as a condition holds, False after a time limit."""
        until_s, poll_s = time.monotonic() + patience_s, _FIRST_POLL_S
        while not come():
            if time.monotonic() > until_s:
                return False
            time.sleep(poll_s)
            poll_s = min(_LAST_POLL_S, 2 * poll_s)
        return True


def _ranks_text(ranks: Sequence[int]) -> str:
    numbers = ", ".join(map(str, ranks))
    return f"ranks {numbers} are" if len(ranks) > 1 else f"rank {numbers} is"
