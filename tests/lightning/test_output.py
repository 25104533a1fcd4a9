"""What reaches loggers, other callbacks and the bar: at Lightning's own steps, under names that tell the runs apart."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from lightning import Callback
from lightning.pytorch.callbacks import TQDMProgressBar
from torch import Tensor

from tests.lightning.training import Classifier, Data, Names, trainer_with
from trainwatt_lightning import FootprintMonitor, GreenEarlyStopping


class Steps(Names):
    """Keeps the step of each row, of Lightning's own and of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.own: list[int | None] = []
        self.ours: list[int | None] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        super().log_metrics(metrics, step)
        # its own rows hold the epoch
        (self.own if "epoch" in metrics else self.ours).append(step)


class Logging(Classifier):
    """Logs a loss within the epoch and at its end, also on the bar."""

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        for number in range(3):
            self.log(f"loss{number}", loss, on_step=True, on_epoch=True, prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.log("val_loss", torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1]), prog_bar=True)


class TwoOptimizers(Logging):
    """Two steps of optimizers in each batch, by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(self.net[index].parameters(), lr=0.1) for index in (0, 2)]

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        for optimizer in self.optimizers():
            optimizer.zero_grad()
        self.manual_backward(loss)
        if batch_idx % 2:
            for optimizer in self.optimizers():
                optimizer.step()
        return loss


class Late(Callback):
    """Begins when there is a first reading."""

    def on_train_start(self, *args: Any) -> None:
        time.sleep(0.4)


def monitor(**options: Any) -> FootprintMonitor:
    return FootprintMonitor(output_dir=None, verbose=False, devices="ram", zone="FR", **options)


@pytest.mark.parametrize(
    ("module", "options"),
    [
        (Logging, {}),
        (Logging, {"limit_val_batches": 0}),
        (Logging, {"accumulate_grad_batches": 3, "log_every_n_steps": 1}),
        (Logging, {"accumulate_grad_batches": 2, "log_every_n_steps": 2}),
        (Logging, {"val_check_interval": 3}),
        (Logging, {"max_epochs": -1, "max_steps": 11}),
        (TwoOptimizers, {}),
        (TwoOptimizers, {"log_every_n_steps": 3}),
    ],
)
def test_our_values_stand_at_lightnings_own_steps(module: type[Logging], options: dict[str, Any]) -> None:
    steps = Steps()
    trainer_with(monitor(), Late(), logger=steps, **{"num_sanity_val_steps": 0, **options}).fit(
        module(), datamodule=Data()
    )
    rows = [row for row in steps.rows if "epoch" in row]
    within = [step for step, row in zip(steps.own, rows, strict=True) if "loss0_step" in row]
    ends = [step for step, row in zip(steps.own, rows, strict=True) if "loss0_epoch" in row]
    assert len(within) > 1
    assert sorted(steps.ours) == sorted(within + ends)


def test_the_steps_are_3_7_11_15() -> None:
    steps = Steps()
    trainer_with(monitor(), Late(), logger=steps, num_sanity_val_steps=0).fit(Logging(), datamodule=Data())
    assert steps.ours == [3, 7, 7, 11, 15, 15]


@pytest.mark.parametrize("kind", ["validate", "test", "predict"])
def test_a_run_after_the_training_has_names_of_its_own(kind: str) -> None:
    names, ours = Names(), monitor()
    stopping = GreenEarlyStopping("val_loss", devices="ram")
    trainer = trainer_with(ours, stopping, logger=names)
    trainer.fit(Classifier(), datamodule=Data())
    trained = {name: value for row in names.rows for name, value in row.items()}["energy/total_kwh"]
    judged = len(stopping.state_dict()["rule"]["scores"])
    names.rows.clear()
    quiet = {} if kind == "predict" else {"verbose": False}
    getattr(trainer, kind)(trainer.lightning_module, datamodule=Data(), **quiet)
    logged = {name: value for row in names.rows for name, value in row.items()}
    expected = {"energy_kwh", "power_w", "step_j", "sample_j", "measured_share", "co2e_kg", "water_l", "cost"}
    assert {name for name in logged if name.startswith(f"{kind}/")} == {f"{kind}/{short}" for short in expected}
    assert not [name for name in logged if name.startswith(("energy/", "footprint/", "projection/", "stopping/"))]
    assert logged[f"{kind}/energy_kwh"] == pytest.approx(ours.summary["total_kwh"])
    assert 0 < logged[f"{kind}/energy_kwh"] != trained
    assert trainer.callback_metrics[f"{kind}/energy_kwh"] == pytest.approx(logged[f"{kind}/energy_kwh"])
    assert len(stopping.state_dict()["rule"]["scores"]) == judged


@pytest.fixture
def conversions() -> Iterator[list[int]]:
    """How many tensors were turned into Python numbers, each a wait for a GPU."""
    counts = [0]
    kept = {name: getattr(Tensor, name) for name in ("item", "__float__", "__int__", "__bool__", "tolist")}

    def counting(name: str) -> Any:
        def convert(self: Tensor, *args: Any) -> Any:
            counts[0] += 1
            return kept[name](self, *args)

        return convert

    for name in kept:
        setattr(Tensor, name, counting(name))
    yield counts
    for name, method in kept.items():
        setattr(Tensor, name, method)


@pytest.mark.parametrize("bar", [False, True])
@pytest.mark.parametrize("evaluates", [False, True])
def test_no_hook_turns_a_metric_into_a_python_number(conversions: list[int], bar: bool, evaluates: bool) -> None:
    counted = []
    for ours in ([], [monitor()]):
        callbacks = [*ours, *([TQDMProgressBar(refresh_rate=4)] if bar else [])]
        options = {"max_epochs": 3, "log_every_n_steps": 1, "limit_val_batches": 2 if evaluates else 0}
        trainer = trainer_with(*callbacks, logger=Names(), enable_progress_bar=bar, **options)
        module = Logging()
        conversions[0] = 0
        trainer.fit(module, datamodule=Data())
        counted.append(conversions[0])
    assert counted[1] == counted[0] > 0


def test_a_stopper_converts_its_metric_once_an_evaluation(conversions: list[int]) -> None:
    counted = []
    for ours in ([], [GreenEarlyStopping("val_loss", devices="ram")]):
        trainer = trainer_with(*ours, max_epochs=3, limit_val_batches=1)
        module = Logging()
        conversions[0] = 0
        trainer.fit(module, datamodule=Data())
        counted.append(conversions[0])
    assert counted[1] - counted[0] <= 3


def test_a_logger_that_fails_costs_its_own_values(caplog: pytest.LogCaptureFixture) -> None:
    class Fails(Names):
        def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
            if "epoch" not in metrics:
                raise ConnectionError("no route")

    names, ours = Names(), monitor()
    trainer_with(ours, logger=[Fails(), names]).fit(Classifier(), datamodule=Data())
    assert ours.summary["status"] == "finished"
    assert "energy/total_kwh" in names.seen
    assert caplog.text.count("logging to Fails failed") == 1
