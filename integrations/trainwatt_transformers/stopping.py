"""Green early stopping for the Hugging Face Trainer: a translation of hooks into controller calls."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal, cast

from accelerate.utils import broadcast_object_list  # type: ignore[import-untyped]
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from trainwatt.callbacks.stop_controller import StopController, StopOutcome
from trainwatt.stopping.criteria import Decision
from trainwatt_torch.lr_schedule import torch_rates
from trainwatt_transformers.instrumented_trainer import calling_trainer, devices_of, log_entry
from trainwatt_transformers.process_group import process_group_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from trainwatt.tracking.options import StoppingOptions

_log = logging.getLogger("trainwatt")


class GreenEarlyStoppingCallback(StopOutcome, TrainerCallback, ExportableState):
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

    def __init__(
        self,
        monitor: str | None = None,
        mode: str | None = None,
        *,
        verbose: bool = True,
        **options: Unpack[StoppingOptions],
    ) -> None:
        super().__init__()
        if mode not in (None, "min", "max"):
            raise ValueError(f"mode must be 'min', 'max' or None for greater_is_better, got {mode!r}")
        self.monitor, self.mode, self.verbose = monitor, mode, verbose
        self.history: dict[str, Any] = {}  # of a checkpoint
        self._controller = StopController(None, verbose=verbose, **options)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds of this callback."""
        options = {name: value for name, value in self._controller.options.items() if _is_plain(value)}
        arguments = {"monitor": self.monitor, "mode": self.mode, "verbose": self.verbose, **options}
        return {"args": arguments, "attributes": {"history": self._controller.state_dict()}}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start measuring a training."""
        if args.eval_strategy == "no":  # as transformers' own EarlyStoppingCallback tells it
            raise AssertionError("GreenEarlyStoppingCallback requires eval_strategy of steps or epoch")
        if self._name(args) is None:
            raise AssertionError("GreenEarlyStoppingCallback requires monitor or metric_for_best_model")
        # resumed from a checkpoint of a training without this callback, transformers would not find where to put it
        cast("dict[str, Any]", state.stateful_callbacks).setdefault(type(self).__name__, self.state())
        self._controller.mode = self._direction(args)
        trainer = calling_trainer(self)
        steps = state.eval_steps if args.eval_strategy == "steps" else None
        self._controller.start(
            devices_of(trainer) if trainer else [args.device],
            process_group_of(args),
            callbacks=trainer.callback_handler.callbacks if trainer else (),
            evaluations=int(state.max_steps // steps if steps else state.num_train_epochs),
            remedy='eval_strategy="steps", eval_steps=0.05 gives twenty',
        )
        if state.is_world_process_zero and self.history:
            self._controller.load_state_dict(self.history)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Check the budgets within an epoch."""
        decision = self._controller.check_budget(f"step {state.global_step}")
        if decision is not None:
            self._apply(args, control, decision)

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Judge at the end of an evaluation."""
        metrics: dict[str, float] = kwargs.get("metrics") or {}
        name = self._name(args) or ""
        if name not in metrics:
            message = "trainwatt: green early stopping did not find %s among %s, and so is disabled"
            _log.warning(message, name, ", ".join(metrics))
            return
        decision = Decision()
        self._controller.exchange()
        if state.is_world_process_zero:
            left = torch_rates(kwargs.get("lr_scheduler"), max(0, state.max_steps - state.global_step))
            done = state.global_step / state.max_steps if state.max_steps > 0 else None
            when = f"step {state.global_step}"
            decision = self._controller.evaluate(metrics[name], done=done, when=when, remaining_lr=left, metric=name)
        trainer = calling_trainer(self)
        if trainer is not None:
            log_entry(trainer, dict(decision.metrics))
        self._apply(args, control, decision)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """End measuring."""
        self._controller.stop()

    def _apply(self, args: TrainingArguments, control: TrainerControl, decision: Decision) -> None:
        stop = decision.stop
        if args.world_size > 1:
            stop = bool(broadcast_object_list([stop])[0])
        if self._controller.conclude(decision, stop=stop):
            control.should_training_stop = True
            control.should_save |= args.save_strategy != "no"

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


def _is_plain(value: object) -> bool:
    """Return True if ``trainer_state.json`` can hold a value; a Site or a live source must be given again."""
    return (
        value is None
        or isinstance(value, (str, int, float))
        or (isinstance(value, (list, tuple)) and all(map(_is_plain, value)))
    )
