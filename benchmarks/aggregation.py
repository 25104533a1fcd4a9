"""What it costs per epoch that two processes tell each other what they have measured, beyond the collective itself.

``python benchmarks/aggregation.py [EPOCHS]``: prints the table of benchmarks/README.md. Two processes over gloo, each
with eight devices and a run so long that its course is full. At each epoch's end are timed by turns: the exchange and
the report of the job; and the bare `all_gather_object` of as many bytes and the report of a process by itself.
"""

from __future__ import annotations

import os
import pickle
import socket
import statistics
import sys
import time
from typing import Any

import torch
from torch import distributed, multiprocessing

from trainwatt.distributed.process_group import ALONE, Exchange, ProcessGroup
from trainwatt.power.device import Device, Found
from trainwatt.sampling.sampler import Sampler
from trainwatt.testing import ScriptedCounter, VirtualClock
from trainwatt.tracking.session import Session
from trainwatt.tracking.settings import Settings

PROCESSES, DEVICES, LONG_S = 2, 8, 1000


def gathered(own: Any) -> list[Any]:
    """As the plugin for Lightning does it."""
    told: list[Any] = [None] * PROCESSES
    distributed.all_gather_object(told, own)
    return told


def session_of(rank: int, processes: ProcessGroup) -> Session:
    """A run of a thousand seconds of virtual time."""
    clock = VirtualClock()
    meters = []
    for number in range(DEVICES):
        meter = ScriptedCounter(clock, lambda time_s: 300.0 * time_s)
        meter.device = Device(f"gpu:GPU-{rank}-{number}", "gpu", "Stand-in", "measured", "a counter")
        meters.append(meter)
    sampler = Sampler(clock, threaded=False)
    settings = Settings.check(output_dir=None, verbose=False, project_after=None)
    session = Session(settings, found=Found(tuple(meters)), sampler=sampler, processes=processes)
    session.begin("train", epoch=0)
    for _ in range(LONG_S):
        clock.now_s += 1.0
        sampler.tick()
    return session


def measure(rank: int, port: int, epochs: int) -> None:
    """One of the processes."""
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    distributed.init_process_group("gloo", rank=rank, world_size=PROCESSES)
    session = session_of(rank, ProcessGroup(rank, PROCESSES, gathered))
    exchange, told = Exchange(ProcessGroup(rank, PROCESSES, gathered)), session.state()
    alone = session_of(rank, ALONE)
    ours_s, bare_s, beyond_s = [], [], []
    for _ in range(epochs):
        distributed.barrier()
        began_s = time.perf_counter()
        exchange.figures(session)
        session.snapshot()
        ours_s.append(time.perf_counter() - began_s)
        distributed.barrier()
        began_s = time.perf_counter()
        gathered(told)
        alone.snapshot()
        bare_s.append(time.perf_counter() - began_s)
        beyond_s.append(ours_s[-1] - bare_s[-1])
    if rank == 0:
        whole, bare, beyond = (statistics.median(times) * 1e3 for times in (ours_s, bare_s, beyond_s))
        print("| processes | devices each | bytes each | exchange and report, ms | bare, ms | beyond, ms |")
        print("|---|---|---|---|---|---|")
        print(f"| {PROCESSES} | {DEVICES} | {len(pickle.dumps(told))} | {whole:.2f} | {bare:.2f} | {beyond:.2f} |")
    distributed.destroy_process_group()


def main() -> None:
    """Run it."""
    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(measure, (port, epochs), nprocs=PROCESSES)


if __name__ == "__main__":
    main()
