"""Real trainings of one backend, all in one process, because importing a backend takes seconds.

usage: KERAS_BACKEND=... python -m tests.keras.scenarios FOLDER NVML

Writes FOLDER/results.json: what each scenario returns, by its name, or how it failed.
"""

from __future__ import annotations

import contextlib
import copy
import csv
import inspect
import io
import json
import logging
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

FRAMEWORKS = ("tensorflow", "torch", "jax", "lightning", "pytorch_lightning", "transformers")

import keras  # noqa: E402  # after it, what is loaded is the backend's own

LOADED_BY_KERAS = [name for name in FRAMEWORKS if name in sys.modules]

from standins import nvml as standin  # noqa: E402
from standins.keras_fetches import counted  # noqa: E402
from standins.nvml import Constant, h100  # noqa: E402
from tests.keras.training import (  # noqa: E402
    BATCH,
    BATCHES,
    Points,
    Raises,
    Recorder,
    Stops,
    classifier,
    fit,
    points,
)
from trainwatt.errors import ArgumentError  # noqa: E402
from trainwatt.power.accelerators import accelerators_of  # noqa: E402
from trainwatt.records.run_folder import read_events, read_summary  # noqa: E402
from trainwatt_keras import FootprintMonitor, GreenEarlyStopping, model_calls  # noqa: E402
from trainwatt_keras.model_hooks import devices_of  # noqa: E402
from trainwatt_keras.plan import plan_of  # noqa: E402

LOADED_BY_US = [name for name in FRAMEWORKS if name in sys.modules]
BACKEND = keras.backend.backend()
Scenario = Callable[[Path], Any]
SCENARIOS: dict[str, Scenario] = {}


def scenario(function: Scenario) -> Scenario:
    SCENARIOS[function.__name__] = function
    return function


def monitor(folder: Path | None, **options: Any) -> FootprintMonitor:
    return FootprintMonitor(**({"output_dir": folder, "run_name": "run", "verbose": False, "zone": "FR"} | options))


@contextlib.contextmanager
def printed() -> Iterator[io.StringIO]:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        yield out


def raised(action: Callable[[], Any]) -> str | None:
    """The name of what is raised."""
    try:
        action()
    except BaseException as error:  # noqa: BLE001  # an interrupt is one of the scenarios
        return type(error).__name__
    return None


@scenario
def imports(folder: Path) -> Any:
    return {"keras": LOADED_BY_KERAS, "ours": LOADED_BY_US}


@scenario
def bad_argument(folder: Path) -> Any:
    try:
        FootprintMonitor(interval=0)
    except ArgumentError as error:
        return str(error)


@scenario
def plain_fit(folder: Path) -> Any:
    ours = monitor(folder)
    checkpoint = keras.callbacks.ModelCheckpoint(str(folder / "model.keras"))
    history = fit(ours, checkpoint, epochs=3)
    return {
        "summary": ours.summary,
        "folder": read_summary(folder / "run"),
        "events": list(read_events(folder / "run")),
        "history": history.history,
    }


@scenario
def last_in_the_list(folder: Path) -> Any:
    ours, recorder = monitor(None), Recorder()
    logger = keras.callbacks.CSVLogger(str(folder / "log.csv"))
    board = [keras.callbacks.TensorBoard(str(folder / "tb"))] if BACKEND == "tensorflow" else []
    patience = keras.callbacks.EarlyStopping(monitor="energy/total_kwh", mode="min", patience=10)
    history = fit(recorder, logger, patience, *board, ours, validation_freq=2, epochs=4)
    with (folder / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {
        "summary": ours.summary,
        "recorded": recorder.epochs,
        "history": history.history,
        "rows": rows,
        "best": patience.best,
        "scalars": scalars(folder / "tb" / "train") if board else {},
    }


def scalars(folder: Path) -> dict[str, list[float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415
    from tensorboard.util.tensor_util import make_ndarray  # noqa: PLC0415

    events = EventAccumulator(str(folder))
    events.Reload()
    names = [name for name in events.Tags()["tensors"] if name.startswith("epoch_")]
    return {name: [float(make_ndarray(each.tensor_proto)) for each in events.Tensors(name)] for name in names}


@scenario
def other_callbacks_keep_their_order(folder: Path) -> Any:
    order: list[str] = []

    class Named(keras.callbacks.Callback):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def on_train_begin(self, logs: Any = None) -> None:
            order.append(f"begin {self.name}")

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            order.append(f"epoch {self.name}")

    given = [Named("a"), Named("b"), monitor(None), Named("c")]
    listed = list(given)
    fit(*given, epochs=1)
    return {"order": order, "list as it was": given == listed}


@scenario
def progress_bar(folder: Path) -> Any:
    lines = {}
    for shown in (True, False):
        with printed() as out:
            fit(monitor(None, prog_bar=shown), verbose=2)
        lines[str(shown)] = [line for line in out.getvalue().splitlines() if "loss" in line]
    return lines


@scenario
def the_users_own_bar_is_left_as_it_was(folder: Path) -> Any:
    bar = keras.callbacks.ProgbarLogger()
    with printed() as out:
        fit(bar, monitor(None), verbose=2)
    return {"text": out.getvalue(), "left": [name for name in vars(bar) if name.startswith("on_")]}


@scenario
def the_same_training(folder: Path) -> Any:
    results = []
    for callbacks in ([], [monitor(None)]):
        model = classifier()
        history = fit(*callbacks, model=model, epochs=3).history
        evaluated = model.evaluate(*points(2), verbose=0, callbacks=callbacks, return_dict=True)
        predicted = model.predict(points(2)[0], verbose=0, callbacks=callbacks)
        losses = {name: values for name, values in history.items() if "loss" in name or "accuracy" in name}
        results.append((losses, [w.tolist() for w in model.get_weights()], evaluated, predicted.tolist()))
    return results


@scenario
def asynchronous_dispatch(folder: Path) -> Any:
    flags = ("_async_train", "_async_test", "_async_predict")
    return [
        [getattr(keras.callbacks.CallbackList(callbacks), flag) for flag in flags]
        for callbacks in ([], [monitor(None)])
    ]


@scenario
def asynchronous_fit(folder: Path) -> Any:
    """Where Keras has the ends of batches told in other threads, it still does."""
    seen: list[tuple[bool, bool, bool]] = []

    class Looks(keras.callbacks.CallbackList):
        def on_train_end(self, logs: Any = None) -> None:
            seen.append((self._async_train, self._async_test, self._executor is not None))
            super().on_train_end(logs)

    ours = monitor(None)
    for callbacks in ([], [ours]):
        model = classifier()
        listed = Looks(callbacks, add_history=True, model=model, verbose=0, epochs=1, steps=BATCHES)
        model.fit(*points(BATCHES), batch_size=BATCH, epochs=1, verbose=0, callbacks=listed)
    return {"seen": seen, "steps": ours.summary["phases"]["train"]["steps"]}


@scenario
def waits_for_the_device(folder: Path) -> Any:
    found = {}
    for name, callbacks in {"bare": [], "ours": [monitor(None)], "a look at each batch": [Stops()]}.items():
        model = classifier()
        with counted(BACKEND) as fetches:
            fit(*callbacks, model=model)
        found[name] = {"training thread": fetches.training, "all": fetches.total}
    return found


@scenario
def waits_for_the_device_with_bars(folder: Path) -> Any:
    found: dict[str, Any] = {}
    for bar, verbose in {"no bar": 0, "a bar": 1, "a line an epoch": 2}.items():
        for name, make in {
            "bare": list,
            "a monitor and a stopper": lambda: [monitor(None), GreenEarlyStopping("val_loss", verbose=0)],
            "without our figures on the bar": lambda: [monitor(None, prog_bar=False)],
        }.items():
            model, callbacks = classifier(), make()
            with printed(), counted(BACKEND) as fetches:
                fit(*callbacks, model=model, verbose=verbose)
            found.setdefault(bar, {})[name] = {"training thread": fetches.training, "all": fetches.total}
    return found


def generator(batches: int = BATCHES, repeat: int = 1) -> Iterator[tuple[Any, Any]]:
    x, y = points(batches)
    for _ in range(repeat):
        for i in range(0, len(x), BATCH):
            yield x[i : i + BATCH], y[i : i + BATCH]


@scenario
def options(folder: Path) -> Any:
    several = {"steps_per_execution": 3} if BACKEND != "torch" else {}
    cases: dict[str, dict[str, Any]] = {
        "steps per execution": {"model": classifier(**several)},
        "jit": {"model": classifier(jit_compile=BACKEND != "torch")},
        "eager": {"model": classifier(run_eagerly=True)},
        "generator": {"data": generator(), "epochs": 1},
        "generator with steps": {"data": generator(repeat=9), "steps_per_epoch": 5},
        "endless dataset": {"data": Points(), "steps_per_epoch": 5},
        "initial epoch": {"initial_epoch": 3, "epochs": 5},
        "validation freq": {"validation_freq": 2, "epochs": 5},
        "validation split": {"validation_data": None, "validation_split": 0.25},
        "no validation": {"validation_data": None},
        "validation steps": {"validation_steps": 1},
        "one step": {"data": points(1)},
    }
    figures = {}
    for name, case in cases.items():
        ours = monitor(None)
        fit(ours, **case)
        figures[name] = totals(ours)
    for name, stops in {"stop in an epoch": Stops(batch=4), "stop after an epoch": Stops(epoch=0)}.items():
        ours = monitor(None)
        fit(ours, stops, epochs=5)
        figures[name] = totals(ours)
    return figures


def totals(ours: FootprintMonitor) -> dict[str, Any]:
    phases = ours.summary["phases"]
    return {
        "epochs": ours.summary["epochs"],
        "steps": phases["train"]["steps"],
        "evaluations": phases.get("validate", {"entries": 0})["entries"],
        "summary": ours.summary,
    }


@scenario
def epoch_numbers(folder: Path) -> Any:
    fit(monitor(folder), initial_epoch=3, epochs=5)
    return [each for each in read_events(folder / "run") if each["event"] == "span" and each["phase"] == "train"]


@scenario
def parts(folder: Path) -> Any:
    ours = monitor(folder)

    class Augments(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            with ours.part("augmentation"):
                time.sleep(0.01)

    fit(ours, Augments())
    return ours.summary


def cut_short(folder: Path, error: BaseException) -> dict[str, Any]:
    model, ours = classifier(), monitor(folder)
    result: dict[str, Any] = {}
    try:
        fit(Raises(error), ours, model=model)
    except BaseException as caught:  # noqa: BLE001  # an interrupt is one of the scenarios
        result |= {"raised": repr(caught), "while handled": read_summary(folder / "run")["status"]}
    result |= {
        "summary": copy.deepcopy(ours.summary),
        "folder": read_summary(folder / "run"),
        "left on the model": [name for name in ("save", "save_weights") if name in vars(model)],
    }
    fit(ours, model=model)
    return result | {"next": ours.summary}


@scenario
def exception(folder: Path) -> Any:
    return cut_short(folder, ZeroDivisionError("in step 7"))


@scenario
def interrupt(folder: Path) -> Any:
    return cut_short(folder, KeyboardInterrupt())


@scenario
def exceptions_elsewhere(folder: Path) -> Any:
    class Fails(keras.callbacks.Callback):
        def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
            raise ZeroDivisionError

        on_predict_batch_begin = on_test_batch_begin

    x, y = points(2)
    statuses = {}
    for name, call in {
        "validation": lambda c: fit(*c),
        "evaluate": lambda c: classifier().evaluate(x, y, verbose=0, callbacks=c),
        "predict": lambda c: classifier().predict(x, verbose=0, callbacks=c),
    }.items():
        ours = monitor(None)
        statuses[name] = [raised(lambda call=call, ours=ours: call([ours, Fails()])), ours.summary["status"]]
    return statuses


@scenario
def an_error_that_a_callback_handles_ends_nothing(folder: Path) -> Any:
    class Careful(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            assert raised(lambda: self.model.evaluate(no_such_argument=1))

    ours = monitor(None)
    fit(ours, Careful())
    return totals(ours)


@scenario
def inference(folder: Path) -> Any:
    model, ours, recorder = classifier(), monitor(folder), Recorder()
    x, y = points(4)
    model.evaluate(x, y, batch_size=BATCH, verbose=0, callbacks=[recorder, ours])
    test = ours.summary
    model.predict(x, batch_size=BATCH, verbose=0, callbacks=[recorder, ours])
    predict = ours.summary
    model.predict(Points(), steps=3, verbose=0, callbacks=[recorder, ours])
    return {
        "test": test,
        "predict": predict,
        "unknown": ours.summary,
        "logs": [*recorder.tests, *recorder.predictions],
    }


@scenario
def inference_prints(folder: Path) -> Any:
    with printed() as out:
        classifier().evaluate(*points(4), verbose=2, callbacks=[monitor(folder, verbose=True)])
    return out.getvalue()


@scenario
def checkpoints(folder: Path) -> Any:
    model, ours = classifier(), monitor(None)
    saves = [
        keras.callbacks.BackupAndRestore(str(folder / "backup")),
        keras.callbacks.ModelCheckpoint(str(folder / "{batch}.weights.h5"), save_weights_only=True, save_freq=4),
    ]
    fit(*saves, ours, model=model)
    model.save(folder / "by hand.keras")
    return {"summary": ours.summary, "left": [name for name in ("save", "save_weights") if name in vars(model)]}


@scenario
def backup_and_restore(folder: Path) -> Any:
    class FailsInEpoch2(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == 2:
                raise ZeroDivisionError

    backup, ours = keras.callbacks.BackupAndRestore(str(folder / "backup")), monitor(folder)
    first = raised(lambda: fit(backup, FailsInEpoch2(), ours, epochs=4)), ours.summary
    fit(backup, ours, epochs=4)
    epochs = [each["epoch"] for each in read_events(folder / "run-2") if each.get("phase") == "train"]
    return {"first": first, "second": ours.summary, "epochs": epochs}


@scenario
def resumed(folder: Path) -> Any:
    class Crash(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            if (self.epoch, batch) == (crash, 3):
                raise ZeroDivisionError

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.epoch = epoch

    outcomes = []
    for crash in (1, 2, 3):
        own = folder / str(crash)
        backup, first, second = keras.callbacks.BackupAndRestore(str(own / "backup")), monitor(own), monitor(own)
        raised(lambda backup=backup, first=first: fit(backup, Crash(), first, epochs=4))  # type: ignore[misc]
        fit(backup, second, epochs=4)
        outcomes.append({"first": first.summary, "second": second.summary, "left": (own / "backup").exists()})
    return outcomes


@scenario
def resumed_by_hand(folder: Path) -> Any:
    first, second = monitor(folder), monitor(folder)
    fit(first, epochs=2)
    second.load_state_dict(first.summary)
    fit(second, epochs=4, initial_epoch=2)
    return {"first": first.summary, "second": second.summary}


@scenario
def several(folder: Path) -> Any:
    a, b = monitor(folder, run_name="a"), monitor(folder, run_name="b")
    recorder, copied = Recorder(), copy.deepcopy(a)
    fit(recorder, a, b)
    fit(copied)
    return {
        "a": a.summary,
        "b": b.summary,
        "logs": recorder.epochs,
        "folders": sorted(p.name for p in folder.iterdir()),
    }


@scenario
def own_classes(folder: Path) -> Any:
    class Trained(keras.Sequential):
        def fit(self, *args: Any, **kwargs: Any) -> Any:
            return super().fit(*args, **kwargs)

    class Subclass(FootprintMonitor):
        def on_train_begin(self, logs: Any = None) -> None:
            super().on_train_begin(logs)

    model = Trained([keras.Input((4,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    ours, recorder = Subclass(output_dir=None, verbose=False), Recorder()
    x, _ = points(2)
    model.fit(x, x[:, :2], verbose=0, callbacks=[recorder, ours])
    return {"summary": ours.summary, "logs": recorder.epochs}


@scenario
def a_loop_of_ones_own(folder: Path) -> Any:
    ours, recorder = monitor(None), Recorder()
    callbacks = keras.callbacks.CallbackList([recorder, ours], model=classifier(), epochs=1, steps=2, verbose=0)
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    for batch in range(2):
        callbacks.on_train_batch_begin(batch)
        callbacks.on_train_batch_end(batch, {"loss": 1.0})
    callbacks.on_epoch_end(0, {"loss": 1.0})
    callbacks.on_train_end()
    return {"summary": ours.summary, "logs": recorder.epochs}


@scenario
def called_by_something_else(folder: Path) -> Any:
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("trainwatt").addHandler(handler)
    ours = monitor(None)
    ours.set_model(classifier())
    ours.on_train_begin()
    ours.on_train_end()
    return messages


@scenario
def wrapped_once(folder: Path) -> Any:
    keras_own = inspect.unwrap(keras.Model.fit)
    for _ in range(3):
        monitor(None)
    return {
        "signature": str(inspect.signature(keras.Model.fit)) == str(inspect.signature(keras_own)),
        "wraps": sum(is_ours(each) for each in wrappers(keras.Model.fit)),
        "wrong call": raised(lambda: classifier().fit(no_such_argument=1)),
    }


def is_ours(function: Any) -> bool:
    """True if the function is defined in trainwatt_keras."""
    return Path(function.__code__.co_filename).is_relative_to(Path(model_calls.__file__).parent)


def wrappers(function: Any) -> Iterator[Any]:
    while function is not None:
        yield function
        function = getattr(function, "__wrapped__", None)


@scenario
def one_summary(folder: Path) -> Any:
    with printed() as out:
        fit(monitor(folder, verbose=True))
    with printed() as quiet:
        fit(monitor(folder))
    return {"printed": out.getvalue(), "quiet": quiet.getvalue()}


class Planner(keras.callbacks.Callback):
    """Where the plan of a training is seen."""

    def __init__(self) -> None:
        super().__init__()
        self.plan: Any = None

    def on_train_begin(self, logs: Any = None) -> None:
        self.plan = plan_of(self.params, model_calls.current(self.model), [])


@scenario
def plans(folder: Path) -> Any:
    outcomes = []
    for number, options in enumerate(
        (
            {"epochs": 3},
            {"epochs": 5, "validation_freq": 2},
            {"epochs": 5, "validation_freq": [1, 4]},
            {"epochs": 5, "initial_epoch": 2, "validation_freq": 2},
            {"epochs": 3, "steps_per_epoch": 4, "validation_steps": 1},
            {"epochs": 3, "validation_data": None, "validation_split": 0.25},
            {"epochs": 3, "validation_data": None},
        )
    ):
        ours, planner = monitor(folder / str(number)), Planner()
        fit(planner, ours, **options)
        plan, phases = planner.plan, ours.summary["phases"]
        steps = phases["train"]["steps"]
        outcomes.append(
            {
                "planned": [plan.total_steps(), plan.evaluations(plan.epochs, steps)],
                "made": [steps, phases["validate"]["entries"] if "validate" in phases else 0],
                "batches": plan.validation_batches,
            }
        )
    return outcomes


@scenario
def projected(folder: Path) -> Any:
    ours, logger = monitor(folder, verbose=True), keras.callbacks.CSVLogger(str(folder / "log.csv"))
    with printed() as out:
        fit(logger, ours, epochs=3, verbose=1, validation_freq=2)
    with (folder / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    events = [event for event in read_events(folder / "run") if event["event"] == "projection"]
    return {"rows": rows, "printed": out.getvalue(), "events": events, "summary": ours.summary}


@scenario
def projected_by_steps_executed_at_once(folder: Path) -> Any:
    with printed() as out:
        at_once = {} if BACKEND == "torch" else {"steps_per_execution": 4}  # which PyTorch's trainer does not know
        fit(monitor(folder, verbose=True, project_after=6), model=classifier(**at_once), epochs=3)
    return {"printed": out.getvalue(), "events": list(read_events(folder / "run"))}


def stream() -> Any:
    """Batches of which only the iteration tells how many there are."""
    from torch.utils.data import DataLoader, IterableDataset  # noqa: PLC0415

    class Stream(IterableDataset):
        def __iter__(self) -> Iterator[Any]:
            return iter(zip(*points(BATCHES), strict=True))

    return DataLoader(Stream(), batch_size=BATCH)


@scenario
def projected_without_a_known_length(folder: Path) -> Any:
    patience = keras.callbacks.EarlyStopping(monitor="loss", patience=9)
    with printed() as out:
        fit(patience, monitor(folder, verbose=True), data=stream(), epochs=3)
    return {"printed": out.getvalue(), "events": list(read_events(folder / "run"))}


@scenario
def projected_never(folder: Path) -> Any:
    with printed() as out:
        history = fit(monitor(folder, verbose=True, project_after=None)).history
    return {"printed": out.getvalue(), "history": history}


@scenario
def devices(folder: Path) -> Any:
    """The devices that the plugin names to the core, and what the core makes of them; this machine has a CPU only."""
    named = devices_of(classifier())
    return {"named": len(named or ()), "accelerators": accelerators_of(named or ())}


def truth(folder: Path, nvml: Path) -> Any:
    class Slow(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            time.sleep(0.02)  # as a GPU would take

    with standin.load(nvml).running(h100(Constant(250.0))):
        ours = monitor(None, devices=["gpu"])
        history = fit(ours, Slow(), epochs=4).history
    return {"summary": ours.summary, "history": history}


def main(folder: Path, nvml: Path) -> None:
    warnings.filterwarnings("error", module="trainwatt")
    results: dict[str, Any] = {}
    for name, function in {**SCENARIOS, "truth": lambda folder: truth(folder, nvml)}.items():
        (own := folder / name).mkdir(parents=True)
        began_s = time.perf_counter()
        try:
            results[name] = {"result": function(own)}
        except BaseException:  # noqa: BLE001  # told to the test that asks for it
            results[name] = {"error": traceback.format_exc()}
        results[name]["seconds"] = time.perf_counter() - began_s
    (folder / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
