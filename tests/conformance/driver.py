"""Runs all trainings of the table in one framework, in a process of its own, on GPUs whose true energy is known.

usage: [KERAS_BACKEND=...] python -m tests.conformance.driver FRAMEWORK FOLDER NVML

Writes FOLDER/results.json: what each training came to, with our callback and without.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from standins import nvml as standin
from standins.grid_api import GridApi, serving
from standins.nvml import Constant, Square, h100
from tests.conformance.cases import CASES, INFERRED, Case
from trainwatt.errors import ArgumentError
from trainwatt.live import GreatBritain
from trainwatt.records.run_folder import read_events, read_summary
from trainwatt.site import Site

STEADY_W, WAVE = 100.0, Square(180.0, 220.0, 0.4)
PARTS = ("energy/", "footprint/", "projection/")
STEP_S = 0.05  # what a GPU would take for a step


@dataclass
class Trained:
    """What a training came to, in the framework's own terms.

    Attributes:
        losses: as the framework's own history has them.
        weights: a digest of the trained weights.
        raised: the name of what left it.
        logged: the names of our values that reached the framework's own log, by kind of run.
        rows: our values in each entry of that log while training, oldest first; those of each training in turn.
        summaries: the monitor's summaries, one for each run.
    """

    losses: list[float] = field(default_factory=list)
    weights: str = ""
    raised: str | None = None
    logged: dict[str, list[str]] = field(default_factory=dict)
    rows: list[dict[str, float]] = field(default_factory=list)
    summaries: list[dict[str, Any]] = field(default_factory=list)


class Framework(Protocol):
    """How a framework makes a training of the table."""

    def monitor(self, **options: Any) -> Any:
        """Our callback."""
        ...

    def train(self, case: Case, monitor: Any | None, step_s: float, folder: Path) -> Trained:
        """Train, with our callback or without."""
        ...


def digest(weights: list[Any]) -> str:
    """Bit for bit."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(each).tobytes() for each in weights)).hexdigest()


def ours(names: Any) -> list[str]:
    """Those of our values among the names of a log, without the prefix that a framework puts before them."""
    short = {name[name.index(part) :] for name in names for part in PARTS if part in name}
    return sorted(short)


def inferred(names: Any) -> list[str]:
    """Those of our values of a run without a training, without the prefix that tells its kind."""
    known = INFERRED | {"sample_j"}
    return sorted({short for name in names for short in known if re.fullmatch(rf"[a-z]+[/_]{short}", name)})


def values_of(entry: Mapping[str, Any]) -> dict[str, float]:
    """Those of our values in an entry of a log, by name."""
    return {name: entry[name] for name in entry if name.startswith(PARTS)}


def outcome(framework: Framework, name: str, folder: Path, library: standin.Library) -> dict[str, Any]:
    case = CASES[name]
    bare = framework.train(case, None, 0.0, folder / "bare")
    out = folder / "footprint"
    with library.running(h100(WAVE), h100(Constant(STEADY_W))) as machine:
        monitor = framework.monitor(devices=["gpu"], output_dir=out, run_name="run", verbose=False, zone="FR")
        measured = framework.train(case, monitor, STEP_S, folder / "measured")
        to_monotonic_s = time.perf_counter() - time.time()
        runs = []
        for path in sorted(out.iterdir(), key=lambda each: read_summary(each)["began"]):
            summary, events = read_summary(path), list(read_events(path))
            began_s = events[0]["began_unix_s"] + to_monotonic_s
            truth_j = [machine.truth_j(began_s, began_s + summary["seconds"], board=board) for board in (0, 1)]
            runs.append({"name": path.name, "summary": summary, "events": events, "truth_j": truth_j})
    return {"bare": vars(bare), "measured": vars(measured), "runs": runs}


def placed(framework: Framework, folder: Path) -> dict[str, Any]:
    """A training at one Site whose live source hangs, and what is said to a Site beside its parts."""
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")  # where no other run has left what it was told
    with serving(GridApi(hang_s=60.0)) as api:
        site = Site(zone="GB", pue=1.3, carbon_intensity=GreatBritain(base_url=api.url, timeout_s=60.0))
        options = {"devices": ["ram"], "output_dir": None, "verbose": False, "expected_requests": 10}
        monitor = framework.monitor(site=site, **options)
        measured = framework.train(CASES["plain fit"], monitor, STEP_S, folder)
    try:
        framework.monitor(site=site, zone="GB", **options)
    except ArgumentError as error:
        return {"measured": vars(measured), "summary": monitor.summary, "refused": str(error)}
    return {}


def outcome_or_error(make: Callable[..., dict[str, Any]], *args: Any) -> dict[str, Any]:
    try:
        return make(*args)
    except Exception:  # noqa: BLE001  # told to the test that asks for it
        return {"error": traceback.format_exc()}


def main(framework: str, folder: Path, nvml: Path) -> None:
    warnings.filterwarnings("error", module="trainwatt")
    library = standin.load(nvml)
    module: Framework = importlib.import_module(f"tests.conformance.in_{framework}").FRAMEWORK
    results = {}
    for name in CASES:
        results[name] = outcome_or_error(outcome, module, name, folder / name.replace(" ", "_"), library)
    results["placed"] = outcome_or_error(placed, module, folder / "placed")
    (folder / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main(sys.argv[2], Path(sys.argv[1]), Path(sys.argv[3]))
