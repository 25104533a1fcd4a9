"""The process group of a job, as Keras's backend knows it."""

from __future__ import annotations

import sys
from typing import Any

import keras

from trainwatt.distributed.process_group import ALONE, ProcessGroup, job_identity, tf_config

_GET_MS = 10_000


def process_group_of(channel: str) -> ProcessGroup:
    """Return the process group, with the key-value store by which the backend's processes have found each other.

    TensorFlow has none: its processes exchange files instead.

    Args:
        channel: name of the callback, the same on all ranks, and another one for each callback.
    """
    backend = keras.backend.backend()
    rank, count = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}.get(backend, _alone)()
    if count < 2:
        return ALONE
    store = {"jax": _jax_store, "torch": _torch_store}.get(backend, _no_store)()
    return ProcessGroup(rank, count, job=job_identity(), store=store, channel=channel)


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


class _JaxStore:
    """The key-value store of JAX's coordinator, with the methods of PyTorch's.

    Args:
        client: JAX's connection to it.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def set(self, key: str, value: str) -> None:
        """Write a value."""
        self._client.key_value_set(key, value)

    def get(self, key: str) -> bytes:
        """Read a value that exists."""
        return str(self._client.blocking_key_value_get(key, _GET_MS)).encode()

    def check(self, keys: list[str]) -> bool:
        """Return True if all keys exist, at once."""
        return all(self._exists(key) for key in keys)

    def _exists(self, key: str) -> bool:
        folder = key.rpartition("/")[0]
        return any(name == key for name, _ in self._client.key_value_dir_get(folder))

    def delete_key(self, key: str) -> bool:
        """Remove a value."""
        self._client.key_value_delete(key)
        return True


def _jax_store() -> _JaxStore | None:
    try:
        # There is no public way to it.
        from jax._src.distributed import global_state  # noqa: PLC0415  # the backend, which Keras has imported
    except ImportError:
        return None
    client = global_state.client
    return None if client is None else _JaxStore(client)


def _torch_store() -> Any | None:
    # PyTorch, which Keras has imported
    from trainwatt_torch.process_group import default_store  # noqa: PLC0415

    return default_store()


def _no_store() -> None:
    return None
