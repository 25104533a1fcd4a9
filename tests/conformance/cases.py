"""What every plugin promises: one table of trainings, and what each must come to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

BATCHES, VAL_BATCHES, TEST_BATCHES = 8, 2, 8


@dataclass(frozen=True)
class Case:
    """A training.

    Attributes:
        epochs: how many are asked for.
        batches: steps in each.
        validate: how often there is an evaluation; "off": there is data for it, but it is switched off.
        stops: the framework's own early stopping ends it after the second epoch.
        error: what is raised in step 7.
        again: the same monitor goes on to a second training.
        then: what follows the training, with the same monitor.
        steps: steps made in all.
        evaluations: evaluations made in all.
        status: how the run ends.
        inside: phases that must be seen, beside those that follow from the above.
    """

    epochs: int = 2
    batches: int = BATCHES
    validate: Literal["never", "off", "epoch", "twice an epoch"] = "never"
    stops: bool = False
    error: type[BaseException] | None = None
    again: bool = False
    then: tuple[Literal["test", "predict"], ...] = ()
    steps: int = 2 * BATCHES
    evaluations: int = 0
    status: str = "finished"
    inside: frozenset[str] = field(default=frozenset({"setup", "train"}))

    @property
    def phases(self) -> set[str]:
        """The phases that a run of it must show, "other" aside."""
        return set(self.inside) | ({"validate"} if self.evaluations else set())


CASES = {
    "plain fit": Case(),
    "validation": Case(validate="epoch", evaluations=2),
    "several evaluations per epoch": Case(validate="twice an epoch", evaluations=4),
    "early stop by another callback": Case(epochs=4, validate="epoch", stops=True, evaluations=2),
    "exception in step 7": Case(validate="epoch", error=ZeroDivisionError, steps=6, status="failed"),
    "interrupt": Case(validate="epoch", error=KeyboardInterrupt, steps=6, status="interrupted"),
    "second fit in the same process": Case(validate="epoch", again=True, evaluations=2),
    "test and predict": Case(then=("test", "predict")),
    "no validation": Case(validate="off"),
    "one-step epochs": Case(epochs=3, batches=1, validate="epoch", steps=3, evaluations=3),
}

FITTED = {
    "energy/total_kwh",
    "energy/measured_share",
    "energy/epoch_kwh",
    "energy/train_kwh",
    "energy/power_w",
    "energy/step_j",
    "footprint/co2e_kg",
    "footprint/water_l",
    "footprint/cost",
}
PROJECTED = {
    "projection/total_kwh",
    "projection/total_kwh_low",
    "projection/total_kwh_high",
    "projection/co2e_kg",
    "projection/remaining_s",
}
# after "test/" or "predict/", or a prefix of the framework's own
INFERRED = {"energy_kwh", "power_w", "step_j", "measured_share", "co2e_kg", "water_l", "cost"}
