"""The Keras callback: hooks in, values in the logs out."""

from __future__ import annotations

import logging
import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import keras

from trainwatt.accounting.timeline import Phase
from trainwatt.live import Provider
from trainwatt.power.device import KINDS
from trainwatt.reporting.run_sinks import run_sinks
from trainwatt.site import Site
from trainwatt.tracking.settings import Settings
from trainwatt.tracking.tracker import Tracker, status_of
from trainwatt_keras import model_calls
from trainwatt_keras.backup import Backup
from trainwatt_keras.callback_list import list_of, put_first, shorten_bar
from trainwatt_keras.model_hooks import gpu_uuids, time_saves
from trainwatt_keras.plan import plan_of
from trainwatt_keras.process_group import process_group_of

_log = logging.getLogger("trainwatt")

_RECENT = 256  # more than there are batches under way between Keras's threads


class FootprintMonitor(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Measures the energy of a training and adds it, with its footprint, to Keras's own logs.

    Each call of ``fit``, ``evaluate`` or ``predict`` with this callback is a run. Values are added to the logs at the
    end of every epoch, evaluation and prediction, and so are in ``History``, ``CSVLogger`` and ``TensorBoard``.

    Args:
        zone: where the run happens: a country (``"FR"``) or a subdivision (``"US-CA"``). None: see ``cloud``, then what
            the environment tells, then the world's average.
        cloud: a cloud region, such as ``"gcp/europe-west9"``.
        pue: power usage effectiveness of the data centre, at least 1.
        wue: water that the data centre uses, in litres per kWh.
        tariff: price of electricity per kWh.
        carbon_intensity: of the electricity, in gCO2e per kWh; or a live source, one of :mod:`trainwatt.live` or its
            short name: ``"electricitymaps"``, ``"gb"``, ``"dk"``.
        site: a :class:`trainwatt.Site`, instead of all of these.
        expected_requests: how often the model is going to be asked, for the part of training in the energy of its life;
            told after an evaluation, test or prediction by itself that follows a training with the same object.
        devices: what to measure: any of ``"gpu"``, ``"cpu"``, ``"ram"``.
        scope: ``"machine"``, or ``"process"`` for our share of a shared machine's CPU.
        interval: at most this many seconds between samples.
        idle_w: watts of the processor at rest, where it can only be estimated.
        full_w: watts of the processor at full load, where it can only be estimated.
        project_after: from when on the whole run is projected: ``"epoch"``, the first one, or where that may be the
            whole run, its first 50 steps or 1 %; a number of steps; None: never.
        prog_bar: whether the progress bar's last line of an epoch shows the energy, so far and of the whole run, and
            where it has room the emissions.
        verbose: whether to print the projection and, at the end of a run, a summary.
        output_dir: where run folders are made; None: no run folder.
        run_name: the run folder's name; None: the start time.

    Raises:
        ArgumentError: names the argument, what was given, and what would be right.
    """

    async_safe = True  # the hooks of a batch's end may run in Keras's own threads: they look at no value

    def __init__(
        self,
        *,
        zone: str | None = None,
        cloud: str | None = None,
        pue: float | None = None,
        wue: float | None = None,
        tariff: float | None = None,
        carbon_intensity: float | str | Provider | None = None,
        site: Site | None = None,
        expected_requests: float | None = None,
        devices: Sequence[str] = KINDS,
        scope: str = "machine",
        interval: float = 1.0,
        idle_w: float | None = None,
        full_w: float | None = None,
        project_after: int | str | None = "epoch",
        prog_bar: bool = True,
        verbose: bool = True,
        output_dir: str | os.PathLike[str] | None = "footprint",
        run_name: str | None = None,
    ) -> None:
        super().__init__()
        settings = Settings.check(
            zone=zone,
            cloud=cloud,
            pue=pue,
            wue=wue,
            tariff=tariff,
            carbon_intensity=carbon_intensity,
            site=site,
            expected_requests=expected_requests,
            devices=devices,
            scope=scope,
            interval=interval,
            idle_w=idle_w,
            full_w=full_w,
            project_after=project_after,
            verbose=verbose,
            output_dir=output_dir,
            run_name=run_name,
        )
        self._prog_bar = prog_bar
        self._tracker = Tracker(settings, run_sinks(settings, self._say))
        self._kind: Literal["fit", "test", "predict"] | None = None
        self._call: model_calls.Call | None = None
        self._validates = False
        self._backup = Backup(())
        self._published: dict[str, float] = {}
        self._undo = ExitStack()
        self._steps: int | None = None
        self._at_a_time = 1
        self._begun = self._evaluated = 0
        self._ends: deque[int] = deque(maxlen=_RECENT)
        model_calls.watch()

    @property
    def summary(self) -> dict[str, Any]:
        """What ``summary.json`` holds, of the last run that has ended; empty before."""
        return self._tracker.summary

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint of your own must hold, so that a resumed training goes on counting."""
        return self._tracker.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next training go on counting; needed only where ``BackupAndRestore`` does not restore it.

        Args:
            state: from `state_dict`, or what ``summary.json`` of that training holds.
        """
        self._tracker.load_state_dict(state)

    def set_model(self, model: Any) -> None:
        """The callbacks are being listed: the first one's values reach all others."""
        super().set_model(model)
        put_first(self)

    # a training

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """A run begins."""
        self._start("fit")
        self._tracker.begin("setup")
        callbacks = list_of(self)
        listed = callbacks.callbacks if callbacks else ()
        self._tracker.plan(plan_of(self.params or {}, self._call, listed))
        self._backup = Backup(listed)
        self._tracker.load_state_dict(self._backup.load())
        self._backup.save(self._tracker.state_dict)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """An epoch begins."""
        self._tracker.end("setup")
        self._begin_steps()
        self._tracker.begin("train", epoch=epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """An epoch has ended, its evaluation included."""
        self._count_last()
        self._tracker.end("train")
        self._have_figures()
        snapshot = self._tracker.end_epoch()
        if snapshot is not None:
            # CSVLogger's columns are those of the first epoch, and validation_freq may leave that one out
            none_made = {"energy/validate_kwh": 0.0} if self._validates else {}
            self._publish(logs, none_made | snapshot.metrics())
            self._backup.save(self._tracker.state_dict)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """A training has ended."""
        self._stop_unless_watched()

    # an evaluation, in a training or by itself, and a prediction

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """An evaluation begins."""
        if self._kind == "fit":
            self._evaluated = 0
            self._begin_inner("validate")
        else:
            self._start("test")
            self._tracker.begin("test")

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """An evaluation ends."""
        if self._kind == "fit":
            self._end_inner("validate")
        else:
            self._end_inference("test", logs)

    def on_predict_begin(self, logs: dict[str, Any] | None = None) -> None:
        """A prediction begins."""
        if self._kind == "fit":
            self._begin_inner("predict")
        else:
            self._start("predict")
            self._tracker.begin("predict")

    def on_predict_end(self, logs: dict[str, Any] | None = None) -> None:
        """A prediction ends."""
        if self._kind == "fit":
            self._end_inner("predict")
        else:
            self._end_inference("predict", logs)

    # steps: a batch's number tells how many were made before it, in however many at a time

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Batches before this one have been made."""
        self._tracker.step(batch - self._begun)
        self._begun = batch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """This batch has been made, too."""
        self._ends.append(batch)

    def on_test_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """As in training; evaluation steps within a training are only timed, not counted."""
        if self._kind == "test":
            self.on_train_batch_begin(batch)
        else:
            self._tracker.batch(batch - self._evaluated)
            self._evaluated = batch

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """As in training."""
        if self._kind == "test":
            self._ends.append(batch)

    def on_predict_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """As in training."""
        if self._kind == "predict":
            self.on_train_batch_begin(batch)

    def on_predict_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """As in training."""
        if self._kind == "predict":
            self._ends.append(batch)

    def _begin_steps(self) -> None:
        self._begun = 0
        self._ends.clear()

    def _count_last(self) -> None:
        """No batch begins after the last one, and TensorFlow lets one begin before it finds that there is none."""
        made = max(self._ends, default=-1) + 1
        made += -made % self._at_a_time  # before Keras 3.11 an execution ends with the number of its first batch
        if self._steps is not None:
            made = min(made, self._steps)
        self._tracker.step(max(0, made - self._begun))
        self._begin_steps()

    # what the hooks share

    def _have_figures(self) -> None:
        """A first epoch may be over before the first reading, but CSVLogger takes its columns from it."""
        snapshot = None if self._published else self._tracker.snapshot()
        if snapshot is not None and not snapshot.total.total_j:
            self._tracker.wait_until_settled()

    def _start(self, kind: Literal["fit", "test", "predict"]) -> None:
        self._undo.close()
        model = self.model if isinstance(self.model, keras.Model) else None
        self._tracker.start("" if kind == "fit" else kind, gpu_uuids=gpu_uuids(model), processes=process_group_of())
        self._kind = kind
        self._steps = (getattr(self, "params", None) or {}).get("steps")
        self._at_a_time = getattr(model, "steps_per_execution", 1)
        self._published.clear()
        self._begin_steps()
        self._call = model_calls.current(model)
        if self._call is not None:
            self._call.at_end(self._stop)
            self._call.around_inner(self._inner)
        self._validates = self._call is not None and self._call.validates
        self._borrow(model)

    def _borrow(self, model: Any) -> None:
        """What the plugin changes for the time of a run."""
        callbacks = put_first(self)
        if callbacks is None:
            _log.warning(
                "trainwatt: values reach only the callbacks that are called after FootprintMonitor; call it first"
            )
        else:
            shorten_bar(callbacks, self._published, self._undo, shown=self._prog_bar)
        if model is not None:
            time_saves(model, self._tracker, self._undo)

    def _end_inference(self, phase: Literal["test", "predict"], logs: dict[str, Any] | None) -> None:
        self._count_last()
        self._tracker.end(phase)
        self._tracker.wait_until_settled()
        self._count_samples(phase)
        snapshot = self._tracker.snapshot()
        if snapshot is not None:
            self._publish(logs, snapshot.inference_metrics(phase))
        self._stop_unless_watched()

    def _count_samples(self, phase: Literal["test", "predict"]) -> None:
        snapshot = self._tracker.snapshot()
        complete = snapshot is not None and self._call is not None and snapshot.phases[phase].steps == self._steps
        self._tracker.count(self._call.samples if self._call is not None and complete else None)

    def _say(self, line: str) -> None:
        """In the place of the progress bar, whose last line of an epoch is still open and will be drawn below."""
        bar = (self.params or {}).get("verbose") in (1, "auto")
        before = ("\r\x1b[K" if sys.stdout.isatty() else "\n") if bar else ""
        print(before + line, flush=True)  # noqa: T201  # it was asked for

    def _publish(self, logs: dict[str, Any] | None, metrics: dict[str, float]) -> None:
        """Keras hands the same dictionary to one callback after the other."""
        self._published.clear()
        self._published.update(metrics)
        if logs is not None:
            logs.update(metrics)

    def _begin_inner(self, phase: Phase) -> None:
        """In a loop of one's own the hooks tell; within a call of ``fit``, :meth:`_inner` does."""
        if self._call is None:
            self._tracker.begin(phase)

    def _end_inner(self, phase: Phase) -> None:
        if self._call is None:
            self._tracker.end(phase)

    @contextmanager
    def _inner(self, call: model_calls.Call) -> Iterator[None]:
        """An evaluation or a prediction within a training, by Keras itself or by another callback."""
        if call.method == "fit":
            yield
            return
        phase: Phase = "validate" if call.method == "evaluate" else "predict"
        self._validates |= phase == "validate"
        with self._tracker.phase(phase):
            yield

    def _stop_unless_watched(self) -> None:
        """A loop of one's own with Keras's list of callbacks ends here, a call of the model when it returns."""
        if self._call is None:
            self._stop(None)

    def _stop(self, error: BaseException | None) -> None:
        self._count_last()
        self._undo.close()
        self._kind = self._call = None
        if self._tracker.stop(status_of(error), together=error is None) is not None:
            from trainwatt.reporting.artifacts import attach, found  # noqa: PLC0415  # at the end only: it takes milliseconds
            from trainwatt.reporting.experiment_trackers import active_trackers  # noqa: PLC0415

            attach(self._tracker.summary, found(active_trackers))
