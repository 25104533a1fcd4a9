"""Real runs to report on."""

from __future__ import annotations

import json
from pathlib import Path

from trainwatt import GreenStopper, measure

HOSTILE = "<script>alert(1)</script> \"'&--> </style>"


def trained(folder: Path, name: str, ceiling: float = 0.9, *, metric: str = "val_acc", work: int = 20_000) -> Path:
    """A training whose metric rises to a ceiling, stopped green; the folder of its run."""
    with (
        measure(zone="FR", output_dir=folder, run_name=name, verbose=False, tariff=0.2) as run,
        GreenStopper("max", zone="FR") as stopper,
    ):
        for epoch in run.epochs(200):
            for _ in range(5):
                sum(range(work))
                run.step()
            with run.phase("validate"):
                sum(range(work))
            value = ceiling * (1 - 2.0 ** -(epoch + 1))
            decision = stopper.evaluate(value, done=(epoch + 1) / 200, when=f"epoch {epoch}", metric=metric)
            run.metric(metric, value)
            run.metric("val_loss", 1 - value)
            if decision.stop:
                break
    assert run.summary.folder is not None
    return run.summary.folder


def killed(folder: Path) -> Path:
    """The same folder as a kill leaves it before the first summary: no summary, and a last line cut short."""
    (folder / "summary.json").unlink()
    events = folder / "events.jsonl"
    lines = events.read_text(encoding="utf-8").splitlines()
    start = {**json.loads(lines[0]), "began_unix_s": 1.7e9, "pid": -1}
    kept = [json.dumps(start), *(line for line in lines[1:] if json.loads(line)["event"] != "end")]
    events.write_text("\n".join(kept) + '\n{"event": "span", "epo', encoding="utf-8")
    return folder
