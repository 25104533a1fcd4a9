"""A Trainer that tells when its calls begin and end, which no hook of transformers does."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from transformers import Trainer, TrainerCallback

from trainwatt.accounting.timeline import Phase

if TYPE_CHECKING:
    from transformers import Trainer as Base
else:
    Base = object

_classes: dict[type[Trainer], type[Trainer]] = {}


@runtime_checkable
class Meter(Protocol):
    """A callback that wants to know of a Trainer's calls."""

    def training(self, trainer: Trainer) -> AbstractContextManager[None]:
        """A call of ``train``."""
        ...

    def evaluating(self, trainer: Trainer, phase: Phase, prefix: str) -> AbstractContextManager[None]:
        """A call of ``evaluate`` or ``predict``, by itself or within a training."""
        ...

    def saving(self) -> AbstractContextManager[None]:
        """A checkpoint is being written."""
        ...

    def inferred(self, samples: int | None) -> None:
        """So many samples have been evaluated or predicted, in all processes."""
        ...

    def card_written(self, trainer: Trainer) -> None:
        """A model card has been written into the output folder."""
        ...


class Measured(Base):
    """Stands before a Trainer's own class; the first of its callbacks that is a :class:`Meter` is told."""

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """As the Trainer's own."""
        return _within(self, lambda meter: meter.training(self), super().train, args, kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """As the Trainer's own."""
        prefix = _prefix("eval", args, kwargs)
        phase: Phase = "test" if prefix.startswith("test") else "validate"
        return _within(self, lambda meter: meter.evaluating(self, phase, prefix), super().evaluate, args, kwargs)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """As the Trainer's own."""
        prefix = _prefix("test", args, kwargs)
        return _within(self, lambda meter: meter.evaluating(self, "predict", prefix), super().predict, args, kwargs)

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """As the Trainer's own."""
        output = super().evaluation_loop(*args, **kwargs)
        if meter := meter_of(self):
            meter.inferred(getattr(output, "num_samples", None))
        return output

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """As the Trainer's own."""
        super().create_model_card(*args, **kwargs)
        if meter := meter_of(self):
            meter.card_written(self)

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        _within(self, lambda meter: meter.saving(), super()._save_checkpoint, args, kwargs)

    def __reduce_ex__(self, protocol: Any) -> Any:
        reduced: Any = super().__reduce_ex__(protocol)
        return _new, (type(self).__mro__[2],), *reduced[2:]


def measure(trainer: Trainer) -> None:
    """Have a Trainer tell its meter.

    A method put into the instance would refer back to it, and keep its model in the GPU's memory when it is deleted.
    """
    if not isinstance(trainer, Measured):
        trainer.__class__ = _measured(type(trainer))


def meter_of(trainer: Trainer) -> Meter | None:
    """The one that measures, where a Trainer has several."""
    return next((callback for callback in trainer.callback_handler.callbacks if isinstance(callback, Meter)), None)


def calling_trainer(callback: TrainerCallback) -> Trainer | None:
    """The Trainer that is calling a callback's hook: transformers does not pass it on."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # a frame that referred to itself would keep all alive
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, Trainer) and callback in caller.callback_handler.callbacks:
            return caller
        frame = frame.f_back
    return None


def gpu_uuids(trainer: Trainer) -> tuple[str, ...] | None:
    """The GPU that this process computes on; None where it may be any."""
    args = trainer.args
    spread = args.n_gpu > 1 or trainer.is_model_parallel
    if args.device.type != "cuda" or spread:
        return None
    uuid = getattr(torch.cuda.get_device_properties(args.device), "uuid", None)  # torch 2.4 and later
    return None if uuid is None else (str(uuid),)


def log_entry(trainer: Trainer, values: dict[str, float]) -> None:
    """An entry of our own, in every process, since a callback of the user's may talk to its like in the others.

    Not through a subclass's ``log``: TRL's adds means since it was last called.
    """
    if values or trainer.args.world_size > 1:
        Trainer.log(trainer, values)


def _measured(cls: type[Trainer]) -> type[Trainer]:
    if cls not in _classes:
        names = {name: getattr(cls, name) for name in ("__module__", "__qualname__", "__doc__")}
        _classes[cls] = type(cls.__name__, (Measured, cls), names)
    return _classes[cls]


def _new(cls: type[Trainer]) -> Trainer:
    """A Trainer being unpickled."""
    return object.__new__(_measured(cls))


def _within(
    trainer: Trainer,
    context: Callable[[Meter], AbstractContextManager[None]],
    method: Callable[..., Any],
    args: Any,
    kwargs: Any,
) -> Any:
    meter = meter_of(trainer)
    with context(meter) if meter else nullcontext():
        return method(*args, **kwargs)


def _prefix(default: str, args: Any, kwargs: Any) -> str:
    """Under which prefix the metrics of an evaluation are logged."""
    if "metric_key_prefix" in kwargs:
        return str(kwargs["metric_key_prefix"])
    return str(args[2]) if len(args) > 2 else default
