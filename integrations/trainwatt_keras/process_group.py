"""The process group of a job, as Keras's backend knows it."""

from __future__ import annotations

import sys

import keras

from trainwatt.distributed.process_group import ALONE, ProcessGroup, job_identity, tf_config


def process_group_of() -> ProcessGroup:
    """Return the process group. No backend has a collective for objects: its processes exchange files instead."""
    rank, count = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}.get(keras.backend.backend(), _alone)()
    return ProcessGroup(rank, count, job=job_identity()) if count > 1 else ALONE


def _tensorflow() -> tuple[int, int]:
    """Read ``TF_CONFIG``: a chief, if there is one, comes before the workers."""
    told = tf_config()
    cluster, task = told.get("cluster", {}), told.get("task", {})
    names = [(kind, index) for kind in ("chief", "worker") for index in range(len(cluster.get(kind, ())))]
    here = (task.get("type"), int(task.get("index", 0)))
    return (names.index(here), len(names)) if here in names else _alone()


def _jax() -> tuple[int, int]:
    jax = sys.modules["jax"]
    return jax.process_index(), jax.process_count()


def _torch() -> tuple[int, int]:
    distributed = sys.modules["torch"].distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return _alone()
    return distributed.get_rank(), distributed.get_world_size()


def _alone() -> tuple[int, int]:
    return 0, 1


def agreed(stop: bool) -> bool:
    """Return the decision of rank 0 in all processes. It is a collective: each of them must call it.

    Args:
        stop: the decision of this process.
    """
    backend = keras.backend.backend()
    if backend == "jax" and _jax()[1] > 1:
        from jax.experimental import multihost_utils  # noqa: PLC0415  # few need it

        return bool(multihost_utils.broadcast_one_to_all(stop))
    if backend == "torch" and _torch()[1] > 1:
        distributed = sys.modules["torch"].distributed
        told = [stop]
        distributed.broadcast_object_list(told, src=0)
        return told[0]
    return stop
