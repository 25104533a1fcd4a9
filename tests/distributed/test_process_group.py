"""Which process of a job this is, and what it has to measure."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import Any

import pytest

from trainwatt.distributed.process_group import (
    ALONE,
    Exchange,
    ProcessGroup,
    job_identity,
    leads_host,
    own_share,
    tf_config,
)
from trainwatt.power.device import Device, Found, Kind
from trainwatt.testing import ScriptedCounter, VirtualClock


@pytest.mark.parametrize(
    ("environ", "leads"),
    [
        ({}, True),
        ({"LOCAL_RANK": "0"}, True),
        ({"LOCAL_RANK": "1"}, False),
        ({"SLURM_LOCALID": "0", "SLURM_PROCID": "8"}, True),
        ({"SLURM_LOCALID": "3"}, False),
        ({"LOCAL_RANK": "0", "SLURM_LOCALID": "2"}, True),  # a launcher within a task of SLURM's
        ({"OMPI_COMM_WORLD_LOCAL_RANK": "1"}, False),
    ],
)
def test_the_launcher_tells_who_measures_the_host(environ: dict[str, str], leads: bool) -> None:
    assert leads_host(environ) is leads


def test_all_measure_what_they_alone_drive_and_one_the_host() -> None:
    """A set of CPUs or a container's memory is a process's own, a package or the whole memory the host's."""
    devices: list[tuple[str, Kind]] = [
        ("gpu:GPU-1", "gpu"),
        ("cpu:boot/package-0", "cpu"),
        ("cpu:boot", "cpu"),
        ("cpu:boot/cpus-0-3", "cpu"),
        ("ram:boot", "ram"),
        ("ram:boot/slurm-1", "ram"),
    ]
    found = Found(tuple(_meter(name, kind) for name, kind in devices))
    assert own_share(found, leads=True) == found
    kept = [meter.device.id for meter in own_share(found, leads=False).meters]
    assert kept == ["gpu:GPU-1", "cpu:boot/cpus-0-3", "ram:boot/slurm-1"]


def test_all_workers_of_a_cluster_agree_on_their_jobs_identity() -> None:
    cluster = {"worker": ["a:1", "b:1"]}
    told = [{"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"index": index}})} for index in range(2)]
    assert job_identity(told[0]) == job_identity(told[1]) != ""
    assert job_identity({"SLURM_JOB_ID": "7"}) not in ("", job_identity({"SLURM_JOB_ID": "8"}))
    assert job_identity({}) == ""


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_spoilt_tf_config_tells_nothing(text: str) -> None:
    assert tf_config({"TF_CONFIG": text}) == {}


def test_a_collective_that_fails_is_left_alone_from_then_on(caplog: pytest.LogCaptureFixture) -> None:
    calls = []

    def gather(own: Any) -> list[Any]:
        calls.append(own)
        raise RuntimeError("connection closed by peer")

    exchange, session = Exchange(ProcessGroup(1, 2, gather)), FakeSession()
    with caplog.at_level(logging.WARNING):
        exchange.figures(session)
        exchange.figures(session)
    assert calls == ["told"]
    assert session.heard == [()]
    assert len(caplog.records) == 1


def test_one_process_by_itself_exchanges_nothing() -> None:
    exchange, session = Exchange(ALONE), FakeSession()
    exchange.figures(session)
    assert exchange.name("run") is None
    assert session.heard == []


def test_a_process_whose_measuring_has_failed_still_takes_part() -> None:
    told: list[Any] = []
    exchange, session = Exchange(ProcessGroup(0, 2, lambda own: told.append(own) or [own, "other"])), FakeSession(None)
    exchange.figures(session)
    assert told == [None]
    assert session.heard == [[None, "other"]]


class FakeSession:
    """A session that keeps what it hears."""

    def __init__(self, says: Any = "told") -> None:
        self.says, self.heard = says, []  # type: ignore[var-annotated]

    def state(self) -> Any:
        return self.says

    def merge(self, states: Any) -> None:
        self.heard.append(states)

    def poll_folders(self, *, last: bool) -> None:
        raise AssertionError


def _meter(name: str, kind: Kind) -> ScriptedCounter:
    meter = ScriptedCounter(VirtualClock(), lambda _: 0.0)
    meter.device = replace(Device("", "gpu", "Stand-in", "measured", "a counter"), id=name, kind=kind)
    return meter
