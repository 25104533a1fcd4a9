"""The Keras callback: a translation of hooks into lifecycle calls."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Literal

import keras

from trainwatt.accounting.timeline import Phase
from trainwatt.callbacks.hooks import Hooks
from trainwatt.callbacks.lifecycle import Lifecycle
from trainwatt.containment import Failures
from trainwatt.projection.plan import Plan
from trainwatt.reporting import console
from trainwatt.tracking.outcome import status_of
from trainwatt_keras import model_calls
from trainwatt_keras.backup import Backup
from trainwatt_keras.batch_counter import BatchCounter
from trainwatt_keras.callback_list import all_callbacks, leave, places_of, put_first, shorten_bars
from trainwatt_keras.model_hooks import devices_of, time_saves
from trainwatt_keras.plan import plan_of
from trainwatt_keras.process_group import process_group_of
from trainwatt_keras.published import Published

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from trainwatt.reporting.artifacts import ExperimentTracker
    from trainwatt.tracking.options import MonitorOptions

_log = logging.getLogger("trainwatt")

Kind = Literal["fit", "test", "predict"]

# What every epoch of a training has; in the first one some may not be known yet.
_EVERY_EPOCH = ("energy/epoch_kwh", "energy/train_kwh", "energy/power_w", "energy/step_j")
_PROJECTED = ("total_kwh", "total_kwh_low", "total_kwh_high", "co2e_kg", "remaining_s")


class FootprintMonitor(Hooks, keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Energy monitor that adds energy and footprint to Keras's own logs.

    Each call of ``fit``, ``evaluate`` or ``predict`` with this callback is a run. Values are added to the logs at the
    end of every epoch, evaluation and prediction, and so are in ``History``, ``CSVLogger`` and ``TensorBoard``.

    Args:
        options: location, devices, output and projection; see :class:`trainwatt.tracking.options.MonitorOptions`,
            :class:`trainwatt.tracking.options.Options` and :class:`trainwatt.tracking.options.MeasurementOptions`.

    Raises:
        ArgumentError: names the argument, what was given, and what would be right.
    """

    # The hooks of a batch's end may run in Keras's own threads: they read no value.
    async_safe = True

    def __init__(self, **options: Unpack[MonitorOptions]) -> None:
        super().__init__()
        self._run = Lifecycle(self._write_line, **options)
        self._kind: Kind | None = None
        self._call: model_calls.Call | None = None
        self._validates = self._projects = False
        self._failures = Failures()
        self._backup = Backup(())
        self._published = Published()
        self._undo = ExitStack()
        self._batches = BatchCounter()
        self._evaluated = 0
        model_calls.watch()

    def _idle(self) -> dict[str, Any]:
        """Return the attributes of a copy that differ: a copy has no model, and no training."""
        return {
            **super()._idle(),
            "_model": None,
            "_kind": None,
            "_call": None,
            "_backup": Backup(()),
            "_published": Published(),
            "_undo": ExitStack(),
            "_batches": BatchCounter(),
        }

    @property
    def summary(self) -> dict[str, Any]:
        """Content of ``summary.json`` of the last run that has ended; empty before."""
        return self._run.summary

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint of your own must hold for a resumed training to continue."""
        return self._run.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next training continue; needed only if ``BackupAndRestore`` does not restore it.

        Args:
            state: from `state_dict`, or the content of that training's ``summary.json``.
        """
        self._run.load_state_dict(state)

    def part(self, name: str) -> AbstractContextManager[None]:
        """Name a part of your own, counted in the phase around it; see :meth:`trainwatt.Tracker.part`."""
        return self._run.part(name)

    def set_model(self, model: Any) -> None:
        """Move to the front of the list of callbacks, so that all others see our values.

        A call within the one that is being measured is part of it, and its own callbacks are without this one.
        """
        if self._call is not None:
            leave(self)
            return
        super().set_model(model)
        put_first(self)

    # a training

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Start a run."""
        if self._call is not None:
            return
        self._start("fit")
        listed = all_callbacks(places_of(self))
        self._run.plan_once(lambda: self._planned(listed))
        self._backup = Backup(listed)
        self._run.load_state_dict(self._backup.load())
        self._backup.save(self._run.state_dict)

    def _planned(self, listed: list[Any]) -> Plan:
        plan = plan_of(self.params or {}, self._call, listed)
        after, steps = self._run.project_after, plan.total_steps()
        self._projects = plan.epochs is not None and after is not None
        self._projects &= not (isinstance(after, int) and steps is not None and steps < after)
        return plan

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Begin an epoch."""
        self._run.end("setup")
        self._batches.reset()
        self._run.begin("train", epoch=epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """End an epoch, its evaluation included."""
        self._run.step(self._batches.rest())
        self._run.end("train")
        self._wait_for_figures()
        snapshot = self._run.end_epoch()
        # CSVLogger's columns are those of the first epoch, and validation_freq may leave that one out.
        none_made = {"energy/validate_kwh": 0.0} if self._validates and snapshot is not None else {}
        make = lambda: none_made | snapshot.metrics() if snapshot is not None else {}  # noqa: E731
        metrics = self._run.share(self._failures.result("the values of an epoch", make, {}))
        if metrics and not self._published.values:
            metrics = self._first(metrics)
        self._publish(logs, self._run.steady(metrics))
        if snapshot is not None:
            self._backup.save(self._run.state_dict)

    def _first(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Return the values of the first epoch, with the names of those that will be known later."""
        names = [*_EVERY_EPOCH, *(f"projection/{name}" for name in _PROJECTED if self._projects)]
        return dict.fromkeys(names, math.nan) | dict(metrics)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """End a training."""
        self._stop_unless_watched()

    # an evaluation, in a training or standalone, and a prediction

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Begin an evaluation."""
        self._evaluated = 0
        self._begin_inference("test", within="validate")

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """End an evaluation."""
        self._end_inference("test", logs, within="validate")

    def on_predict_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Begin a prediction."""
        self._begin_inference("predict", within="predict")

    def on_predict_end(self, logs: dict[str, Any] | None = None) -> None:
        """End a prediction."""
        self._end_inference("predict", logs, within="predict")

    # steps

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Count the batches before this one."""
        self._run.step(self._batches.begin(batch))

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Note that this batch has been processed."""
        self._batches.end(batch)

    def on_test_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Count as in training; batches of an evaluation within a training are only timed."""
        if self._kind == "test":
            self._run.step(self._batches.begin(batch))
        else:
            self._run.batch(batch - self._evaluated)
            self._evaluated = batch

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Count as in training."""
        if self._kind == "test":
            self._batches.end(batch)

    def on_predict_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Count as in training."""
        if self._kind == "predict":
            self._run.step(self._batches.begin(batch))

    def on_predict_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Count as in training."""
        if self._kind == "predict":
            self._batches.end(batch)

    # what the hooks share

    def _wait_for_figures(self) -> None:
        """Wait for the first reading: CSVLogger takes its columns from the first epoch, which may be over before."""
        snapshot = None if self._published.values else self._run.snapshot()
        if snapshot is not None and not snapshot.total.total_j:
            self._run.wait_until_settled()

    def _start(self, kind: Kind) -> None:
        self._undo.close()
        self._failures = Failures()
        model = self.model if isinstance(self.model, keras.Model) else None
        self._run.open(
            "" if kind == "fit" else kind,
            trains_on=devices_of(model),
            group=process_group_of(f"monitor {self._number()}"),
            experiment_trackers=_experiment_trackers,
            setup=kind == "fit",
        )
        self._kind = kind
        steps = (getattr(self, "params", None) or {}).get("steps")
        self._batches = BatchCounter(steps, getattr(model, "steps_per_execution", 1))
        self._published.clear()
        self._call = model_calls.current(model)
        if self._call is not None:
            self._call.at_end(self._stop)
            self._call.around_inner(self._inner)
        self._validates = self._call is not None and self._call.validates
        self._borrow(model)

    def _number(self) -> int:
        """Return the place among the monitors of this training, which is the same in each process of a job."""
        monitors = [each for each in all_callbacks(places_of(self)) if isinstance(each, FootprintMonitor)]
        return next((number for number, each in enumerate(monitors) if each is self), 0)

    def _borrow(self, model: Any) -> None:
        """Change what the plugin changes for the time of a run."""
        places = put_first(self, self._undo)
        if not places:
            _log.warning(
                "trainwatt: values reach only the callbacks that are called after FootprintMonitor; call it first"
            )
        shorten_bars(all_callbacks(places), self._published, self._undo, shown=self._run.shows_bar)
        if model is not None:
            time_saves(model, self._run, self._undo)

    def _begin_inference(self, kind: Literal["test", "predict"], *, within: Phase) -> None:
        """Begin a standalone call, or in a custom loop a phase of its training; within ``fit`` see :meth:`_inner`."""
        if self._kind != "fit":
            self._start(kind)
            self._run.begin_inference(kind)
        elif self._call is None:
            self._run.begin(within)

    def _end_inference(self, kind: Literal["test", "predict"], logs: dict[str, Any] | None, *, within: Phase) -> None:
        if self._kind == "fit":
            if self._call is None:
                self._run.end(within)
            return
        self._run.step(self._batches.rest())
        self._run.end(kind)
        self._run.wait_until_settled()
        snapshot = self._run.snapshot()
        complete = snapshot is not None and snapshot.phases[kind].steps == self._batches.expected
        self._run.count(self._call.samples if self._call is not None and complete else None)
        snapshot = self._run.snapshot()
        values = self._run.share(snapshot.inference_metrics(kind) if snapshot is not None else {})
        self._publish(logs, values, snapshot.metrics() if snapshot is not None else {})
        self._stop_unless_watched()

    def _write_line(self, line: str) -> None:
        """Write over the progress bar, whose last line of an epoch is still open and is drawn again below."""
        bar = (self.params or {}).get("verbose") in (1, "auto")
        before = ("\r\x1b[K" if console.is_terminal(sys.stdout) else "\n") if bar else ""
        console.write_line(before + line)

    def _publish(
        self, logs: dict[str, Any] | None, values: Mapping[str, float], figures: Mapping[str, float] | None = None
    ) -> None:
        """Add values to the logs: Keras hands the same dictionary to one callback after the other."""
        places = places_of(self)
        given = [logs, *(place.logs for place in places)]
        self._published.publish(values, given, all_callbacks(places), figures)

    @contextmanager
    def _inner(self, call: model_calls.Call) -> Iterator[None]:
        """Surround an evaluation or a prediction within a training, by Keras itself or by another callback."""
        if call.method == "fit":
            yield
            return
        phase: Phase = "validate" if call.method == "evaluate" else "predict"
        self._validates |= phase == "validate"
        with self._run.phase(phase):
            yield

    def _stop_unless_watched(self) -> None:
        """End a run of a custom loop with Keras's list of callbacks; a call of the model ends its run on return."""
        if self._call is None:
            self._stop(None)

    def _stop(self, error: BaseException | None) -> None:
        self._run.step(self._batches.rest())
        self._undo.close()
        self._kind = self._call = None
        self._run.close(status_of(error), together=error is None)


def _experiment_trackers() -> list[ExperimentTracker]:
    # at the end of a run only: importing it takes milliseconds
    from trainwatt.reporting.experiment_trackers import active_trackers  # noqa: PLC0415

    return active_trackers()
