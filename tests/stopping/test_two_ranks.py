"""Two processes that train together stop at the same step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIGHTNING = """
import json, os
from pathlib import Path
from tests.lightning.test_stopping import Logs, saturating, train
from trainwatt_lightning import GreenEarlyStopping

# what each process measures for itself would not decide alike
module = Logs(saturating(60), step_s=0.01 * (1 + int(os.environ["RANK"])))
trainer = train(module, GreenEarlyStopping("metric", "max", devices="ram"), strategy="ddp", devices=2)
Path(os.environ["RANK"]).write_text(json.dumps([module.evaluations, trainer.global_step]))
"""
TRANSFORMERS = """
import json, os
from pathlib import Path
from tests.transformers.test_stopping import evaluations, saturating, trainer_of
from trainwatt_transformers import GreenEarlyStoppingCallback

stopping = GreenEarlyStoppingCallback("metric", "max", devices="ram")
trainer = trainer_of(Path.cwd(), saturating(60), stopping, ddp_backend="gloo")
trainer.train()
Path(os.environ["RANK"]).write_text(json.dumps([evaluations(trainer), trainer.state.global_step]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("script", [LIGHTNING, TRANSFORMERS], ids=["lightning", "transformers"])
def test_two_processes_stop_at_the_same_step(script: str, tmp_path: Path) -> None:
    program = tmp_path / "train.py"
    program.write_text(script)
    command = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    run = subprocess.run(
        [*command, str(program)],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    first, second = (json.loads((tmp_path / rank).read_text()) for rank in "01")
    assert first == second
    assert 8 < first[0] < 40
    assert (run.stdout + run.stderr).count("stopped at") == 1
