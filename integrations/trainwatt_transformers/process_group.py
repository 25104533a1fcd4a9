"""The process group of a job, as Accelerate knows it."""

from __future__ import annotations

from typing import Any

import torch
from accelerate.utils import gather_object  # type: ignore[import-untyped]
from transformers import TrainingArguments

from trainwatt.distributed.process_group import ProcessGroup, job_identity


def process_group_of(args: TrainingArguments) -> ProcessGroup:
    """Return the process group, with Accelerate's own collective."""
    if args.world_size < 2:
        return ProcessGroup()
    connected = torch.distributed.is_available() and torch.distributed.is_initialized()
    return ProcessGroup(args.process_index, args.world_size, _gathered if connected else None, job_identity())


def _gathered(own: Any) -> list[Any]:
    objects: list[Any] = gather_object([own])
    return objects
