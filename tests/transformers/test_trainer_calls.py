"""What others do with a Trainer and its class works as ever, and is measured."""

from __future__ import annotations

import copy
import functools
import gc
import inspect
import pickle
import types
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from accelerate.state import GradientState
from transformers import Trainer, TrainerCallback

from tests.transformers.composite import Composite
from tests.transformers.training import BATCHES, trainer_with
from trainwatt_transformers import FootprintCallback, GreenEarlyStoppingCallback

METHODS = ("train", "evaluate", "predict", "evaluation_loop", "create_model_card", "_save_checkpoint")
TRAINED = {"setup": 1, "train": 2}


def monitor(folder: Path, **options: Any) -> FootprintCallback:
    return FootprintCallback(output_dir=folder / "footprint", devices="ram", verbose=False, **options)


def entries(callback: FootprintCallback) -> dict[str, int]:
    return {phase: span["entries"] for phase, span in callback.summary["phases"].items() if phase != "other"}


def copied(trainer: Trainer, copier: Callable[[Trainer], Trainer]) -> tuple[Trainer, FootprintCallback]:
    made = copier(trainer)
    (callback,) = (each for each in made.callback_handler.callbacks if isinstance(each, FootprintCallback))
    return made, callback


class CallsSuperOfItsType(Trainer):
    def train(self, *args: Any, **kwargs: Any) -> Any:
        return super(type(self), self).train(*args, **kwargs)


class Registered(Trainer):
    known: ClassVar[list[str]] = []

    def __init_subclass__(cls, *, key: str, **kwargs: Any) -> None:
        cls.known.append(key)
        super().__init_subclass__(**kwargs)


class InRegistry(Registered, key="own"):
    pass


class Final(Trainer):
    def __init_subclass__(cls, **kwargs: Any) -> None:
        raise TypeError("no class may be derived from this one")


class _Frozen(type):
    def __setattr__(cls, name: str, value: Any) -> None:
        raise AttributeError(name)


class FrozenClass(Trainer, metaclass=_Frozen):
    def train(self, *args: Any, **kwargs: Any) -> Any:
        return super().train(*args, **kwargs)


class WithSlots(Trainer):
    __slots__ = ("more",)


def _remade(cls: type[Trainer], attributes: dict[str, Any]) -> Trainer:
    made = object.__new__(cls)
    made.__dict__.update(attributes)
    return made


class ReducesItself(Trainer):
    def __reduce__(self) -> Any:
        return _remade, (type(self), dict(vars(self)))


def prepared(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        self.prepared = True
        return method(self, *args, **kwargs)

    return call


class ReplacesItsMethods(Trainer):
    """As Unsloth's trainers do at the end of their constructors."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.train = types.MethodType(prepared(type(self).train), self)  # type: ignore[method-assign]


@pytest.mark.parametrize(
    "cls", [Trainer, CallsSuperOfItsType, InRegistry, Final, FrozenClass, WithSlots, ReducesItself, ReplacesItsMethods]
)
def test_a_trainer_keeps_its_class_and_is_measured(tmp_path: Path, cls: type[Trainer]) -> None:
    callback = monitor(tmp_path)
    trainer = trainer_with(tmp_path, callback, cls=cls)
    trainer.train()
    assert type(trainer) is cls
    assert entries(callback) == TRAINED
    assert Registered.known == ["own"]


@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy, lambda trainer: pickle.loads(pickle.dumps(trainer))])
@pytest.mark.parametrize("cls", [Trainer, ReducesItself])
def test_a_copy_trains_itself(tmp_path: Path, cls: type[Trainer], copier: Callable[[Trainer], Trainer]) -> None:
    GradientState._reset_state()  # accelerate's, of the process; it refers to the trainings before
    original = trainer_with(tmp_path, monitor(tmp_path), cls=cls)
    trainer, callback = copied(original, copier)
    trainer.train()
    assert type(trainer) is cls
    assert (trainer.state.global_step, original.state.global_step) == (2 * BATCHES, 0)
    assert entries(callback) == TRAINED


@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy, lambda callback: pickle.loads(pickle.dumps(callback))])
def test_callbacks_are_copied_while_they_measure(tmp_path: Path, copier: Callable[[Any], Any]) -> None:
    callback, stopper = monitor(tmp_path), GreenEarlyStoppingCallback("loss", devices="ram", min_gain_per_kwh=None)
    made: list[Any] = []

    class Copies(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 8:
                made.extend(map(copier, (callback, stopper)))

    trainer_with(tmp_path, callback, stopper, Copies(), eval_strategy="epoch").train()
    assert entries(callback) == TRAINED | {"validate": 2}
    trainer_with(tmp_path, *made, num_train_epochs=1, eval_strategy="epoch").train()
    assert entries(made[0]) == {"setup": 1, "train": 1, "validate": 1}
    assert entries(callback) == TRAINED | {"validate": 2}


@pytest.mark.parametrize("before", [True, False])
def test_methods_that_others_put_into_a_trainer_are_called_and_stay(tmp_path: Path, before: bool) -> None:
    callback, calls = monitor(tmp_path), []
    trainer = trainer_with(tmp_path, save_strategy="epoch", *([] if before else [callback]))  # noqa: B026
    save = trainer._save_checkpoint

    def saves(*args: Any, **kwargs: Any) -> None:
        calls.append("save")
        save(*args, **kwargs)

    def trains(self: Trainer, *args: Any, **kwargs: Any) -> Any:
        calls.append("train")
        return Trainer.train(self, *args, **kwargs)

    own = types.MethodType(trains, trainer)
    trainer.train, trainer._save_checkpoint = own, saves  # type: ignore[method-assign]
    if before:
        callback.attach(trainer)
    trainer.train()
    assert calls == ["train", "save", "save"]
    assert (vars(trainer)["train"], vars(trainer)["_save_checkpoint"]) == (own, saves)
    assert entries(callback) == TRAINED | {"checkpoint": 2}


def test_methods_look_as_they_did(tmp_path: Path) -> None:
    gc.collect()
    plain = {name: vars(Trainer)[name] for name in METHODS}
    trainer = trainer_with(tmp_path, monitor(tmp_path))
    for name, function in plain.items():
        method, bound = getattr(trainer, name), function.__get__(trainer)
        assert name not in vars(trainer)
        assert inspect.ismethod(method)
        assert inspect.signature(method) == inspect.signature(bound)
        assert inspect.getfullargspec(method) == inspect.getfullargspec(bound)
        assert inspect.getsource(method) == inspect.getsource(bound)
        assert (method.__name__, method.__qualname__, method.__doc__) == (name, bound.__qualname__, bound.__doc__)


def test_the_classes_are_put_back_with_the_last_callback(tmp_path: Path) -> None:
    gc.collect()
    classes = (Trainer, FrozenClass)
    before = [dict(vars(cls)) for cls in classes]
    for cls in classes:
        trainer_with(tmp_path, monitor(tmp_path), cls=cls).train()
    gc.collect()
    assert [dict(vars(cls)) for cls in classes] == before


def test_a_trainer_without_our_callbacks_is_left_alone(tmp_path: Path) -> None:
    callback = monitor(tmp_path)
    trainer_with(tmp_path).train()
    assert callback.summary == {}


@pytest.mark.parametrize("cls", [Trainer, FrozenClass])
def test_a_trainer_is_freed_with_its_model(tmp_path: Path, cls: type[Trainer]) -> None:
    gc.collect()
    gc.disable()
    try:
        trainer = trainer_with(tmp_path, monitor(tmp_path), cls=cls)
        kept = weakref.ref(trainer), weakref.ref(trainer.model)
        del trainer
        assert [each() for each in kept] == [None, None]
    finally:
        gc.enable()


def test_a_callback_that_is_added_later_notes_a_failure(tmp_path: Path) -> None:
    callback = monitor(tmp_path)
    trainer = trainer_with(tmp_path, error=ZeroDivisionError())
    trainer.add_callback(callback)
    with pytest.raises(ZeroDivisionError):
        trainer.train()
    assert callback.summary["status"] == "failed"


def test_a_monitor_within_a_composite_callback_measures(tmp_path: Path) -> None:
    callback = monitor(tmp_path)
    trainer = trainer_with(tmp_path, Composite(Composite(callback)), eval_strategy="epoch", save_strategy="epoch")
    trainer.train()
    assert entries(callback) == TRAINED | {"validate": 2, "checkpoint": 2}
    assert sum("energy/epoch_kwh" in entry for entry in trainer.state.log_history) == 2
    trainer.evaluate()
    assert entries(callback) == {"validate": 1}


def test_a_trainer_within_another_one_is_a_run_of_its_own(tmp_path: Path) -> None:
    callback, inner = monitor(tmp_path), []

    class Trains(TrainerCallback):
        def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.epoch == 1:
                trainer_with(tmp_path, callback, num_train_epochs=1).train()
                inner.append(callback.summary)

    trainer_with(tmp_path, Trains(), callback).train()
    assert inner[0]["phases"]["train"]["steps"] == BATCHES
    assert inner[0]["status"] == callback.summary["status"] == "finished"
    assert (callback.summary["epochs"], callback.summary["phases"]["train"]["steps"]) == (2, 2 * BATCHES)
    assert callback.summary["seconds"] > inner[0]["seconds"]
