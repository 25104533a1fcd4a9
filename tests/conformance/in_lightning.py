"""The table's trainings in Lightning."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import CSVLogger

from tests.conformance.cases import Case
from tests.conformance.driver import Trained, digest, inferred, ours, values_of
from tests.lightning.training import Classifier, Data, Names, trainer_with
from trainwatt_lightning import FootprintMonitor


class Slow(Callback):
    """Takes its time over each step, as a GPU would."""

    def __init__(self, step_s: float) -> None:
        self.step_s = step_s

    def on_train_batch_start(self, *args: Any) -> None:
        time.sleep(self.step_s)

    on_validation_batch_start = on_test_batch_start = on_predict_batch_start = on_train_batch_start


class Lightning:
    def monitor(self, **options: Any) -> FootprintMonitor:
        return FootprintMonitor(**options)

    def train(self, case: Case, monitor: FootprintMonitor | None, step_s: float, folder: Path) -> Trained:
        trained = Trained()
        for _ in range(1 + case.again):
            self._fit(case, monitor, step_s, folder, trained)
        return trained

    def _fit(self, case: Case, monitor: FootprintMonitor | None, step_s: float, folder: Path, trained: Trained) -> None:
        names = Names()
        stopping = [EarlyStopping("val_loss", min_delta=1e9, patience=1)] if case.stops else []
        options: dict[str, Any] = {"never": {"limit_val_batches": 0}, "off": {"limit_val_batches": 0}}.get(
            case.validate, {"val_check_interval": case.batches // 2 if case.validate == "twice an epoch" else None}
        )
        trainer = trainer_with(
            *stopping,
            Slow(step_s),
            *filter(None, [monitor]),
            max_epochs=case.epochs,
            log_every_n_steps=1,
            limit_train_batches=case.batches,
            num_sanity_val_steps=0,
            logger=[names, CSVLogger(folder)],
            **options,
        )
        model = Classifier(case.error("in step 7") if case.error else None)
        try:
            trainer.fit(model, datamodule=Data())
        except (Exception, KeyboardInterrupt, SystemExit) as error:  # noqa: BLE001  # one of the cases
            trained.raised = type(error).__name__
        trained.rows += [values_of(row) for row in names.rows]
        self._note(trained, "fit", names, monitor)
        for name in case.then:
            quiet = {"verbose": False} if name == "test" else {}
            getattr(trainer, name)(model, Data().train_dataloader(), **quiet)
            self._note(trained, name, names, monitor)
        trained.losses += model.losses
        trained.weights = digest([each.detach().numpy() for each in model.parameters()])

    def _note(self, trained: Trained, kind: str, names: Names, monitor: FootprintMonitor | None) -> None:
        trained.logged[kind] = ours(names.seen)
        if kind != "fit":
            trained.logged[kind] += inferred(names.seen)
        names.seen.clear()
        if monitor:
            trained.summaries.append(monitor.summary)


FRAMEWORK = Lightning()
