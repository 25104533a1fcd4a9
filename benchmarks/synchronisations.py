"""How often Keras waits for the device: each time that a tensor's values are fetched to the host.

What is counted are the backend's own ways out of a tensor, below Keras, so that it does not matter who asks for values:
Keras for its logs, a callback, or we. A fetch in the thread that trains makes the training wait; in Keras's own
threads, to which it hands the ends of batches as long as no callback has to see them at once, it does not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass
class Fetches:
    """How many there were in the training thread, and in all."""

    training: int = 0
    total: int = 0


def _ways_out(backend: str) -> list[tuple[Any, tuple[str, ...]]]:
    """Where a backend waits for values: classes or modules, and the names of their functions."""
    if backend == "tensorflow":
        from tensorflow.python.framework import ops

        return [(ops._EagerTensorBase, ("_numpy",))]  # noqa: SLF001  # what numpy(), float(), np.array() come down to
    if backend == "torch":
        import torch

        names = ("__array__", "__bool__", "__float__", "__int__", "cpu", "item", "numpy", "tolist")
        return [(torch.Tensor, names), (torch.cuda, ("synchronize",))]
    import jax
    from jax._src.array import ArrayImpl
    from keras.src import backend as of_keras

    names = ("__array__", "__bool__", "__float__", "__int__", "block_until_ready", "item", "tolist")
    # np.array() reads an array's memory without a call into Python, so Keras's own use of it is counted
    return [(ArrayImpl, names), (jax, ("block_until_ready", "device_get")), (of_keras, ("convert_to_numpy",))]


@contextmanager
def counted(backend: str) -> Iterator[Fetches]:
    """Count the fetches of this process; one that calls another counts once."""
    fetches, thread, lock, within = Fetches(), threading.get_ident(), threading.Lock(), threading.local()

    def counting(method: Callable[..., Any]) -> Callable[..., Any]:
        def fetch(*args: Any, **kwargs: Any) -> Any:
            if getattr(within, "a_fetch", False):
                return method(*args, **kwargs)
            with lock:
                fetches.total += 1
                fetches.training += threading.get_ident() == thread
            within.a_fetch = True
            try:
                return method(*args, **kwargs)
            finally:
                within.a_fetch = False

        return fetch

    with ExitStack() as undo:
        for owner, names in _ways_out(backend):
            for name in names:
                own = getattr(owner, name)
                setattr(owner, name, counting(own))
                undo.callback(setattr, owner, name, own)
        yield fetches
