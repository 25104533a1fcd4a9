"""The table's trainings in the Hugging Face Trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import EarlyStoppingCallback

from tests.conformance.cases import TEST_BATCHES, VAL_BATCHES, Case
from tests.conformance.driver import Trained, digest, inferred, ours, values_of
from tests.transformers.training import Slow, sentences, trainer_with
from trainwatt_transformers import FootprintCallback

STOPS = {
    "metric_for_best_model": "eval_loss",
    "load_best_model_at_end": True,
    "save_strategy": "epoch",
}
EVALUATES = {"never": "no", "off": "no", "epoch": "epoch", "twice an epoch": "steps"}


class Transformers:
    def monitor(self, **options: Any) -> FootprintCallback:
        return FootprintCallback(**options)

    def train(self, case: Case, monitor: FootprintCallback | None, step_s: float, folder: Path) -> Trained:
        trained = Trained()
        for _ in range(1 + case.again):
            self._fit(case, monitor, step_s, folder, trained)
        return trained

    def _fit(
        self, case: Case, monitor: FootprintCallback | None, step_s: float, folder: Path, trained: Trained
    ) -> None:
        callbacks = [EarlyStoppingCallback(1, 1e9)] if case.stops else []
        trainer = trainer_with(
            folder,
            *callbacks,
            Slow(step_s),
            *filter(None, [monitor]),
            error=case.error("in step 7") if case.error else None,
            train_dataset=sentences(case.batches),
            eval_dataset=sentences(VAL_BATCHES, seed=1),
            num_train_epochs=case.epochs,
            eval_strategy=EVALUATES[case.validate],
            eval_steps=case.batches // 2,
            logging_steps=1,
            **(STOPS if case.stops else {}),
        )
        try:
            trainer.train()
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # one of the cases
            trained.raised = type(error).__name__
        trained.losses += [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        trained.weights = digest([each.detach().numpy() for each in trainer.model.parameters()])
        trained.rows += [values_of(entry) for entry in trainer.state.log_history]
        self._note(trained, "fit", trainer, monitor)
        for name in case.then:
            trainer.state.log_history.clear()
            if name == "test":
                trainer.evaluate(sentences(TEST_BATCHES, seed=2), metric_key_prefix="test")
            else:
                trainer.predict(sentences(TEST_BATCHES, seed=2))
            self._note(trained, name, trainer, monitor)

    def _note(self, trained: Trained, kind: str, trainer: Any, monitor: FootprintCallback | None) -> None:
        names = {name for entry in trainer.state.log_history for name in entry}
        trained.logged[kind] = ours(names) + ([] if kind == "fit" else inferred(names))
        if monitor:
            trained.summaries.append(monitor.summary)


FRAMEWORK = Transformers()
