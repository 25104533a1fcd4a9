"""The lists of callbacks that call ours: callbacks within callbacks, trainings within trainings, and their end."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import pytest

from tests.keras.training import BATCH, BATCHES, Points, Raises, Recorder, classifier, fit, points
from trainwatt.records.run_folder import read_events
from trainwatt_keras import FootprintMonitor, GreenEarlyStopping

# Keras's torch backend converts tensors in a way that NumPy 2 deprecates
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

HOOKS = (
    *("set_model", "set_params", "on_train_begin", "on_train_end", "on_epoch_begin", "on_epoch_end"),
    *("on_train_batch_begin", "on_train_batch_end", "on_test_begin", "on_test_end"),
)


def monitor(folder: Path | None = None) -> FootprintMonitor:
    return FootprintMonitor(output_dir=folder, run_name="run", verbose=False, zone="FR", devices=["ram"])


def stopper(metric: str = "val_loss", **options: Any) -> GreenEarlyStopping:
    return GreenEarlyStopping(metric, "min", **{"devices": ["ram"], "verbose": 0, **options})


class Composite(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """A callback that holds others, in a list of Keras's or in one of its own."""

    def __init__(self, *callbacks: Any, keras_list: bool) -> None:
        super().__init__()
        self.held: Any = keras.callbacks.CallbackList(list(callbacks)) if keras_list else callbacks

    def pass_on(self, hook: str, *args: Any, **kwargs: Any) -> None:
        for each in [self.held] if isinstance(self.held, keras.callbacks.CallbackList) else self.held:
            getattr(each, hook)(*args, **kwargs)


def passing(hook: str) -> Callable[..., None]:
    def passed(self: Composite, *args: Any, **kwargs: Any) -> None:
        if hook.startswith("set_"):
            getattr(keras.callbacks.Callback, hook)(self, *args)
        self.pass_on(hook, *args, **kwargs)

    passed.__name__ = hook
    return passed


for each in HOOKS:
    setattr(Composite, each, passing(each))


@pytest.mark.parametrize("keras_list", [True, False])
def test_a_monitor_within_another_callback_measures_and_logs_everywhere(keras_list: bool, tmp_path: Path) -> None:
    ours, outer, inner, stops = monitor(tmp_path), Recorder(), Recorder(), stopper()
    # what holds others in a list of its own alone knows their order
    held = (inner, ours) if keras_list else (ours, inner)
    history = fit(outer, Composite(*held, keras_list=keras_list), stops, epochs=3).history
    assert ours.summary["phases"]["train"]["steps"] == 3 * BATCHES
    assert len(history["energy/total_kwh"]) == len(history["stopping/gain_per_kwh"]) == 3
    assert all("energy/total_kwh" in epoch for epoch in (*outer.epochs, *inner.epochs))
    verdicts = [event for event in read_events(tmp_path / "run") if event["event"] == "verdict"]
    assert len(verdicts) == 3


def test_a_training_within_a_training_is_part_of_it(tmp_path: Path) -> None:
    ours, stops, outer = monitor(tmp_path), stopper(), classifier()

    class Inner(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 0:
                fit(ours, stops, model=classifier(), epochs=2)

    history = fit(ours, stops, Inner(), model=outer, epochs=3).history
    assert (ours.summary["status"], ours.summary["epochs"]) == ("finished", 3)
    assert ours.summary["phases"]["train"]["steps"] == 3 * BATCHES
    assert len(history["energy/total_kwh"]) == stops.state_dict()["evaluations"] == 3
    assert ours.model is outer
    fit(ours, model=classifier())
    assert len(list(tmp_path.iterdir())) == 2


def test_an_evaluation_with_the_same_monitor_within_a_training_is_a_phase_of_it() -> None:
    ours = monitor()

    class Inner(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.evaluate(*points(2), verbose=0, callbacks=[ours])
            self.model.predict(points(2)[0], verbose=0, callbacks=[ours])

    fit(ours, Inner(), validation_data=None)
    assert [ours.summary["phases"][phase]["entries"] for phase in ("validate", "predict")] == [2, 2]
    assert ours.summary["status"] == "finished"


@pytest.mark.parametrize("error", [None, ZeroDivisionError(), KeyboardInterrupt()])
def test_a_list_of_the_users_is_as_it_was(error: BaseException | None) -> None:
    recorder, ours, stops, model = Recorder(), monitor(), stopper(), classifier()
    given = [recorder, ours, stops, *([Raises(error)] if error else [])]
    options = {"add_history": True, "add_progbar": True, "verbose": 0, "epochs": 2, "steps": BATCHES}
    listed = keras.callbacks.CallbackList(list(given), model=model, **options)
    for _ in range(2):
        try:
            model.fit(*points(BATCHES), batch_size=BATCH, epochs=2, verbose=0, callbacks=listed)
        except (ZeroDivisionError, KeyboardInterrupt) as caught:
            assert caught is error  # noqa: PT017  # one of the cases
        assert listed.callbacks[: len(given)] == given
        assert [type(each).__name__ for each in listed.callbacks[len(given) :]] == ["History", "ProgbarLogger"]
        assert not [name for each in listed.callbacks for name in vars(each) if name.startswith("on_")]
    assert len(recorder.epochs) == (0 if error else 4)
    assert all({"energy/total_kwh", "stopping/gain_per_kwh"} <= set(epoch) for epoch in recorder.epochs)


def test_methods_of_the_users_model_are_put_back(tmp_path: Path) -> None:
    model, saved = classifier(), []
    vars(model)["save"] = own = lambda *args, **kwargs: saved.append(args)
    fit(monitor(), monitor(), stopper(), keras.callbacks.ModelCheckpoint(str(tmp_path / "a.keras")), model=model)
    assert vars(model)["save"] is own
    assert len(saved) == 2
    assert "save_weights" not in vars(model)


def test_a_save_that_somebody_else_replaces_during_the_training_stays(tmp_path: Path) -> None:
    model, ours, seen = classifier(), monitor(), []

    class Replaces(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
        def on_train_begin(self, logs: Any = None) -> None:
            inner = self.model.save
            vars(self.model)["save"] = self.save = lambda *args, **kwargs: (seen.append(args), inner(*args, **kwargs))

    replaces = Replaces()
    fit(ours, replaces, keras.callbacks.ModelCheckpoint(str(tmp_path / "a.keras")), model=model)
    assert ours.summary["phases"]["checkpoint"]["entries"] == 2
    assert vars(model)["save"] is replaces.save
    model.save(str(tmp_path / "b.keras"))
    assert len(seen) == 3
    assert (tmp_path / "b.keras").exists()


class Data:
    """Something large."""


def through_a_list() -> Iterator[None]:
    callbacks = [Recorder(), monitor(), stopper("loss")]
    listed = keras.callbacks.CallbackList(callbacks, model=classifier(), epochs=1, steps=1, verbose=0)
    listed.on_train_begin()
    yield
    listed.on_epoch_begin(0)
    listed.on_epoch_end(0, {"loss": 1.0})
    listed.on_train_end()


def by_hand() -> Iterator[None]:
    callbacks, model = [monitor(), stopper("loss")], classifier()
    for callback in callbacks:
        callback.set_params({"epochs": 1, "steps": 1, "verbose": 0})
        callback.set_model(model)
        callback.on_train_begin()
    yield
    for callback in callbacks:
        callback.on_epoch_begin(0)
        callback.on_epoch_end(0, {"loss": 1.0})
        callback.on_train_end()


@pytest.mark.parametrize("hooks", [through_a_list, by_hand])
def test_a_loop_of_ones_own_frees_what_it_deletes(hooks: Callable[[], Iterator[None]]) -> None:
    def loop() -> None:
        data = Data()
        known, training = weakref.ref(data), hooks()
        next(training)
        del data
        gc.collect()
        assert known() is None
        assert list(training) == []

    loop()


def test_a_training_frees_its_data_its_model_and_us() -> None:
    class Given(Points):
        pass

    kept = [Given(), classifier(), monitor(), stopper()]
    known = [weakref.ref(each) for each in kept]
    data, model, *callbacks = kept
    fit(*callbacks, model=model, data=data, steps_per_epoch=3, shuffle=False)
    del kept, data, model, callbacks
    gc.collect()
    assert [each() for each in known] == [None] * 4


class Copies(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Pickles and copies callbacks in every hook."""

    def __init__(self, *originals: Any) -> None:
        super().__init__()
        self.originals, self.made = originals, []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        for each in self.originals:
            self.made += [pickle.loads(pickle.dumps(each)), copy.deepcopy(each)]

    def on_train_begin(self, logs: Any = None) -> None:
        self.on_epoch_begin(0)

    on_train_end = on_test_begin = on_test_end = on_train_begin

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.on_epoch_begin(epoch)


def test_callbacks_can_be_pickled_and_copied_at_any_time(tmp_path: Path) -> None:
    ours, stops = monitor(tmp_path), stopper()
    copies = Copies(ours, stops)
    copies.on_train_begin()
    fit(ours, stops, copies)
    copies.on_train_begin()
    assert ours.summary["status"] == "finished"
    stoppers = [each for each in copies.made if isinstance(each, GreenEarlyStopping)]
    assert [stoppers[index].state_dict()["evaluations"] for index in (0, -2, -1)] == [0, 2, 2]
    assert stoppers[-1].state_dict()["spent_kwh"] == stops.state_dict()["spent_kwh"] > 0
    for number in (0, 4, -1):
        again, judge = [each for each in copies.made if isinstance(each, FootprintMonitor)][number], stoppers[number]
        fit(again, judge)
        assert again.summary["status"] == "finished"
        assert judge.state_dict()["evaluations"] == 2


def test_a_model_that_is_copied_during_the_training_saves_itself(tmp_path: Path) -> None:
    made: list[Any] = []

    class CopiesTheModel(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            made[:] = [copy.deepcopy(self.model), pickle.loads(pickle.dumps(self.model))]

    fit(monitor(), CopiesTheModel())
    for number, each in enumerate(made):
        assert getattr(each.save, "__self__", None) is each
        each.save(str(tmp_path / f"{number}.keras"))
