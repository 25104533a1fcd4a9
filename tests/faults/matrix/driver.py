"""Runs every fault at every moment in one framework, in a process of its own, on GPUs whose true energy is known.

usage: LD_PRELOAD=... python -m tests.faults.matrix.driver FOLDER FRAMEWORK NVML DISK [SHIFT]

Writes FOLDER/results.json: for each fault and moment what did not hold. With SHIFT each fault comes at one moment only:
from fault to fault and from shift to shift another.
"""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from standins import nvml as standin
from standins.nvml import Constant, Machine, v100
from standins.slow_disk import SlowDisk
from tests.faults.matrix.faults import CASES, Case, Situation
from tests.faults.matrix.trainings import FRAMEWORKS, Results, Trained
from trainwatt.records.job_reader import read_run

BOARDS_W = (250.0, 100.0)
# A counter is read some milliseconds after its refresh, which is each 20 ms; a board may draw what its limit allows.
LATE_J, MOST_W = 0.02 * sum(BOARDS_W), 600.0
# A training of half a second may take so long with a fault, and is ended if it takes longer still.
PATIENCE_S, HUNG_S = 6.0, 20.0


class Heard(logging.Handler):
    """Handler that keeps our warnings, and all that failed where nobody could catch it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self.tracebacks = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.lines.append(record.getMessage())
        self.tracebacks += record.exc_info is not None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen to one training."""
        self.lines, self.tracebacks = [], 0
        log = logging.getLogger("trainwatt")
        hooks = sys.unraisablehook, threading.excepthook
        sys.unraisablehook = lambda failed: self.lines.append(f"unraisable: {failed.exc_value!r}")
        threading.excepthook = lambda failed: self.lines.append(f"in a thread: {failed.exc_value!r}")
        log.addHandler(self)
        try:
            yield
        finally:
            log.removeHandler(self)
            sys.unraisablehook, threading.excepthook = hooks


class Matrix:
    """All trainings of one framework.

    Args:
        folder: of its files.
        framework: its name.
        library: the simulated driver.
        disk: the disk that holds the run folders.
    """

    def __init__(self, folder: Path, framework: str, library: standin.Library, disk: SlowDisk) -> None:
        self.folder, self.framework, self.library, self.disk = folder, framework, library, disk
        self.training = FRAMEWORKS[framework]()
        self.heard = Heard()
        self.keys: set[str] = set()

    def results(self, shift: int | None = None) -> Results:
        """Return what did not hold, by fault and moment: an empty list if all held.

        None: the training does not stand this fault at this moment without us either.

        Args:
            shift: chooses the one moment of each fault; None: all moments.
        """
        healthy = Case(lambda _: ExitStack())
        # The file alone tells when it was written.
        self.keys = set(self._measured(healthy, "step", "healthy")[1]) - {"written"}
        results: dict[str, dict[str, list[str] | None]] = {
            "no fault": {"step": self.misses(healthy, "step", "no fault")}
        }
        for number, (name, case) in enumerate(CASES.items()):
            if case.expected.custom_loop and self.framework != "loop":
                continue
            moments = case.expected.only
            chosen = moments if shift is None else (moments[(number + shift) % len(moments)],)
            results[name] = {moment: self.misses(case, moment, name) for moment in chosen}
        return results

    def misses(self, case: Case, moment: str, name: str) -> list[str] | None:
        """Return what does not hold after a fault; None if nothing could."""
        with self._ending_hung():
            bare = self._bare(case, moment, name)
        if bare is None:
            return None
        try:
            with self._ending_hung():
                trained, summary, found = self._measured(case, moment, name)
            return [*self._of_training(trained, bare), *self._of_summary(case, summary), *found]
        except Exception:  # noqa: BLE001  # told to the test
            return [traceback.format_exc()]

    def _bare(self, case: Case, moment: str, name: str) -> Trained | None:
        """Train without us; None if the fault ends that otherwise than it says."""
        try:
            bare = self._trained(case, moment, f"bare-{name}", measured=False)[0]
        except Exception:  # noqa: BLE001  # such as a Trainer that is not made without a working directory
            return None
        return bare if bare.raised in case.expected.raises else None

    @contextmanager
    def _ending_hung(self) -> Iterator[None]:
        """End a training that hangs: what waits for the disk takes no signal, and what waits for all else does."""
        heal = threading.Timer(HUNG_S, self.disk.heal)
        heal.start()
        signal.signal(signal.SIGALRM, _end)
        signal.setitimer(signal.ITIMER_REAL, HUNG_S + 1.0, 1.0)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            heal.cancel()

    def _measured(self, case: Case, moment: str, name: str) -> tuple[Trained, dict[str, Any], list[str]]:
        trained, at, took_s, truth = self._trained(case, moment, name, measured=True)
        summary = dict(at.monitor.summary)
        found = [f"took {took_s:.1f} s"] if took_s > PATIENCE_S else []
        lines = self.heard.lines
        if len(lines) > case.expected.warnings or self.heard.tracebacks > 1:
            found.append(f"{len(lines)} warnings, {self.heard.tracebacks} tracebacks: {lines[:8]}")
        found += [line for line in lines if line.startswith(("unraisable", "in a thread"))]
        found += _of_energy(case, summary, truth)
        if case.expected.is_recorded and not any(found):
            found += _of_record(at.output_dir, summary)
        return trained, summary, found

    def _trained(
        self, case: Case, moment: str, name: str, *, measured: bool
    ) -> tuple[Trained, Situation, float, tuple[float, float]]:
        """Train with a fault.

        Returns:
            The outcome; the situation; how long it took; the true energy until the fault and in all.
        """
        folder = self.folder / f"{name}-{moment}".replace(" ", "_").replace("/", "_").replace("^", "")
        folder.mkdir()
        self.disk.folder.mkdir(exist_ok=True)
        output_dir = self.disk.folder / folder.name
        os.chdir(self.disk.folder)
        machine = Machine(tuple(v100(Constant(watts), noise_w=0.0) for watts in BOARDS_W), origin_s=time.perf_counter())
        out, stdout = io.StringIO(), sys.stdout
        with self.library.running(machine), self.heard.listening(), ExitStack() as faults:
            ours: list[Any] = []
            if measured:
                options = {
                    "zone": "FR",
                    "output_dir": folder.name,
                    "run_name": "run",
                    "devices": ["gpu"],
                    "verbose": True,
                }
                ours = self.training.callbacks(**options)
            at = Situation(folder, output_dir, next(iter(ours), None), self.library, machine, self.disk)
            struck_s = time.perf_counter()

            def strike(now: str) -> None:
                nonlocal struck_s
                if now == moment and not at.is_struck:
                    at.is_struck, struck_s = True, time.perf_counter()
                    faults.enter_context(case.strike(at))

            sys.stdout = out
            began_s = time.perf_counter()
            try:
                strike("before")
                trained = self.training.train(folder, ours, strike)
            finally:
                ended_s = time.perf_counter()
                # A fault puts back what it has found.
                faults.close()
                sys.stdout = stdout
            os.chdir(self.folder)
            truth = machine.truth_j(began_s, struck_s), machine.truth_j(began_s, ended_s)
        return trained, at, ended_s - began_s, truth

    def _of_training(self, trained: Trained, bare: Trained) -> Iterator[str]:
        if trained.raised != bare.raised:
            yield f"raised {trained.raised}"
        if (trained.losses, trained.weights) != (bare.losses, bare.weights):
            yield "losses or weights differ from those of a training without us"
        if len(set(trained.columns)) > 1:
            yield f"the history is ragged: {trained.columns}"

    def _of_summary(self, case: Case, summary: dict[str, Any]) -> Iterator[str]:
        if missing := self.keys - set(summary):
            yield f"the summary lacks {sorted(missing)[:6]}"
        elif summary["status"] not in case.expected.statuses:
            yield f"the status is {summary['status']}"


def _end(*_: Any) -> None:
    raise TimeoutError(f"the training hangs for {HUNG_S} s")


def _of_energy(case: Case, summary: dict[str, Any], truth: tuple[float, float]) -> Iterator[str]:
    """Compare the energy with the truth; the run begins after the training's call, and ends before its return."""
    until_j, all_j = truth
    total_j = summary.get("total_j", 0.0)
    seconds = summary.get("seconds", 0.0)
    drawn_j = sum(BOARDS_W) * seconds
    if case.expected.joules == "exact" and not 0.97 * drawn_j - LATE_J <= total_j <= 1.03 * drawn_j + LATE_J:
        yield f"{total_j:.1f} J where {drawn_j:.1f} were drawn"
    if not 0 <= total_j <= max(all_j, MOST_W * seconds) + LATE_J:
        yield f"{total_j:.1f} J are more than can be drawn"
    # The run begins while the callback is set up, which takes a moment of the time before the fault.
    if total_j < until_j - 0.5 * sum(BOARDS_W) - LATE_J:
        yield f"{total_j:.1f} J of {until_j:.1f} J until the fault"


def _of_record(output_dir: Path, summary: dict[str, Any]) -> Iterator[str]:
    """Compare the run folder with the summary."""
    for folder in [output_dir, *output_dir.parent.glob("*/renamed")]:
        for run in sorted(folder.glob("run*")):
            record = read_run(run)
            if record.status == summary["status"] and abs(record.summary["total_j"] - summary["total_j"]) < 1e-6:
                return
    yield f"no run folder holds the summary: {[path.name for path in sorted(output_dir.glob('*'))]}"


def main(folder: Path, framework: str, nvml: Path, library: Path, shift: int | None = None) -> None:
    """Run all and write the results."""
    disk = SlowDisk(library, folder / "disk", Path(os.environ["STANDIN_DISK"]))
    results = Matrix(folder, framework, standin.load(nvml), disk).results(shift)
    (folder / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]), *map(int, sys.argv[5:6]))
