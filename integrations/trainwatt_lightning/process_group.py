"""The process group of a job, as a Trainer's strategy knows it."""

from __future__ import annotations

from typing import Any

from torch import distributed

from trainwatt.distributed.process_group import ProcessGroup, job_identity
from trainwatt_lightning.compat import Trainer


def process_group_of(trainer: Trainer) -> ProcessGroup:
    """Return the process group, with the collective of torch.distributed."""
    if trainer.world_size < 2:
        return ProcessGroup()
    connected = distributed.is_available() and distributed.is_initialized()
    return ProcessGroup(trainer.global_rank, trainer.world_size, _gathered if connected else None, job_identity())


def _gathered(own: Any) -> list[Any]:
    objects: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(objects, own)
    return objects
