"""Real runs to report on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from trainwatt import GreenStopper, measure
from trainwatt.schema.events import checked as checked_event
from trainwatt.schema.summary import summary as checked_summary

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


PAYLOAD = (
    "</script></style></title>--><script>window.hacked=1</script><img src=x onerror=window.hacked=1>"
    "\" onmouseover=\"window.hacked=1\" ' onfocus='window.hacked=1' autofocus <svg onload=window.hacked=1>"
    "javascript:window.hacked=1 {{window.hacked=1}} ${window.hacked=1} datum.value === (window.hacked=1)"
)


def hostile(folder: Path) -> Path:
    """The same folder with hostile texts, as names and as values, wherever a reader takes any text."""
    file = folder / "summary.json"
    summary = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(_poisoned(summary, checked_summary)), encoding="utf-8")
    events = folder / "events.jsonl"
    lines = [json.loads(line) for line in events.read_text(encoding="utf-8").splitlines()]
    poisoned = [_poisoned(event, checked_event) for event in lines]
    events.write_text("".join(json.dumps(event) + "\n" for event in poisoned), encoding="utf-8")
    return folder


def _poisoned(value: dict[str, Any], check: Callable[[Any], Any]) -> dict[str, Any]:
    """Replace each text by a hostile one that its check lets pass."""
    for holder, key in list(_texts(value)):
        before, holder[key] = holder[key], PAYLOAD + key if isinstance(key, str) else PAYLOAD
        try:
            passes = check(value) is not None
        except ValueError:
            passes = False
        if not passes or key in ("event", "status", "zone"):
            holder[key] = before
    return value


def _texts(value: Any) -> Iterator[tuple[Any, Any]]:
    for key in value if isinstance(value, dict) else range(len(value)):
        if isinstance(value[key], str):
            yield value, key
        elif isinstance(value[key], (dict, list)):
            yield from _texts(value[key])


def killed(folder: Path) -> Path:
    """The same folder as a kill leaves it before the first summary: no summary, and a last line cut short."""
    (folder / "summary.json").unlink()
    events = folder / "events.jsonl"
    lines = events.read_text(encoding="utf-8").splitlines()
    start = {**json.loads(lines[0]), "began_unix_s": 1.7e9, "pid": -1}
    kept = [json.dumps(start), *(line for line in lines[1:] if json.loads(line)["event"] != "end")]
    events.write_text("\n".join(kept) + '\n{"event": "span", "epo', encoding="utf-8")
    return folder
