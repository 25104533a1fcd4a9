"""The table's trainings in Keras, with whichever backend the environment names."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import keras

from tests.conformance.cases import TEST_BATCHES, VAL_BATCHES, Case
from tests.conformance.driver import Trained, digest, inferred, ours, values_of
from tests.keras.training import BATCH, Raises, classifier, points
from trainwatt_keras import FootprintMonitor


class Slow(keras.callbacks.Callback):
    """Takes its time over each step, as a GPU would."""

    def __init__(self, step_s: float) -> None:
        super().__init__()
        self.step_s = step_s

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        time.sleep(self.step_s)

    on_test_batch_begin = on_predict_batch_begin = on_train_batch_begin


class EvaluatesHalfWay(keras.callbacks.Callback):
    """Keras has no more than one evaluation an epoch; its users call for another like this."""

    def __init__(self, batch: int, *callbacks: Any) -> None:
        super().__init__()
        self.batch, self.callbacks = batch, list(callbacks)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == self.batch:
            self.model.evaluate(*points(VAL_BATCHES), batch_size=BATCH, verbose=0, callbacks=self.callbacks)


class Names(keras.callbacks.Callback):
    """Keeps the names of what other callbacks are given at the end of an evaluation or a prediction."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def on_test_end(self, logs: Any = None) -> None:
        self.seen |= set(logs or {})

    on_predict_end = on_test_end


class Keras:
    def monitor(self, **options: Any) -> FootprintMonitor:
        return FootprintMonitor(**options)

    def train(self, case: Case, monitor: FootprintMonitor | None, step_s: float, folder: Path) -> Trained:
        folder.mkdir(parents=True)
        trained = Trained()
        for _ in range(1 + case.again):
            self._fit(case, monitor, step_s, folder / "log.csv", trained)
        return trained

    def _fit(self, case: Case, monitor: FootprintMonitor | None, step_s: float, log: Path, trained: Trained) -> None:
        model, slow, history = classifier(), Slow(step_s), keras.callbacks.History()
        callbacks = [slow, history, keras.callbacks.CSVLogger(str(log)), *filter(None, [monitor])]
        if case.stops:
            callbacks.append(keras.callbacks.EarlyStopping(monitor="val_loss", min_delta=1e9, patience=1))
        if case.validate == "twice an epoch":
            callbacks.append(EvaluatesHalfWay(case.batches // 2 - 1, slow))
        if case.error:
            callbacks.append(Raises(case.error("in step 7")))
        data = {} if case.validate == "never" else {"validation_data": points(VAL_BATCHES)}
        often = {"validation_freq": 10**9} if case.validate == "off" else {}
        options = {"batch_size": BATCH, "verbose": 0}
        x, y = points(case.batches)
        try:
            model.fit(x, y, epochs=case.epochs, callbacks=callbacks, **options, **data, **often)
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # one of the cases
            trained.raised = type(error).__name__
        with log.open() as file:
            table = csv.DictReader(file)
            self._note(trained, "fit", table.fieldnames or [], monitor)
            trained.rows += [
                values_of({name: float(text) for name, text in row.items() if text not in ("", "NA")}) for row in table
            ]
        for name in case.then:
            names = Names()
            listed = [slow, names, *filter(None, [monitor])]
            if name == "test":
                model.evaluate(*points(TEST_BATCHES), callbacks=listed, **options)
            else:
                model.predict(points(TEST_BATCHES)[0], callbacks=listed, **options)
            self._note(trained, name, names.seen, monitor)
        trained.losses += history.history.get("loss", [])
        trained.weights = digest(model.get_weights())

    def _note(self, trained: Trained, kind: str, names: Any, monitor: FootprintMonitor | None) -> None:
        trained.logged[kind] = ours(names) + ([] if kind == "fit" else inferred(names))
        if monitor:
            trained.summaries.append(monitor.summary)


FRAMEWORK = Keras()
