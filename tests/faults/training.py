"""Training of a given duration in a process of its own: ``training.py SECONDS FOLDER [WHAT]``."""

from __future__ import annotations

import logging
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

from trainwatt.api import measure
from trainwatt.tracking.tracker import Tracker


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def _own_handler(*_: Any) -> None:
    say("own handler")
    sys.exit(7)


def _fill_disk() -> None:
    """Limit every file to its first bytes, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))


def _empty_disk() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def train(run: Tracker, seconds: float, what: str) -> None:
    end_s = time.monotonic() + seconds
    epoch = 0
    while time.monotonic() < end_s:
        run.begin("train", epoch=epoch)
        for _ in range(10):
            time.sleep(0.01)
            run.step()
        run.end("train")
        run.end_epoch()
        epoch += 1
        if epoch == 1:
            say("training")
        if what == "full disk" and epoch in (5, 15):
            (_fill_disk if epoch == 5 else _empty_disk)()
    say("trained", epoch)


if __name__ == "__main__":
    seconds, folder, what = float(sys.argv[1]), Path(sys.argv[2]), (sys.argv[3:] or [""])[0]
    logging.basicConfig(format="%(message)s")
    if what == "own handler":
        signal.signal(signal.SIGTERM, _own_handler)
    with measure(
        zone="FR", output_dir=folder.parent, run_name=folder.name, verbose=False, devices=("gpu", "ram")
    ) as run:
        train(run, seconds, what)
        began_s = time.monotonic()
    say("ended after", time.monotonic() - began_s)
    say("handler", signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, os.getpid())
