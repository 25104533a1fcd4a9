"""The processes of a job, as a Trainer's strategy knows them."""

from __future__ import annotations

from typing import Any

from torch import distributed

from trainwatt.processes import Processes, job_identity
from trainwatt_lightning.framework import Trainer


def processes_of(trainer: Trainer) -> Processes:
    """Those that train together, with the collective of their process group."""
    if trainer.world_size < 2:
        return Processes()
    talks = distributed.is_available() and distributed.is_initialized()
    return Processes(trainer.global_rank, trainer.world_size, _gathered if talks else None, job_identity())


def _gathered(own: Any) -> list[Any]:
    told: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(told, own)
    return told
