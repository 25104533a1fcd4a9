"""Green early stopping for the Hugging Face Trainer: hooks in, a stop flag out."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal, cast

from accelerate.utils import broadcast_object_list  # type: ignore[import-untyped]
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from trainwatt.stopping.lr_schedule import torch_rates
from trainwatt.tracking.green_stopper import Decision, GreenStopper, StoppingCriteria
from trainwatt_transformers.instrumented_trainer import calling_trainer, gpu_uuids, log_entry
from trainwatt_transformers.process_group import process_group_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from trainwatt.tracking.settings import Measured

_log = logging.getLogger("trainwatt")


class GreenEarlyStoppingCallback(TrainerCallback, ExportableState):
    """Stops a training when what its metric gains no longer pays for the energy.

    Beside a :class:`FootprintCallback` or alone. Evaluations must be on; for the best weights use
    ``load_best_model_at_end``. Its history is in the checkpoint: ``restore_callback_states_from_checkpoint=True``.

    Args:
        monitor: the metric, as ``evaluate`` returns it, with or without ``eval_``; None: ``metric_for_best_model``.
        mode: ``"min"`` or ``"max"``; None: as ``greater_is_better`` says, else ``"min"`` for a loss.
        min_gain_per_kwh: the price in metric units per kWh; ``"auto"``: see ``min_gain_per_percent``; None: no price,
            the training is only observed.
        min_gain_per_percent: the price in metric units per 1 % of the energy that the whole training is going to take.
            With neither given, 0.1 points of an accuracy, or 0.1 % of a loss's first value.
        patience: so many further evaluations in a row must find the same before the training is stopped.
        warmup: evaluations in the beginning after which it is never stopped.
        ideal: the best that the metric can be; None: 0 for ``"min"``, 1 or 100 for ``"max"``.
        max_kwh: energy that the training may take.
        max_co2e_kg: emissions that it may cause.
        max_cost: what its electricity may cost.
        over_budget: ``"stop"`` or only ``"warn"`` when one of these three is reached.
        foresee: whether one counts as reached as soon as the whole training is bound to pass it.
        verbose: whether to say why the training is stopped.
        options: ``zone``, ``cloud``, ``devices`` and so on, as for :class:`FootprintCallback`.

    Raises:
        ArgumentError: names the argument, what was given, and what would be right.
        ValueError: ``mode`` is neither.
    """

    def __init__(
        self,
        monitor: str | None = None,
        mode: str | None = None,
        *,
        min_gain_per_kwh: float | Literal["auto"] | None = "auto",
        min_gain_per_percent: float | None = None,
        patience: int = 0,
        warmup: int = 0,
        ideal: float | None = None,
        max_kwh: float | None = None,
        max_co2e_kg: float | None = None,
        max_cost: float | None = None,
        over_budget: str = "stop",
        foresee: bool = False,
        verbose: bool = True,
        **options: Unpack[Measured],
    ) -> None:
        super().__init__()
        if mode not in (None, "min", "max"):
            raise ValueError(f"mode must be 'min', 'max' or None for greater_is_better, got {mode!r}")
        terms = StoppingCriteria(
            min_gain_per_kwh,
            min_gain_per_percent,
            patience,
            warmup,
            ideal,
            max_kwh,
            max_co2e_kg,
            max_cost,
            over_budget,
            foresee,
        )
        self.monitor, self.mode, self.verbose = monitor, mode, verbose
        self.stopping_reason: str | None = None
        self.history: dict[str, Any] = {}  # of a checkpoint
        self._options = options
        self._stopper = GreenStopper(None, terms, **options)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""
        terms = {name: getattr(self._stopper.terms, name) for name in StoppingCriteria.__slots__}
        options = {name: value for name, value in self._options.items() if _is_plain(value)}
        arguments = {"monitor": self.monitor, "mode": self.mode, "verbose": self.verbose, **terms, **options}
        return {"args": arguments, "attributes": {"history": self._stopper.state_dict()}}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """A training begins."""
        if args.eval_strategy == "no":  # as transformers' own EarlyStoppingCallback tells it
            raise AssertionError("GreenEarlyStoppingCallback requires eval_strategy of steps or epoch")
        if self._name(args) is None:
            raise AssertionError("GreenEarlyStoppingCallback requires monitor or metric_for_best_model")
        self.stopping_reason = None
        # resumed from a checkpoint of a training without this callback, transformers would not find where to put it
        cast("dict[str, Any]", state.stateful_callbacks).setdefault(type(self).__name__, self.state())
        self._stopper.mode = self._direction(args)
        trainer = calling_trainer(self)
        self._stopper.start(gpu_uuids(trainer) if trainer else None, process_group_of(args))
        if state.is_world_process_zero:
            if self.history:
                self._stopper.load_state_dict(self.history)
            steps = state.eval_steps if args.eval_strategy == "steps" else None
            expected = state.max_steps // steps if steps else int(state.num_train_epochs)
            self._say(
                self._stopper.too_few_evaluations_warning(
                    expected, 'eval_strategy="steps", eval_steps=0.05 gives twenty'
                )
            )

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """A budget may be spent within an epoch."""
        if args.world_size == 1:  # several agree at evaluations only
            self._apply(args, control, self._stopper.check_budget(f"step {state.global_step}"))

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """An evaluation has ended."""
        metrics: dict[str, float] = kwargs.get("metrics") or {}
        name = self._name(args) or ""
        if name not in metrics:
            message = "trainwatt: green early stopping did not find %s among %s, and so is disabled"
            _log.warning(message, name, ", ".join(metrics))
            return
        decision = Decision()
        self._stopper.exchange()
        if state.is_world_process_zero:
            left = torch_rates(kwargs.get("lr_scheduler"), max(0, state.max_steps - state.global_step))
            done = state.global_step / state.max_steps if state.max_steps > 0 else None
            when = f"step {state.global_step}"
            decision = self._stopper.evaluate(metrics[name], done=done, when=when, remaining_lr=left, metric=name)
        trainer = calling_trainer(self)
        if trainer is not None:
            log_entry(trainer, dict(decision.metrics))
        self._apply(args, control, decision)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """A training has ended."""
        self._stopper.stop()

    def _apply(self, args: TrainingArguments, control: TrainerControl, decision: Decision) -> None:
        stop = decision.stop
        if args.world_size > 1:
            stop = bool(broadcast_object_list([stop])[0])
        if stop:
            self.stopping_reason = decision.sentence or None
            control.should_training_stop = True
            control.should_save |= args.save_strategy != "no"
        self._say(decision.sentence)

    def _say(self, sentence: str) -> None:
        if sentence and self.verbose:
            _log.warning("trainwatt: %s", sentence)

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
    """Whether ``trainer_state.json`` can hold it; a Site or a live source must be given again."""
    return (
        value is None
        or isinstance(value, (str, int, float))
        or (isinstance(value, (list, tuple)) and all(map(_is_plain, value)))
    )
