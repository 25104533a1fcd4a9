"""The plan of a Trainer."""

from __future__ import annotations

import math
from typing import Any

from trainwatt.projection.plan import Plan, stops_early


def plan_of(trainer: Any, skipped: int = 0) -> Plan:
    """Return the plan of a fit whose first epoch begins.

    Args:
        trainer: the Trainer; Lightning's connectors set most of its attributes.
        skipped: batches of this epoch that were processed before, in a resumed training.
    """
    batches = _finite(trainer.num_training_batches)
    limited = trainer.max_epochs is not None and trainer.max_epochs >= 0
    every = trainer.check_val_every_n_epoch
    interval = _finite(getattr(trainer, "val_check_batch", None))
    evaluation = _evaluation_batches(trainer)
    return Plan(
        epochs=max(0, trainer.max_epochs - trainer.current_epoch) if limited else None,
        steps=_batches_left(trainer, batches, skipped),
        steps_per_epoch=batches,
        first_epoch=trainer.current_epoch,
        first_step=trainer.fit_loop.epoch_loop.total_batch_idx + 1,
        skipped_steps=skipped,
        validate_epochs=every if evaluation else None,
        validate_times=batches // interval if batches and interval else 1,
        validate_steps=interval if evaluation and every is None else None,
        validation_batches=evaluation or None,
        may_stop=stops_early(trainer.callbacks) or any(type(each).__name__ == "Timer" for each in trainer.callbacks),
    )


def _batches_left(trainer: Any, batches: int | None, skipped: int) -> int | None:
    """Return the remaining batches, if ``max_steps`` is set.

    ``max_steps`` counts optimizer steps. The last batches of an epoch make a step, however few they are.
    """
    if trainer.max_steps < 0:
        return None
    each: int = trainer.accumulate_grad_batches
    module = trainer.lightning_module
    optimizers = 1 if module.automatic_optimization else max(1, len(trainer.optimizers))
    steps: int = math.ceil(max(0, trainer.max_steps - trainer.global_step) / optimizers)
    if batches is None:
        return steps * each
    in_first = math.ceil((batches - skipped) / each)
    if steps < in_first:
        return steps * each
    epochs, rest = divmod(steps - in_first, math.ceil(batches / each))
    return batches - skipped + epochs * batches + min(batches, rest * each)


def _evaluation_batches(trainer: Any) -> int:
    """Return the number of batches in one evaluation, of all data sets; 0 if there are none."""
    if not trainer.enable_validation:
        return 0
    batches = trainer.num_val_batches
    finite = [_finite(each) or 0 for each in (batches if isinstance(batches, list) else [batches])]
    return sum(finite)


def _finite(number: float | None) -> int | None:
    return None if number is None or number == math.inf else int(number)
