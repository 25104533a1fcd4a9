"""Run folders of every kind, to be read or damaged."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

from trainwatt import cli
from trainwatt.accounting.timeline import Phase, Span
from trainwatt.api import measure
from trainwatt.power.device import Device, Missing
from trainwatt.records.snapshot import RunSnapshot
from trainwatt.site import Site
from trainwatt.tracking.green_stopper import GreenStopper


def corpus(folder: Path) -> list[Path]:
    """Make run folders of every kind, and return them; the first is that of a training that ended."""
    ended = training(folder, "ended")
    return [ended, killed(training(folder, "killed")), job(folder), resumed(folder, ended), large(folder)]


def training(folder: Path, name: str) -> Path:
    """Return the run folder of a training with metrics, a verdict and a part of its own."""
    with (
        measure(zone="FR", output_dir=folder, run_name=name, verbose=False, tariff=0.2, devices="ram") as run,
        GreenStopper("max", zone="FR", devices="ram", min_gain_per_kwh=1e-9) as stopper,
    ):
        for epoch in run.epochs(12):
            with run.part("forward"):
                run.step(3)
            with run.phase("validate"):
                sum(range(20_000))
            run.metric("val_acc", 0.9 * (1 - 2.0 ** -(epoch + 1)))
            run.metric("val_loss", 2.0 ** -(epoch + 1))
            stopper.evaluate(
                0.9 * (1 - 2.0 ** -(epoch + 1)), done=(epoch + 1) / 12, when=f"epoch {epoch}", metric="val_acc"
            )
        run.log_event({"event": "learning rate", "value": 0.1})
    assert run.summary.folder is not None
    return run.summary.folder


def killed(folder: Path) -> Path:
    """Return a run folder as a kill leaves it before the first summary."""
    (folder / "summary.json").unlink()
    return folder


def job(folder: Path) -> Path:
    """Return the merged run folder of two processes."""
    ranks = [training(folder, "rank-a"), training(folder, "rank-b")]
    with contextlib.redirect_stdout(io.StringIO()):
        cli.main(["merge", *map(str, ranks), "--output", str(folder / "job")])
    (folder / "job/events.jsonl").write_bytes((ranks[0] / "events.jsonl").read_bytes())
    return folder / "job"


def resumed(folder: Path, before: Path) -> Path:
    """Return the run folder of a training that went on at another place."""
    state = json.loads((before / "summary.json").read_text(encoding="utf-8"))
    with measure(zone="SE", output_dir=folder, run_name="resumed", verbose=False, devices="ram") as run:
        run.load_state_dict(state)
        run.step()
    assert run.summary.folder is not None
    return run.summary.folder


def large(folder: Path) -> Path:
    """Return the run folder of an inference on GPUs in a cloud, with each field that a summary may have."""
    gpus = [
        Device(f"gpu:{n}", "gpu", "NVIDIA H100 80GB HBM3", "measured", "NVML", 0.95, 1.05, share=0.5) for n in (0, 1)
    ]
    cpu = Device("cpu:b/package-0", "cpu", "AMD EPYC 9654", "estimated", "model", 0.5, 1.5, note="a note", common=0.5)
    tpu = Device("gpu:t", "gpu", "TPU v5", "not counted", "Google TPU", covers=("ram",))
    joules = {**{gpu.id: 4_050_000.0 for gpu in gpus}, cpu.id: 2_700_000.0}
    phases: dict[Phase, Span] = {"train": Span(7200.0, joules, 5, 1000), "test": Span(60.0, {cpu.id: 600.0}, 1, 10)}
    snapshot = RunSnapshot(
        "large",
        "running",
        1.79e9,
        1.79e9 + 7260,
        phases,
        {},
        5,
        (*gpus, cpu, tpu),
        Site(cloud="gcp/europe-west9", market_intensity=20, tariff=0.3, environ={}),
        missing=(Missing("ram", "RAPL", "no permission", "sudo chmod", warn=True),),
        gaps_s={cpu.id: 12.0},
        samples=640,
        training_kwh=3.0,
        expected_requests=1e6,
        id="large",
    )
    path = folder / "large"
    path.mkdir()
    (path / "summary.json").write_text(json.dumps(snapshot.summary()), encoding="utf-8")
    return path
