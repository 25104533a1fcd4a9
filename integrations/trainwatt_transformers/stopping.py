"""Green early stopping for the Hugging Face Trainer: a translation of hooks into controller calls."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from trainwatt.accounting.timeline import Phase
from trainwatt.callbacks.hooks import Hooks
from trainwatt.callbacks.stop_controller import StopController, StopOutcome
from trainwatt.errors import ArgumentError
from trainwatt.stopping.criteria import Decision
from trainwatt_torch.lr_schedule import torch_rates
from trainwatt_transformers.callback_states import attributes_of, make_room, plain, put_states
from trainwatt_transformers.process_group import process_group_of
from trainwatt_transformers.trainer_calls import CallWatcher, all_callbacks, monitor_of, report_calls_of, watchers_of
from trainwatt_transformers.trainer_frames import call_of, calling_trainer
from trainwatt_transformers.trainer_state import devices_of, log_entry

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from trainwatt.tracking.options import StoppingOptions


def _no_trainer() -> None:
    """Return no Trainer: that of a callback that judges none."""


class RequirementError(AssertionError):
    """A training that cannot be judged, as transformers' own EarlyStoppingCallback tells it."""


class GreenEarlyStoppingCallback(Hooks, StopOutcome, CallWatcher, TrainerCallback, ExportableState):
    """Early stopping when the metric's gain is no longer worth its energy.

    It works alongside a :class:`FootprintCallback` or standalone. Evaluations must be on; for the best weights use
    ``load_best_model_at_end``. Its history is in the checkpoint: ``restore_callback_states_from_checkpoint=True``.

    Args:
        monitor: name of the metric, as ``evaluate`` returns it, with or without ``eval_``; None:
            ``metric_for_best_model``.
        mode: ``"min"`` or ``"max"``; None: as ``greater_is_better`` says, else ``"min"`` for a loss.
        verbose: log why the training is stopped.
        options: thresholds and budgets, location and devices; see
            :class:`trainwatt.tracking.options.StoppingOptions` and
            :class:`trainwatt.tracking.options.MeasurementOptions`.

    Raises:
        ArgumentError: names the argument, what was given, and what would be right.
        ValueError: ``mode`` is neither.
    """

    passes = (ArgumentError, RequirementError)

    def __init__(
        self,
        monitor: str | None = None,
        mode: str | None = None,
        *,
        verbose: bool = True,
        **options: Unpack[StoppingOptions],
    ) -> None:
        super().__init__()
        if monitor is not None and not isinstance(monitor, str):
            expected = "the name of a metric, or None for metric_for_best_model; patience= is an argument of its own"
            raise ArgumentError("monitor", monitor, expected)
        if mode not in (None, "min", "max"):
            raise ValueError(f"mode must be 'min', 'max' or None for greater_is_better, got {mode!r}")
        self.monitor, self.mode, self.verbose = monitor, mode, verbose
        self.history: dict[str, Any] = {}  # of a checkpoint
        self._controller = StopController(None, verbose=verbose, **options)
        self._trainer: Callable[[], Trainer | None] = _no_trainer
        self._state: TrainerState | None = None  # of the training that is judged
        self._pending: Decision | None = None  # to stop, if no other callback lets the training go on
        self._seen: dict[str, None] | None = None  # names of the metrics of an evaluation; None outside of one
        self._is_together = False  # all ranks judge

    def _idle(self) -> dict[str, Any]:
        history = self._controller.state_dict() if self._state is not None else self.history
        idle = {"_trainer": _no_trainer, "_state": None, "_pending": None, "_seen": None, "_is_together": False}
        return {**super()._idle(), **idle, "history": history}

    def __copy__(self) -> Self:
        """Return a callback of its own, which judges nothing yet."""
        made = type(self).__new__(type(self))
        vars(made).update({**self.__getstate__(), "_controller": copy.deepcopy(self._controller)})
        return made

    # what a checkpoint holds

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds of this callback."""
        if (trainer := calling_trainer()) is not None:
            report_calls_of(type(trainer))
            make_room(trainer, self)
        arguments = {"monitor": self.monitor, "mode": self.mode, "verbose": self.verbose}
        history = self._controller.state_dict()
        return {"args": arguments | plain(self._controller.options), "attributes": {"history": history}}

    def restore(self, state: dict[str, Any], *, wanted: bool) -> None:
        """Continue from a checkpoint if the user asks for it, with the arguments of this callback."""
        if wanted:
            self.history = attributes_of(state).get("history") or {}

    # the training, by the Trainer's calls

    @contextmanager
    def training(self, trainer: Trainer) -> Iterator[None]:
        """End measuring with the training, however it ends."""
        try:
            yield
        finally:
            # one within the training that is judged is not
            if self._state is not None and self._trainer() is trainer:
                self._end()

    @contextmanager
    def evaluating(self, trainer: Trainer, phase: Phase, prefix: str) -> Iterator[None]:
        """Note that the metric is missing only if it is in none of several data sets."""
        if self._seen is not None or trainer.state is not self._state:
            yield
            return
        self._seen = {}
        try:
            yield
            # other evaluations of the user's, such as tests, have other metrics
            if prefix.startswith("eval"):
                self._look_back(trainer.args, trainer.state)
        finally:
            self._seen = None

    @contextmanager
    def saving(self, trainer: Trainer) -> Iterator[None]:
        """Put the history into ``trainer_state.json``; the monitor does it for all, if there is one."""
        if monitor_of(trainer) is None:
            put_states(trainer, watchers_of(trainer))
        yield

    # hooks

    def on_init_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Take note of the class of the Trainer that has been made."""
        if (trainer := calling_trainer()) is not None:
            report_calls_of(type(trainer))

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start measuring a training."""
        if args.eval_strategy == "no":  # as transformers' own EarlyStoppingCallback tells it
            raise RequirementError("GreenEarlyStoppingCallback requires eval_strategy of steps or epoch")
        if self._name(args) is None:
            raise RequirementError("GreenEarlyStoppingCallback requires monitor or metric_for_best_model")
        trainer, judged = calling_trainer(), self._trainer()
        if judged not in (None, trainer) and self._state is not None and call_of(judged) is not None:
            # a Trainer within the training that is judged
            return
        self._trainer = weakref.ref(trainer) if trainer is not None else _no_trainer
        self._controller.mode = self._direction(args)
        steps = state.eval_steps if args.eval_strategy == "steps" else None
        self._state, self._pending = state, None
        self._controller.start(
            devices_of(trainer) if trainer is not None else [args.device],
            process_group_of(args, self._channel(trainer)),
            callbacks=all_callbacks(trainer) if trainer is not None else (),
            evaluations=int(state.max_steps // steps if steps else state.num_train_epochs),
            remedy='eval_strategy="steps", eval_steps=0.05 gives twenty',
        )
        self._is_together = self._controller.agree(Decision(stop=True))
        history, self.history = self.history, {}
        if state.is_world_process_zero and history:
            self._controller.load_state_dict(history)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Forget a stop that another callback has called off."""
        if self._pending is not None and state is self._state:
            self._pending = None

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Check the budgets within an epoch."""
        if state is not self._state:
            return
        decision = self._controller.check_budget(f"step {state.global_step}")
        if decision is not None:
            self._apply(args, control, decision, stop=decision.stop)

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Judge at the end of an evaluation, as transformers' own early stopping does."""
        if state is not self._state:
            return
        metrics: Mapping[str, Any] = kwargs.get("metrics") or {}
        decision = Decision()
        # each rank does this at each evaluation, whether it has the metric or not
        self._controller.exchange()
        if state.is_world_process_zero:
            decision = self._judged(args, state, metrics, kwargs.get("lr_scheduler"))
        stop, gains = self._controller.agree(decision), self._controller.share(decision.metrics)
        trainer = calling_trainer()
        if trainer is not None:
            log_entry(trainer, dict(gains), on_all_ranks=self._is_together)
        self._apply(args, control, decision, stop=stop)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """End measuring."""
        if state is self._state:
            self._end()

    # what these share

    def _judged(
        self, args: TrainingArguments, state: TrainerState, metrics: Mapping[str, Any], scheduler: Any
    ) -> Decision:
        """Return the decision of rank 0."""
        name = self._name(args) or ""
        if name not in metrics:
            self._note_missing(name, metrics)
            return Decision()
        if self._seen is not None:
            self._seen[name] = None
        left = torch_rates(scheduler, max(0, state.max_steps - state.global_step))
        done = state.global_step / state.max_steps if state.max_steps > 0 else None
        when = f"step {state.global_step}"
        return self._controller.evaluate(metrics[name], done=done, when=when, remaining_lr=left, metric=name)

    def _note_missing(self, name: str, metrics: Mapping[str, Any]) -> None:
        if self._seen is None:
            self._controller.missing(name, metrics)
        else:
            self._seen.update(dict.fromkeys(metrics))

    def _look_back(self, args: TrainingArguments, state: TrainerState) -> None:
        """Note after an evaluation of all data sets whether the metric was in one of them."""
        name, seen = self._name(args) or "", self._seen or {}
        if name not in seen and state.is_world_process_zero:
            self._controller.missing(name, seen)

    def _apply(self, args: TrainingArguments, control: TrainerControl, decision: Decision, *, stop: bool) -> None:
        if not stop:
            self._controller.conclude(decision, stop=False)
            return
        # what is first decided is what is told, once the training is over
        self._pending = self._pending or decision
        control.should_training_stop = True
        control.should_save |= args.save_strategy != "no"

    def _end(self) -> None:
        """End measuring, and tell why the training was stopped if it was."""
        pending, self._pending, self._state = self._pending, None, None
        if pending is not None:
            self._controller.conclude(pending, stop=True)
        self._controller.stop()

    def _channel(self, trainer: Trainer | None) -> str:
        """Return a name of this stopper that is the same on all ranks."""
        stoppers = [each for each in all_callbacks(trainer) if isinstance(each, type(self))] if trainer else []
        number = next((index for index, each in enumerate(stoppers) if each is self), 0)
        return f"stopper {number}"

    def _name(self, args: TrainingArguments) -> str | None:
        name = self.monitor or args.metric_for_best_model
        return name if name is None or name.startswith("eval_") else f"eval_{name}"

    def _direction(self, args: TrainingArguments) -> Literal["min", "max"]:
        if self.mode is not None:
            return "max" if self.mode == "max" else "min"
        greater = args.greater_is_better
        if greater is None:
            greater = not (self._name(args) or "").endswith("loss")
        return "max" if greater else "min"
