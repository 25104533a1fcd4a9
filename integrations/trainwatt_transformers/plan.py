"""The plan of a Trainer."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from transformers import TrainerState, TrainingArguments

from trainwatt.projection.plan import Plan, stops_early


def plan_of(
    args: TrainingArguments, state: TrainerState, loader: Any, evaluated: Any, callbacks: Iterable[Any]
) -> Plan:
    """Return the plan of a training that begins, in optimizer steps.

    Args:
        args: the training arguments.
        state: the state of the training, which may be a resumed one.
        loader: loader of the training data.
        evaluated: data set of the evaluations.
        callbacks: all callbacks of the Trainer.
    """
    batches = _length(loader)
    per_epoch = math.ceil(batches / args.gradient_accumulation_steps) if batches else None
    evaluates, delayed = str(getattr(args.eval_strategy, "value", args.eval_strategy)), bool(args.eval_delay)
    made = state.global_step
    evaluation = _length(evaluated)
    in_steps = args.gradient_accumulation_steps * args.train_batch_size
    return Plan(
        epochs=state.num_train_epochs - made // per_epoch if per_epoch else None,
        steps=max(0, state.max_steps - made),
        steps_per_epoch=per_epoch,
        first_epoch=made // per_epoch if per_epoch else 0,
        first_step=made,
        skipped_steps=made % per_epoch if per_epoch and not args.ignore_data_skip else 0,
        validate_epochs=1 if evaluates == "epoch" and not delayed else None,
        validate_steps=state.eval_steps or None if evaluates == "steps" and not delayed else None,
        validation_batches=math.ceil(evaluation / args.eval_batch_size) if evaluation else None,
        validation_share=args.eval_batch_size / in_steps / 3,
        validates_last=True,
        may_stop=stops_early(callbacks),
    )


def _length(data: Any) -> int | None:
    try:
        return len(data)
    except TypeError:
        return None
