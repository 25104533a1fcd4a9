"""Counter of device-to-host transfers in Keras.

Every read of a tensor's values makes the host wait for the device. The counter patches the functions of the backend
that return these values, below Keras. It therefore counts every transfer, whether Keras, a callback or trainwatt asked
for it. A transfer in the training thread blocks training. A transfer in the threads to which Keras defers the ends of
batches does not; Keras uses them only if no callback has to see each batch immediately.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass
class Fetches:
    """Number of device-to-host transfers.

    Attributes:
        training: transfers in the training thread.
        total: transfers in all threads.
    """

    training: int = 0
    total: int = 0


def _fetching_functions(backend: str) -> list[tuple[Any, tuple[str, ...]]]:
    """Return the classes and modules of a backend, each with the names of its functions that fetch values."""
    if backend == "tensorflow":
        from tensorflow.python.framework import ops  # type: ignore[import-untyped]

        # numpy(), float() and np.array() all end in this method
        return [(ops._EagerTensorBase, ("_numpy",))]  # noqa: SLF001
    if backend == "torch":
        import torch

        of_tensors = ("__array__", "__bool__", "__float__", "__int__", "cpu", "item", "numpy", "tolist")
        return [(torch.Tensor, of_tensors), (torch.cuda, ("synchronize",))]
    import jax
    from jax._src.array import ArrayImpl
    from keras.src import backend as keras_backend

    of_arrays = ("__array__", "__bool__", "__float__", "__int__", "block_until_ready", "item", "tolist")
    # np.array() reads an array's memory without calling Python, so Keras's function around it is counted instead
    return [(ArrayImpl, of_arrays), (jax, ("block_until_ready", "device_get")), (keras_backend, ("convert_to_numpy",))]


@contextmanager
def counted(backend: str) -> Iterator[Fetches]:
    """Count the transfers of this process while the context is open.

    A transfer that calls another counted function counts once.

    Args:
        backend: name of the Keras backend: ``"tensorflow"``, ``"torch"`` or ``"jax"``.

    Yields:
        The counts so far; they are updated in place.
    """
    fetches, thread, lock, nested = Fetches(), threading.get_ident(), threading.Lock(), threading.local()

    def counting(method: Callable[..., Any]) -> Callable[..., Any]:
        def fetch(*args: Any, **kwargs: Any) -> Any:
            if getattr(nested, "active", False):
                return method(*args, **kwargs)
            with lock:
                fetches.total += 1
                fetches.training += threading.get_ident() == thread
            nested.active = True
            try:
                return method(*args, **kwargs)
            finally:
                nested.active = False

        return fetch

    with ExitStack() as undo:
        for owner, names in _fetching_functions(backend):
            for name in names:
                original = getattr(owner, name)
                setattr(owner, name, counting(original))
                undo.callback(setattr, owner, name, original)
        yield fetches
