"""Real trainings on GPUs whose true energy is known."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor

from standins import nvml as standin
from standins.nvml import Code, Constant, Fault, Machine, Slice, Square, a100, h100, p100
from tests.lightning.training import Classifier, Data, trainer_with
from trainwatt.records.run_folder import read_events
from trainwatt_lightning import FootprintMonitor


class Slow(Classifier):
    """Takes its time over each step, as a GPU would."""

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        time.sleep(0.02)
        return super().training_step(batch, batch_idx)


def train(tmp_path: Path, **options: Any) -> FootprintMonitor:
    monitor = FootprintMonitor(devices=["gpu"], output_dir=tmp_path, run_name="run", verbose=False, zone="FR")
    trainer_with(monitor, **({"max_epochs": 6} | options)).fit(Slow(), datamodule=Data())
    return monitor


def truth_j(machine: Machine, monitor: FootprintMonitor, tmp_path: Path) -> float:
    """True energy between the run's own begin and end."""
    start = next(read_events(tmp_path / "run"))
    began_s = start["began_unix_s"] - time.time() + time.perf_counter()
    return machine.truth_j(began_s, began_s + monitor.summary["seconds"])


@pytest.mark.parametrize("make", [h100, p100], ids=["energy counter", "sample buffer"])
@pytest.mark.parametrize("wave", [Constant(250.0), Square(60.0, 300.0, 0.5)], ids=["constant", "square"])
def test_a_training_takes_what_its_gpu_draws(
    nvml_library: standin.Library, tmp_path: Path, make: Callable[..., standin.Board], wave: standin.Wave
) -> None:
    with nvml_library.running(make(wave)) as machine:
        monitor = train(tmp_path)
        true_j = truth_j(machine, monitor, tmp_path)
    unseen_j = 0.0 if make is h100 else 2 * 0.02 * 300  # up to a sample at either end
    assert monitor.summary["total_j"] == pytest.approx(true_j, rel=0.01, abs=unseen_j)
    assert monitor.summary["measured_share"] == 1.0
    by_phase = [sum(span["joules"].values()) for span in monitor.summary["phases"].values()]
    assert sum(by_phase) == pytest.approx(monitor.summary["total_j"], rel=1e-9)


def test_several_boards_add_up(nvml_library: standin.Library, tmp_path: Path) -> None:
    with nvml_library.running(h100(Constant(100.0)), h100(Constant(200.0)), a100(Constant(50.0))):
        monitor = train(tmp_path, max_epochs=3)
    assert monitor.summary["total_j"] == pytest.approx(350 * monitor.summary["seconds"], rel=0.01)
    assert len(monitor.summary["devices"]) == 3


def test_only_the_boards_that_the_process_may_use_are_counted(
    nvml_library: standin.Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with nvml_library.running(h100(Constant(100.0)), h100(Constant(200.0))) as machine:
        monitor = train(tmp_path, max_epochs=2)
        assert [device["id"] for device in monitor.summary["devices"]] == [f"gpu:{machine.uuid(1)}"]
    assert monitor.summary["total_j"] == pytest.approx(200 * monitor.summary["seconds"], rel=0.02)


def test_a_slice_of_a_board_is_charged_its_share(
    nvml_library: standin.Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1234")
    with nvml_library.running(h100(Constant(210.0), slices=(Slice("MIG-1234", 2, 1, multiprocessors=32),))):
        monitor = train(tmp_path, max_epochs=2)
    (part,) = monitor.summary["devices"]
    assert part["id"].endswith("/MIG-1234")
    assert part["method"] == "estimated"
    assert part["share"] == pytest.approx(2 / 7)
    assert part["joules"] == pytest.approx(210 * 2 / 7 * monitor.summary["seconds"], rel=0.02)
    assert monitor.summary["measured_share"] == 0


def test_a_gpu_of_another_maker_that_trains_is_named_and_not_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monitor = FootprintMonitor(devices=["gpu", "ram"], output_dir=tmp_path, verbose=False)
    # PyTorch for CPUs cannot compute on it: the Trainer only says where it would
    strategy = SingleDeviceStrategy(device="hpu:0", accelerator=CPUAccelerator())
    trainer, module = trainer_with(monitor, strategy=strategy, accelerator="auto"), Classifier()
    monitor.setup(trainer, module, "fit")
    time.sleep(0.1)
    monitor.teardown(trainer, module, "fit")
    (warning,) = [each.message for each in caplog.records if each.name == "trainwatt"]
    assert "HPU" in warning
    assert monitor.summary["total_j"] > 0
    assert monitor.summary["measured_share"] is None
    assert [device["method"] for device in monitor.summary["devices"]] == ["estimated", "not counted"]


def test_a_training_measures_the_gpus_that_its_user_names(nvml_library: standin.Library, tmp_path: Path) -> None:
    with nvml_library.running(h100(Constant(100.0)), h100(Constant(200.0))) as machine:
        monitor = FootprintMonitor(devices=["gpu"], gpus=[1], output_dir=tmp_path, verbose=False)
        trainer_with(monitor, max_epochs=1).fit(Classifier(), datamodule=Data())
    assert [device["id"] for device in monitor.summary["devices"]] == [f"gpu:{machine.uuid(1)}"]


class LoseBoard(Callback):
    """Lets the first board fall off the bus in epoch 5."""

    def __init__(self, library: standin.Library, machine: Machine, stack: ExitStack) -> None:
        self.library, self.machine, self.stack = library, machine, stack

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == 5:
            boards = (replace(self.machine.boards[0], faults=(Fault(Code.GPU_IS_LOST),)), self.machine.boards[1])
            self.stack.enter_context(self.library.running(replace(self.machine, boards=boards)))


def test_a_board_lost_in_mid_run_costs_the_training_nothing(
    nvml_library: standin.Library, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack:
        machine = stack.enter_context(nvml_library.running(h100(Constant(100.0)), h100(Constant(100.0))))
        monitor = FootprintMonitor(devices="gpu", output_dir=tmp_path, run_name="run", verbose=False)
        trainer_with(monitor, LoseBoard(nvml_library, machine, stack), max_epochs=10).fit(Slow(), datamodule=Data())
    assert monitor.summary["status"] == "finished"
    gone, kept = (device["joules"] for device in monitor.summary["devices"])
    assert kept == pytest.approx(100 * monitor.summary["seconds"], rel=0.02)
    assert 0.2 * kept < gone < 0.8 * kept
    assert len([record for record in caplog.records if record.name == "trainwatt"]) == 1


@pytest.mark.parametrize("code", [Code.DRIVER_NOT_LOADED, Code.NO_PERMISSION, Code.LIB_RM_VERSION_MISMATCH])
def test_a_driver_that_does_not_answer_is_one_warning(
    nvml_library: standin.Library, tmp_path: Path, code: Code, caplog: pytest.LogCaptureFixture
) -> None:
    with nvml_library.running(Machine((h100(),), init_error=code)):
        monitor = FootprintMonitor(output_dir=tmp_path, verbose=False, zone="FR")
        trainer_with(monitor, max_epochs=1).fit(Classifier(), datamodule=Data())
    assert {device["kind"] for device in monitor.summary["devices"]} == {"cpu", "ram"}
    assert any(missing["source"] == "NVML" and missing["why"] for missing in monitor.summary["missing"])
    assert len([record for record in caplog.records if record.name == "trainwatt"]) <= 1
