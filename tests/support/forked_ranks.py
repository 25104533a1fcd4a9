"""Ranks of a job, forked from a process that has imported the framework once for all of them."""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Callable, Mapping, Sequence


def run_ranks(job: str, environments: Sequence[Mapping[str, str]], train: Callable[[int], object]) -> list[int]:
    """Run one process for each environment, as torchrun does, and return their wait statuses.

    Args:
        job: name of the job, which is torchrun's run id.
        environments: variables by which each process is on its host, such as ``LOCAL_RANK``.
        train: called in each process with its rank.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    common = {"MASTER_ADDR": "localhost", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": job}
    children = []
    for rank, own in enumerate(environments):
        child = os.fork()
        if child == 0:
            os.environ.update({**common, "RANK": str(rank), "WORLD_SIZE": str(len(environments)), **own})
            code = 1
            try:
                train(rank)
                code = 0
            except BaseException:  # noqa: BLE001  # this is the end of a process
                traceback.print_exc()
            finally:
                os._exit(code)
        children.append(child)
    return [os.waitpid(child, 0)[1] for child in children]
