"""The plugin in processes of its own: under either name of Lightning, killed, and alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trainwatt.records.run_folder import read_summary

SCRIPT = """
import sys, time
{imports}
import torch
from trainwatt_lightning import FootprintMonitor

class Model({package}.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 2)
    def training_step(self, batch, _):
        time.sleep({step_s})
        return self.layer(batch).sum()
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

monitor = FootprintMonitor(output_dir=sys.argv[1], run_name="run", verbose=False)
trainer = {package}.Trainer(max_epochs={epochs}, accelerator="cpu", devices={devices},
                            logger=False, enable_checkpointing=False,
                            enable_progress_bar=False, enable_model_summary=False, callbacks=monitor)
trainer.fit(Model(), torch.utils.data.DataLoader(torch.randn(20, 4), batch_size=4))
print(sorted(name for name in ("lightning.pytorch", "pytorch_lightning") if name in sys.modules))
"""


def script(imports: str, package: str, step_s: float = 0.0, epochs: int = 2, devices: int = 1) -> list[str]:
    code = SCRIPT.format(imports=imports, package=package, step_s=step_s, epochs=epochs, devices=devices)
    return [sys.executable, "-W", "ignore", "-c", code]


@pytest.mark.parametrize(
    ("imports", "package", "loaded"),
    [
        ("import lightning.pytorch as pl", "pl", ["lightning.pytorch"]),
        ("import pytorch_lightning as pl", "pl", ["pytorch_lightning"]),
        ("import lightning, pytorch_lightning as pl", "pl", ["lightning.pytorch", "pytorch_lightning"]),
        ("import trainwatt_lightning, pytorch_lightning as pl", "pl", ["pytorch_lightning"]),
        ("import trainwatt_lightning, lightning.pytorch as pl", "pl", ["lightning.pytorch"]),
    ],
)
def test_either_lightning_works_and_the_other_is_not_imported(
    tmp_path: Path, imports: str, package: str, loaded: list[str]
) -> None:
    run = subprocess.run([*script(imports, package), str(tmp_path)], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout.splitlines()[-1].replace("'", '"')) == loaded
    summary = read_summary(tmp_path / "run")
    assert summary["status"] == "finished"
    assert summary["phases"]["train"]["steps"] == 10


BOTH = """
from trainwatt_lightning import FootprintMonitor, GreenEarlyStopping
monitor, stopping = FootprintMonitor(output_dir=None), GreenEarlyStopping("val_loss")

class Own(FootprintMonitor):
    pass

{imports}
for package in (lightning.pytorch, pytorch_lightning):
    assert isinstance(monitor, package.Callback)
    assert isinstance(Own(output_dir=None), package.Callback)
    assert isinstance(stopping, package.callbacks.EarlyStopping)
    options = dict(accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False)
    assert package.Trainer(callbacks=monitor, **options).callbacks[0] is monitor
    assert package.Trainer(callbacks=[stopping], **options).early_stopping_callback is stopping
    try:
        GreenEarlyStopping("val_loss", "up")
    except package.utilities.exceptions.MisconfigurationException:
        pass
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "imports",
    ["import lightning.pytorch, pytorch_lightning", "import pytorch_lightning, lightning.pytorch"],
)
def test_one_program_may_use_both_whichever_it_imports_after_ours(imports: str) -> None:
    command = [sys.executable, "-W", "ignore", "-c", BOTH.format(imports=imports)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 on this system")
def test_kill_9_leaves_the_totals_up_to_the_last_second(tmp_path: Path) -> None:
    command = script("import lightning.pytorch as pl", "pl", step_s=0.02, epochs=10_000)
    process = subprocess.Popen([*command, str(tmp_path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline_s = time.monotonic() + 120
    while time.monotonic() < deadline_s:
        time.sleep(0.05)
        if (tmp_path / "run" / "summary.json").exists() and read_summary(tmp_path / "run")["epochs"] >= 10:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    summary = read_summary(tmp_path / "run")
    assert summary["status"] == "running"
    assert summary["epochs"] >= 10
    assert summary["total_j"] > 0
    lines = (tmp_path / "run" / "events.jsonl").read_text().splitlines()
    recorded = [json.loads(line) for line in lines]
    epochs = sum(event["event"] == "span" and event["phase"] == "train" for event in recorded)
    assert (summary["epochs"] - epochs) * summary["seconds"] / summary["epochs"] <= 1.5


def test_two_processes_leave_one_record(tmp_path: Path) -> None:
    program = tmp_path / "train.py"
    program.write_text(script("import lightning.pytorch as pl", "pl", devices=2)[-1])
    command = [sys.executable, "-W", "ignore", str(program), str(tmp_path / "runs")]
    subprocess.run(command, capture_output=True, check=True, timeout=240)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["run"]
    summary = read_summary(tmp_path / "runs" / "run")
    assert summary["status"] == "finished"
    assert summary["total_j"] > 0
