"""What measuring costs a training on the CPU, in each framework, and for Lightning beside other trackers.

Two identical runs differ by several per cent on a shared machine, so what is ours is measured directly: the time of
every hook, of the sampler's thread, of the start, of the import. The ratio of whole runs stands beside it, each run
paired with a bare one of the same round, together with the ratio of two bare runs: what is within that is noise. Each
framework is measured in a process of its own.

usage: overhead.py [--rounds N] [--epochs N] [FRAMEWORK ...]
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # the stand-ins are not installed

from trainings import BATCHES, TRAININGS, Training

from trainwatt.tracking.tracker import Tracker

TURNS = 3
PEERS = ("CodeCarbon", "Carbontracker", "Zeus")
RUN_METHODS = (
    "begin",
    "end",
    "end_epoch",
    "wait_until_settled",
    "snapshot",
    "step_snapshot",
)  # some are reached by no hook
Figures = dict[str, Any]


class Stopwatch:
    """Adds up the time of methods; one that calls another counts once."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self.spent_ns: list[int] = []
        self._clock, self._running = clock, False

    @contextmanager
    def on(self, owner: Any, *names: str) -> Iterator[Stopwatch]:
        """Time methods of an object or a class."""
        with ExitStack() as undo:
            for name in names:
                own = getattr(owner, name)
                setattr(owner, name, self._timed(own))
                undo.callback(setattr, owner, name, own)
            yield self

    def _timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if self._running:
                return method(*args, **kwargs)
            self._running, began_ns = True, self._clock()
            try:
                return method(*args, **kwargs)
            finally:
                self.spent_ns.append(self._clock() - began_ns)
                self._running = False

        return timed


def direct(training: Training, callback: Any, epochs: int) -> Figures:
    """What a callback itself takes: microseconds a step, milliseconds an epoch and at the start."""
    steps = [Stopwatch(time.perf_counter_ns) for _ in training.step_hooks]
    others, start = Stopwatch(time.thread_time_ns), Stopwatch(time.perf_counter_ns)
    with ExitStack() as stack:
        for hook, watch in zip(training.step_hooks, steps, strict=True):
            stack.enter_context(watch.on(callback, hook))
        stack.enter_context(others.on(callback, *training.other_hooks))
        stack.enter_context(others.on(Tracker, *RUN_METHODS))
        stack.enter_context(start.on(Tracker, "start"))
        if type(callback).__name__ in PEERS:
            stack.enter_context(start.on(callback, "setup"))
        seconds = training.fit([callback], epochs)
    figures = {
        # a mean would count what the machine does besides
        "step_us": 1e-3 * sum(statistics.median(watch.spent_ns) for watch in steps),
        "epoch_ms": 1e-6 * sum(others.spent_ns) / epochs,
        "start_ms": 1e-6 * sum(start.spent_ns),
    }
    if hasattr(callback, "summary"):
        figures["sampler_percent"] = 100 * callback.summary["sampler_cpu_s"] / seconds
        assert callback.summary["phases"]["train"]["steps"] == epochs * BATCHES
    return figures


def beyond_bare(training: Training, make: Callable[[], Any], epochs: int) -> Figures:
    """What a callback takes beyond one that does nothing, measured in turns: medians, but for the first start."""
    turns = [(direct(training, training.bare(), epochs), direct(training, make(), epochs)) for _ in range(TURNS)]
    figures = {name: statistics.median(each[name] for _, each in turns) for name in turns[0][1]}
    for name in ("step_us", "epoch_ms"):
        figures[name] = statistics.median(each[name] - bare[name] for bare, each in turns)
    return figures | {"start_ms": turns[0][1]["start_ms"]}


def ratios(training: Training, others: dict[str, Callable[[], list[Any]]], rounds: int, epochs: int) -> Figures:
    """Of whole runs to a bare one of the same round, by what they have: the median, the least and the most."""
    series: dict[str, list[float]] = {name: [] for name in others}
    for number in range(rounds):
        bare_s = training.fit([], epochs)
        names = list(others)
        for name in names[number % len(names) :] + names[: number % len(names)]:  # none is always the first
            series[name].append(training.fit(others[name](), epochs) / bare_s)
    return {name: (statistics.median(each), min(each), max(each)) for name, each in series.items()}


def waits(training: Training, backend: str, epochs: int = 3) -> Figures:
    """How often an epoch of Keras fetches values in the training thread and in all, by what the callbacks are."""
    import keras

    from standins.keras_fetches import counted

    class Looks(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
        """What a callback costs that has to see the end of every batch: the counter's own check."""

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            pass

    found = {}
    for name, callbacks in {"bare": [], "trainwatt": [training.ours()], "a look at each batch": [Looks()]}.items():
        with counted(backend) as fetches:
            training.fit(callbacks, epochs)
        found[name] = fetches.training / epochs, fetches.total / epochs
    return found


def import_ms(plugin: str) -> float:
    """CPU time of importing our package after its framework: the median of five, once compiled."""
    own = {
        "trainwatt_lightning": "import lightning.pytorch",
        "trainwatt_keras": "import keras",
        "trainwatt_transformers": "from transformers import Trainer",
    }[plugin]
    code = f"{own}; from time import process_time as s; began = s(); import {plugin}; print(1e3 * (s() - began))"
    command = [sys.executable, "-W", "ignore", "-c", code]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    runs = [subprocess.run(command, env=environment, capture_output=True, check=True).stdout for _ in range(6)][1:]
    return statistics.median(float(run.split()[-1]) for run in runs)


def measured(name: str, rounds: int, epochs: int) -> Figures:
    """All figures of one framework."""
    training = TRAININGS[name]()
    training.fit([], 1)  # warm-up
    figures = beyond_bare(training, training.ours, epochs) | {"import_ms": import_ms(training.plugin)}
    others: dict[str, Callable[[], list[Any]]] = {"none again": list, "trainwatt": lambda: [training.ours()]}
    if name.startswith("Keras"):
        figures["waits"] = waits(training, name.rpartition(" ")[2])
    if name == "Lightning":
        peers = {peer: _peer(peer) for peer in PEERS if importlib.util.find_spec(peer.lower())}
        figures["peers"] = {peer: beyond_bare(training, make, epochs) for peer, make in peers.items()}
        others |= {peer: lambda make=make: [make()] for peer, make in peers.items()}  # type: ignore[misc]
    return figures | {"ratios": ratios(training, others, rounds, epochs)}


def _peer(name: str) -> Callable[[], Any]:
    import peers

    return getattr(peers, name)  # type: ignore[no-any-return]


def alone(name: str, options: argparse.Namespace) -> Figures:
    """The figures of one framework, from a process of its own."""
    environment = os.environ | {"KERAS_BACKEND": name.rpartition(" ")[2], "TF_CPP_MIN_LOG_LEVEL": "3"}
    with tempfile.TemporaryDirectory() as folder:
        sizes = [f"--rounds={options.rounds}", f"--epochs={options.epochs}", f"--to={folder}/figures.json"]
        command = [sys.executable, "-W", "ignore", str(Path(__file__).resolve()), name, *sizes]
        run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if run.returncode:
            sys.exit(f"{name}:\n{run.stderr}")
        return dict(json.loads(Path(folder, "figures.json").read_text()))


def row(*cells: Any) -> None:
    """Print a row of a table."""
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def head(*cells: str) -> None:
    """Print a table's head."""
    row(*cells)
    print("|" + "---|" * len(cells), flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frameworks", nargs="*", default=list(TRAININGS), metavar="FRAMEWORK")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--to", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.to:
        warnings.filterwarnings("ignore")
        logging.disable(logging.CRITICAL)  # the frameworks' and the peers' chatter
        Path(options.to).write_text(json.dumps(measured(options.frameworks[0], options.rounds, options.epochs)))
        return

    found: dict[str, Figures] = {}
    head("framework", "a step, us", "an epoch, ms", "start, ms", "import, ms", "sampler, % of a core")
    for name in options.frameworks:
        found[name] = each = alone(name, options)
        numbers = ("step_us", "epoch_ms", "start_ms", "import_ms", "sampler_percent")
        row(name, *(f"{each[number]:.2f}" for number in numbers))
    print()
    head("whole run over a bare one", "of", "median", "least", "most")
    for name, each in found.items():
        for kind, series in each["ratios"].items():
            row(name, kind, *(f"{ratio:.3f}" for ratio in series))
    waiting = {name: each["waits"] for name, each in found.items() if "waits" in each}
    if waiting:
        print()
        head("fetches an epoch, training thread / all", "bare", "trainwatt", "a look at each batch")
        for name, each in waiting.items():
            row(name, *(f"{training:.0f} / {total:.0f}" for training, total in each.values()))
    peers = found.get("Lightning", {}).get("peers")
    if peers:
        print()
        head("others, in Lightning", "a step, us", "an epoch, ms", "start, ms")
        for name, each in peers.items():
            row(name, *(f"{each[number]:.2f}" for number in ("step_us", "epoch_ms", "start_ms")))


if __name__ == "__main__":
    main()
