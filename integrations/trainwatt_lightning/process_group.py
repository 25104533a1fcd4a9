"""The process group of a job, as a Trainer's strategy knows it."""

from __future__ import annotations

from typing import Any

from torch import distributed

from trainwatt.distributed.process_group import ProcessGroup, job_identity
from trainwatt_lightning.compat import Trainer
from trainwatt_torch.process_group import default_store


def process_group_of(trainer: Trainer, channel: str) -> ProcessGroup:
    """Return the process group, with the store of torch.distributed, or else its collective.

    Args:
        trainer: the Trainer, whose strategy has connected the processes.
        channel: name of the callback, the same on all ranks.
    """
    if trainer.world_size < 2:
        return ProcessGroup()
    connected = distributed.is_available() and distributed.is_initialized()
    gather = _gathered if connected else None
    return ProcessGroup(trainer.global_rank, trainer.world_size, gather, job_identity(), default_store(), channel)


def _gathered(own: Any) -> list[Any]:
    objects: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(objects, own)
    return objects
