"""The Keras callback: a translation of hooks into lifecycle calls."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Literal

import keras

from trainwatt.accounting.timeline import Phase
from trainwatt.callbacks.lifecycle import Lifecycle
from trainwatt.tracking.tracker import status_of
from trainwatt_keras import model_calls
from trainwatt_keras.backup import Backup
from trainwatt_keras.batch_counter import BatchCounter
from trainwatt_keras.callback_list import list_of, put_first, shorten_bar
from trainwatt_keras.model_hooks import devices_of, time_saves
from trainwatt_keras.plan import plan_of
from trainwatt_keras.process_group import process_group_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from trainwatt.reporting.artifacts import ExperimentTracker
    from trainwatt.tracking.options import MonitorOptions

_log = logging.getLogger("trainwatt")

Kind = Literal["fit", "test", "predict"]


class FootprintMonitor(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
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
        self._validates = False
        self._backup = Backup(())
        self._published: dict[str, float] = {}
        self._undo = ExitStack()
        self._batches = BatchCounter()
        self._evaluated = 0
        model_calls.watch()

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
        """Move to the front of the list of callbacks, so that all others see our values."""
        super().set_model(model)
        put_first(self)

    # a training

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Start a run."""
        self._start("fit")
        callbacks = list_of(self)
        listed = callbacks.callbacks if callbacks else ()
        self._run.plan(plan_of(self.params or {}, self._call, listed))
        self._backup = Backup(listed)
        self._run.load_state_dict(self._backup.load())
        self._backup.save(self._run.state_dict)

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
        if snapshot is not None:
            # CSVLogger's columns are those of the first epoch, and validation_freq may leave that one out.
            none_made = {"energy/validate_kwh": 0.0} if self._validates else {}
            self._publish(logs, none_made | snapshot.metrics())
            self._backup.save(self._run.state_dict)

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
        snapshot = None if self._published else self._run.snapshot()
        if snapshot is not None and not snapshot.total.total_j:
            self._run.wait_until_settled()

    def _start(self, kind: Kind) -> None:
        self._undo.close()
        model = self.model if isinstance(self.model, keras.Model) else None
        self._run.open(
            "" if kind == "fit" else kind,
            trains_on=devices_of(model),
            group=process_group_of(),
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

    def _borrow(self, model: Any) -> None:
        """Change what the plugin changes for the time of a run."""
        callbacks = put_first(self)
        if callbacks is None:
            _log.warning(
                "trainwatt: values reach only the callbacks that are called after FootprintMonitor; call it first"
            )
        else:
            shorten_bar(callbacks, self._published, self._undo, shown=self._run.shows_bar)
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
        if snapshot is not None:
            self._publish(logs, snapshot.inference_metrics(kind))
        self._stop_unless_watched()

    def _write_line(self, line: str) -> None:
        """Write over the progress bar, whose last line of an epoch is still open and is drawn again below."""
        bar = (self.params or {}).get("verbose") in (1, "auto")
        before = ("\r\x1b[K" if sys.stdout.isatty() else "\n") if bar else ""
        print(before + line, flush=True)  # noqa: T201  # verbose=True asks for it

    def _publish(self, logs: dict[str, Any] | None, metrics: dict[str, float]) -> None:
        """Add values to the logs: Keras hands the same dictionary to one callback after the other."""
        self._published.clear()
        self._published.update(metrics)
        if logs is not None:
            logs.update(metrics)

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
