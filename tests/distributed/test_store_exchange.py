"""Ranks that exchange through a store: threads with one of their own each, some of which do not come."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from trainwatt.distributed.process_group import Exchange, ProcessGroup
from trainwatt.distributed.store_exchange import Store, StoreExchange

PATIENCE_S = 0.4
_jobs = itertools.count()


class Memory:
    """A store in memory, with the methods of PyTorch's."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.lock = threading.Lock()

    def set(self, key: str, value: str) -> None:
        with self.lock:
            self.values[key] = value

    def get(self, key: str) -> bytes:
        with self.lock:
            return self.values[key].encode()

    def check(self, keys: list[str]) -> bool:
        with self.lock:
            return all(key in self.values for key in keys)

    def delete_key(self, key: str) -> bool:
        with self.lock:
            return self.values.pop(key, None) is not None


class Gone(Memory):
    """A store whose server is gone after some calls."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.left = calls

    def check(self, keys: list[str]) -> bool:
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("Broken pipe")
        return super().check(keys)


def ranks(store: Store, size: int, *, on: tuple[int, ...] | None = None) -> dict[int, StoreExchange]:
    """Those of a run that begin it, each with the number of its run as in a process of its own."""
    job = next(_jobs)
    made = {}
    for rank in on if on is not None else range(size):
        made[rank] = StoreExchange(store, f"test {job} {rank}", rank, size, PATIENCE_S)
        made[rank]._prefix = f"trainwatt/test {job}/1/"
        if rank:
            made[rank]._put(f"here/{rank}", None)
    return made


def together(calls: dict[int, Callable[[], Any]]) -> dict[int, Any]:
    with ThreadPoolExecutor(len(calls)) as pool:
        return {
            rank: future.result(timeout=20) for rank, future in {r: pool.submit(c) for r, c in calls.items()}.items()
        }


def test_all_get_the_name_of_rank_0() -> None:
    made = ranks(Memory(), 3)
    names = together({rank: lambda e=e, rank=rank: e.name(f"run {rank}") for rank, e in made.items()})
    assert names == {0: "run 0", 1: "run 0", 2: "run 0"}


def test_rank_0_gets_the_figures_of_all_and_all_get_its_values() -> None:
    store = Memory()
    made = ranks(store, 3)
    together({rank: lambda e=e: e.name("run") for rank, e in made.items()})
    for number in range(3):
        told = together(
            {rank: lambda e=e, r=rank, n=number: e.figures({"rank": r, "n": n}) for rank, e in made.items()}
        )
        assert told[0] == [{"rank": 1, "n": number}, {"rank": 2, "n": number}]
        assert told[1] == told[2] == []
        shared = together({rank: lambda e=e, r=rank: e.share({"kwh": 0.1 + 0.2 * r}) for rank, e in made.items()})
        assert list(shared.values()) == [{"kwh": 0.1}] * 3
    assert not [key for key in store.values if "figures" in key]


def test_a_rank_without_a_callback_delays_nobody_and_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    made = ranks(Memory(), 3, on=(0, 2))
    began_s = time.monotonic()
    together({rank: lambda e=e: e.name("run") for rank, e in made.items()})
    for _ in range(3):
        told = together({rank: lambda e=e, r=rank: e.figures(r) for rank, e in made.items()})
        assert told[0] == [2]
        assert together({rank: lambda e=e: e.agree(True) for rank, e in made.items()}) == {0: False, 2: False}
    assert time.monotonic() - began_s < PATIENCE_S
    (record,) = caplog.records
    assert "rank 1 is not measured" in record.message


def test_one_that_comes_later_takes_part_from_then_on(caplog: pytest.LogCaptureFixture) -> None:
    store = Memory()
    made = ranks(store, 2, on=(0,))
    made[0].name("run")
    assert made[0].figures(None) == []
    late = StoreExchange(store, "late", 1, 2, PATIENCE_S)
    late._prefix = made[0]._prefix
    late._put("here/1", None)
    assert late.name(None) == "run"
    late.figures("first")
    made[0]._sent = 0
    assert made[0].figures(None) == ["first"]
    assert len(caplog.records) == 1


def test_without_rank_0_the_others_wait_once_and_go_on(caplog: pytest.LogCaptureFixture) -> None:
    (alone,) = ranks(Memory(), 2, on=(1,)).values()
    began_s = time.monotonic()
    assert alone.name(None) is None
    assert PATIENCE_S <= time.monotonic() - began_s < 5 * PATIENCE_S
    began_s = time.monotonic()
    assert alone.figures(1) == []
    assert alone.share({}) is None
    assert alone.agree(True) is False
    alone.close()
    assert time.monotonic() - began_s < PATIENCE_S
    (record,) = caplog.records
    assert "rank 0 has not begun to measure within 0 s" in record.message


def test_one_that_stops_coming_is_waited_for_once(caplog: pytest.LogCaptureFixture) -> None:
    made = ranks(Memory(), 2)
    together({rank: lambda e=e: e.name("run") for rank, e in made.items()})
    began_s = time.monotonic()
    assert [made[0].figures(None) for _ in range(4)] == [[], [], [], []]
    assert PATIENCE_S <= time.monotonic() - began_s < 2 * PATIENCE_S + 0.2
    assert ["no figures of rank 1" in record.message for record in caplog.records] == [True]
    # what it has to tell is not lost
    for number in range(1, 5):
        made[1].figures(number)
    made[1].figures(5)
    assert made[0].figures(None) == [5]


def test_one_that_has_left_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    made = ranks(Memory(), 2)
    together({rank: lambda e=e: e.name("run") for rank, e in made.items()})
    made[1].close()
    began_s = time.monotonic()
    assert made[0].figures(None) == []
    made[0].close()
    assert made[1].share({}) is None
    assert time.monotonic() - began_s < PATIENCE_S
    assert not caplog.records


def test_the_last_figures_need_no_farewell() -> None:
    """Rank 0 may be gone as soon as it has them, with the store's server."""
    store = Memory()
    made = ranks(store, 2)
    together({rank: lambda e=e: e.name("run") for rank, e in made.items()})
    made[1].figures("last", last=True)
    assert made[0].figures(None, last=True) == ["last"]
    before = set(store.values)
    made[1].close()
    assert set(store.values) == before


def test_values_are_removed_when_all_have_read_them() -> None:
    store = Memory()
    made = ranks(store, 2)
    together({rank: lambda e=e: e.name("run") for rank, e in made.items()})
    for number in range(100):
        assert together({rank: lambda e=e, n=number: e.share(n) for rank, e in made.items()}) == {0: number, 1: number}
    assert len(store.values) < 30


@pytest.mark.parametrize("rank", [0, 1])
def test_a_store_that_fails_costs_one_warning(rank: int, caplog: pytest.LogCaptureFixture) -> None:
    exchange = Exchange(ProcessGroup(rank, 2, None, "", Gone(1), f"gone {rank}", PATIENCE_S))
    with caplog.at_level(logging.WARNING):
        exchange.name("run")
        for _ in range(3):
            exchange.figures(Session())
            assert exchange.share({"a": 1.0}) == ({"a": 1.0} if rank == 0 else {})
        exchange.close()
    failed = [record for record in caplog.records if "communication with the other processes failed" in record.message]
    assert len(failed) == 1


class Session:
    """A session that has something to say."""

    def state(self) -> dict[str, Any]:
        return {"id": "a"}

    def merge(self, states: Any) -> None:
        raise AssertionError(states)

    def poll_folders(self, *, last: bool) -> None:
        raise AssertionError(last)
