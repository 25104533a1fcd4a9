"""How large the report of a long run is, and how long it takes to write.

Run it with ``python benchmarks/report.py``. Its runs have a million steps on ten devices; each epoch has a training, an
evaluation and a checkpoint, six scores, a verdict and a projection. Their folders are written by the code that writes
those of all runs, only that nobody waits for their time to pass.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from pathlib import Path

from trainwatt.accounting.power_history import PowerHistory
from trainwatt.accounting.timeline import Phase, Span
from trainwatt.power.device import Device
from trainwatt.records.run_folder import RunFolder
from trainwatt.records.snapshot import RunSnapshot
from trainwatt.reporting.html import REPORT, write_report
from trainwatt.site import Site

DEVICES = (
    *(
        Device(f"gpu:{n}", "gpu", "NVIDIA H100 80GB HBM3", "measured", "NVML total-energy counter", 0.95, 1.05)
        for n in range(8)
    ),
    Device("cpu:1", "cpu", "AMD EPYC 9654", "estimated", "model by CPU utilisation", 0.5, 1.5),
    Device("ram:1", "ram", "512 GB of memory", "estimated", "model by memory size", 0.4, 1.9),
)
PARTS: tuple[tuple[Phase, float], ...] = (("train", 50.0), ("validate", 6.0), ("checkpoint", 1.5))
SCORES = ("val_acc", "val_loss", "f1", "recall", "precision", "auc")


def run_of(folder: Path, steps: int, epochs: int) -> Path:
    """The folder of a run of so many steps."""
    record, curve, phases = RunFolder(folder, "long"), PowerHistory(), dict[Phase, Span]()
    record.event({"event": "start", "run": "long", "began_unix_s": 1.79e9, "pid": 1})
    whole_kwh = epochs * sum(_span(s, 0).total_j for _, s in PARTS) / 3.6e6
    total_j = total_s = 0.0
    for epoch in range(epochs):
        spans = {phase: _span(seconds, steps // epochs if phase == "train" else 0) for phase, seconds in PARTS}
        for phase, span in spans.items():
            for _ in range(10):
                curve.add(phase, span.seconds / 10, span.total_j / 10)
            phases.setdefault(phase, Span()).add(span)
            total_j, total_s = total_j + span.total_j, total_s + span.seconds
        record.event(
            *({"event": "span", "epoch": epoch, "phase": phase, **span.to_dict()} for phase, span in spans.items()),
            {"event": "power", "stretches": [stretch.to_dict() for stretch in curve.take()]},
            *_evaluated(epoch, epochs, total_j, total_s, whole_kwh),
        )
    report = RunSnapshot("long", "finished", 1.79e9, 1.79e9 + total_s, phases, {}, epochs, DEVICES, Site(zone="FR"))
    record.event({"event": "end", "status": "finished", "total_j": total_j})
    record.summary(report.summary())
    return record.path


def _span(seconds: float, steps: int) -> Span:
    watts = {device.id: 450.0 if device.kind == "gpu" else 120.0 for device in DEVICES}
    return Span(seconds, {device: each * seconds for device, each in watts.items()}, 1, steps)


def _evaluated(epoch: int, epochs: int, total_j: float, total_s: float, whole_kwh: float) -> list[dict[str, object]]:
    taken = {"epoch": epoch, "seconds": total_s, "total_j": total_j}
    value = 0.9 - 0.8 / (1 + 20 * epoch / epochs) + 0.01 * math.sin(epoch)
    kwh = {"low": whole_kwh * 0.97, "central": whole_kwh, "high": whole_kwh * 1.03}
    return [
        *({"event": "score", "name": name, "value": value, **taken} for name in SCORES),
        {
            "event": "verdict",
            "name": "val_acc",
            "mode": "max",
            "at": f"epoch {epoch}",
            "stop": False,
            "reason": "goes on",
        }
        | {"value": value, **taken},
        {"event": "projection", "epochs": epoch + 1, "steps": 100 * epoch, "total_kwh": kwh, "remaining_s": 1.0},
    ]


def main(steps: int = 1_000_000) -> None:
    """Print the table."""
    print("| steps | epochs | events.jsonl, MB | report.html, MB | written in, s |\n|---|---|---|---|---|")
    for epochs in (100, 10_000):
        with tempfile.TemporaryDirectory() as folder:
            run = run_of(Path(folder), steps, epochs)
            began_s = time.perf_counter()
            write_report(run)
            took_s = time.perf_counter() - began_s
            sizes = [(run / name).stat().st_size / 1e6 for name in ("events.jsonl", REPORT)]
        print(f"| {steps:,} | {epochs:,} | {sizes[0]:.1f} | {sizes[1]:.2f} | {took_s:.2f} |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
