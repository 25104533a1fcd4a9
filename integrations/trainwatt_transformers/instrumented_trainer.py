"""A Trainer that reports when its calls begin and end: transformers has no hook for that, nor for an exception."""

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
    """Callback that measures a Trainer's calls."""

    def training(self, trainer: Trainer) -> AbstractContextManager[None]:
        """Measure a call of ``train``."""
        ...

    def evaluating(self, trainer: Trainer, phase: Phase, prefix: str) -> AbstractContextManager[None]:
        """Measure a call of ``evaluate`` or ``predict``, standalone or within a training."""
        ...

    def saving(self) -> AbstractContextManager[None]:
        """Measure the writing of a checkpoint."""
        ...

    def inferred(self, samples: int | None) -> None:
        """Count samples that were evaluated or predicted, in all processes."""
        ...

    def card_written(self, trainer: Trainer) -> None:
        """Extend a model card in the output folder."""
        ...


class InstrumentedTrainer(Base):
    """Base that is put before a Trainer's own class; it calls the first callback that is a :class:`Meter`."""

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """See ``transformers.Trainer``."""
        return _within(self, lambda meter: meter.training(self), super().train, args, kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """See ``transformers.Trainer``."""
        prefix = _prefix("eval", args, kwargs)
        phase: Phase = "test" if prefix.startswith("test") else "validate"
        return _within(self, lambda meter: meter.evaluating(self, phase, prefix), super().evaluate, args, kwargs)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """See ``transformers.Trainer``."""
        prefix = _prefix("test", args, kwargs)
        return _within(self, lambda meter: meter.evaluating(self, "predict", prefix), super().predict, args, kwargs)

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """See ``transformers.Trainer``."""
        output = super().evaluation_loop(*args, **kwargs)
        if meter := meter_of(self):
            meter.inferred(getattr(output, "num_samples", None))
        return output

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """See ``transformers.Trainer``."""
        super().create_model_card(*args, **kwargs)
        if meter := meter_of(self):
            meter.card_written(self)

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        _within(self, lambda meter: meter.saving(), super()._save_checkpoint, args, kwargs)

    def __reduce_ex__(self, protocol: Any) -> Any:
        reduced: Any = super().__reduce_ex__(protocol)
        return _new, (type(self).__mro__[2],), *reduced[2:]


def instrument(trainer: Trainer) -> None:
    """Let a Trainer call its meter.

    A method put into the instance would refer back to it, and keep its model in GPU memory after its deletion.
    """
    if not isinstance(trainer, InstrumentedTrainer):
        trainer.__class__ = _instrumented(type(trainer))


def meter_of(trainer: Trainer) -> Meter | None:
    """Return the callback that measures: the first, if a Trainer has several."""
    return next((callback for callback in trainer.callback_handler.callbacks if isinstance(callback, Meter)), None)


def calling_trainer(callback: TrainerCallback) -> Trainer | None:
    """Return the Trainer that is calling a callback's hook: transformers does not pass it on."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # a frame that referred to itself would keep all alive
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, Trainer) and callback in caller.callback_handler.callbacks:
            return caller
        frame = frame.f_back
    return None


def devices_of(trainer: Trainer) -> list[torch.device]:
    """Return the devices that this process computes on."""
    device: torch.device = trainer.args.device
    if trainer.is_model_parallel and trainer.model is not None:
        return [device, *{parameter.device for parameter in trainer.model.parameters()}]
    if trainer.args.n_gpu > 1:
        return [torch.device(device.type, index) for index in range(trainer.args.n_gpu)]
    return [device]


def log_entry(trainer: Trainer, values: dict[str, float]) -> None:
    """Log an entry of our own, in every process: a callback of the user may communicate with those of other ranks.

    A subclass's ``log`` is not used: TRL's adds means since its last call.
    """
    if values or trainer.args.world_size > 1:
        Trainer.log(trainer, values)


def _instrumented(cls: type[Trainer]) -> type[Trainer]:
    if cls not in _classes:
        names = {name: getattr(cls, name) for name in ("__module__", "__qualname__", "__doc__")}
        _classes[cls] = type(cls.__name__, (InstrumentedTrainer, cls), names)
    return _classes[cls]


def _new(cls: type[Trainer]) -> Trainer:
    """Create a Trainer that is being unpickled."""
    return object.__new__(_instrumented(cls))


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
    """Return the prefix under which the metrics of an evaluation are logged."""
    if "metric_key_prefix" in kwargs:
        return str(kwargs["metric_key_prefix"])
    return str(args[2]) if len(args) > 2 else default
