"""Lightning in several processes, each with the boards and the host that it sees: the job's energy is the truth's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from standins import boot, nvml
from trainwatt.records.job_reader import merge, read_run
from trainwatt.records.run_folder import read_summary
from trainwatt.reporting.html import run_history

ROOT = Path(__file__).parents[2]
WAVES = [nvml.Square(180 + 60 * board, 220 + 60 * board, 0.4) for board in range(6)]  # no two alike
BOOT_IDS = [f"0000000{node}-b007-4000-8000-000000000000" for node in range(2)]


class Hosts:
    """Hosts with three boards each, no two of a name, and what processes on them find in their environment."""

    def __init__(self, folder: Path, library: Path) -> None:
        self.folder, self.library = folder, library
        self.origin_s = time.perf_counter()
        self.wall_s = time.time() - self.origin_s
        self.machines = [self._machine(node) for node in range(2)]

    def _machine(self, node: int) -> nvml.Machine:
        numbers = range(3 * node, 3 * node + 3)
        boards = [nvml.h100(WAVES[number], uuid=f"GPU-0000000{number}") for number in numbers]
        return nvml.Machine(tuple(boards), origin_s=self.origin_s)

    def process(self, node: int, local: int, visible: str, *, nodes: int, locals_: int) -> dict[str, str]:
        own = self.folder / f"node-{node}"
        own.mkdir(exist_ok=True)
        sizes = {"LOCAL_RANK": local, "LOCAL_WORLD_SIZE": locals_, "GROUP_RANK": node, "GROUP_WORLD_SIZE": nodes}
        return {
            **nvml.environment(self.machines[node], self.library, own),
            **boot.identity(own, BOOT_IDS[node]),
            **{name: str(value) for name, value in sizes.items()},
            "CUDA_VISIBLE_DEVICES": visible,
        }

    def truth_j(self, summary: dict[str, Any]) -> dict[str, float]:
        """By device id, over the union of the times in which any process read it."""
        times: dict[str, list[tuple[float, float]]] = {}
        for shard in summary["shards"]:
            for device in shard["devices"]:
                times.setdefault(device["id"], []).append((shard["from_s"] - self.wall_s, shard["to_s"] - self.wall_s))
        boards = {f"gpu:{m.uuid(index)}": (m, index) for m in self.machines for index in range(3)}
        return {
            name: boards[name][0].truth_j(min(t)[0], max(to_s for _, to_s in t), board=boards[name][1])
            for name, t in times.items()
            if name in boards
        }


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Hosts:
    folder = tmp_path_factory.mktemp("jobs")
    hosts = Hosts(folder, nvml.build(tmp_path_factory.getbasetemp() / "nvml"))
    two = [hosts.process(0, local, "0,1", nodes=1, locals_=2) for local in range(2)]
    each = [hosts.process(0, local, str(local), nodes=1, locals_=2) for local in range(2)]
    four = [hosts.process(n, local, f"{local},2", nodes=2, locals_=2) for n in range(2) for local in range(2)]
    jobs = [("shared", two, None), ("killed", each, 1), ("nodes", four, None)]
    described = [{"name": name, "processes": processes, "killed": killed} for name, processes, killed in jobs]
    (folder / "jobs.json").write_text(json.dumps(described))
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    quiet = {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "PYTHONPATH": path}
    environment = os.environ | quiet | two[0] | boot.preloaded(folder)
    command = [sys.executable, str(Path(__file__).with_name("launch.py")), str(folder)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    (folder / "said.txt").write_text(run.stdout + run.stderr)
    return hosts


def found(hosts: Hosts, job: str, rank: int = 0) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((hosts.folder / job / f"{rank}.json").read_text())
    return told


def joules(summary: dict[str, Any], kind: str = "gpu") -> dict[str, float]:
    return {each["id"]: each["joules"] for each in summary["devices"] if each["kind"] == kind}


def test_a_board_that_two_processes_see_is_counted_once(hosts: Hosts) -> None:
    summary = found(hosts, "shared")["summary"]
    assert joules(summary) == pytest.approx(hosts.truth_j(summary), rel=0.01)
    assert len(joules(summary)) == 2
    assert summary["processes"] == {**summary["processes"], "count": 2, "joined": 2}


def test_four_processes_on_two_nodes_are_one_job(hosts: Hosts) -> None:
    """Each task sees one board of its own, and one of its node's that the other task sees, too."""
    summary = found(hosts, "nodes")["summary"]
    assert joules(summary) == pytest.approx(hosts.truth_j(summary), rel=0.01)
    assert len(joules(summary)) == 6
    assert sorted(joules(summary, "ram")) == [f"ram:{boot_id}" for boot_id in BOOT_IDS]
    assert sum(sum(span["joules"].values()) for span in summary["phases"].values()) == pytest.approx(summary["total_j"])


def test_every_process_knows_what_all_of_them_take(hosts: Hosts) -> None:
    told = found(hosts, "nodes")
    logged_j = told["logged"]["energy/total_kwh"] * 3.6e6
    assert logged_j == pytest.approx(told["summary"]["total_j"], rel=0.1)  # of the last epoch's end
    assert logged_j <= told["summary"]["total_j"]
    assert told["summary"]["phases"]["train"]["steps"] == 6
    for rank in (1, 2, 3):
        # so that all of them choose the same checkpoint
        ours = {name: value for name, value in found(hosts, "nodes", rank)["logged"].items() if "/" in name}
        assert ours == {name: value for name, value in told["logged"].items() if "/" in name}
    assert (hosts.folder / "nodes" / "run" / "rank-3" / "events.jsonl").exists()


def test_a_process_that_is_killed_takes_no_energy_with_it(hosts: Hosts) -> None:
    """What it has counted is on its disk, up to the last second."""
    folder = hosts.folder / "killed"
    codes = json.loads((folder / "codes.json").read_text())
    assert codes[1] == 9
    assert codes[0] != 0  # the framework's own collective has failed
    assert read_summary(folder / "run")["status"] == "failed"
    job = merge([folder / "run"])
    assert job["processes"] == {"count": 2, "joined": 2}
    assert joules(job) == pytest.approx(hosts.truth_j(job), rel=0.01)


@pytest.mark.parametrize("job", ["shared", "nodes"])
def test_merging_the_folders_tells_what_the_job_told_itself(hosts: Hosts, job: str) -> None:
    once, live = merge([hosts.folder / job / "run"]), found(hosts, job)["summary"]
    assert once["total_j"] == pytest.approx(live["total_j"], rel=1e-3)
    assert once["phases"].keys() == live["phases"].keys()


@pytest.mark.parametrize("job", ["shared", "nodes", "killed"])
def test_a_run_that_is_read_back_is_the_job_and_so_is_its_power_over_time(hosts: Hosts, job: str) -> None:
    run = read_run(hosts.folder / job / "run")
    assert run.summary["total_j"] == pytest.approx(merge([run.folder])["total_j"])
    assert {each["id"] for each in run.summary["devices"]} >= hosts.truth_j(run.summary).keys()
    drawn_j = sum(part.watts * (part.to_s - part.from_s) for part in run_history.power(run))
    assert drawn_j == pytest.approx(run.summary["total_j"], rel=0.1 if job == "killed" else 0.03)
