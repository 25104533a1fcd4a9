"""The process group of a job, as Accelerate knows it."""

from __future__ import annotations

from typing import Any

import torch
from accelerate.utils import gather_object  # type: ignore[import-untyped]
from transformers import TrainingArguments

from trainwatt.distributed.process_group import ProcessGroup, job_identity
from trainwatt_torch.process_group import default_store


def process_group_of(args: TrainingArguments, channel: str) -> ProcessGroup:
    """Return the process group, with the store of torch.distributed, or else Accelerate's own collective.

    Args:
        args: the training arguments, which have connected the processes.
        channel: name of the callback, the same on all ranks.
    """
    if args.world_size < 2:
        return ProcessGroup()
    connected = torch.distributed.is_available() and torch.distributed.is_initialized()
    gather = _gathered if connected else None
    return ProcessGroup(args.process_index, args.world_size, gather, job_identity(), default_store(), channel)


def _gathered(own: Any) -> list[Any]:
    objects: list[Any] = gather_object([own])
    return objects
