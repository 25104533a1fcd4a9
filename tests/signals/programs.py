"""Programs that a signal ends or interrupts: ``programs.py NAME FOLDER``."""

from __future__ import annotations

import asyncio
import ctypes
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from trainwatt.api import measure
from trainwatt.tracking.tracker import Tracker


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def run_in(folder: str) -> Tracker:
    return measure(zone="FR", output_dir=folder, run_name="run", verbose=False, devices=("cpu", "ram"))


def train(run: Tracker, epochs: int = 10**9) -> None:
    for epoch in run.epochs(epochs):
        for _ in range(5):
            time.sleep(0.002)
            run.step()
        if epoch == 3:
            say("training")


def alone(folder: str) -> None:
    with run_in(folder) as run:
        train(run)


def in_thread(folder: str) -> None:
    thread = threading.Thread(target=alone, args=(folder,))
    thread.start()
    thread.join()


def in_thread_beside_a_loop(folder: str) -> None:
    threading.Thread(target=alone, args=(folder,), daemon=True).start()
    while True:
        time.sleep(0.1)


def in_native_code(folder: str) -> None:
    """Wait for a lock of the system's, which no signal interrupts."""
    with run_in(folder) as run:
        run.begin("train", epoch=0)
        library, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
        library.pthread_mutex_lock(mutex)
        say("training")
        library.pthread_mutex_lock(mutex)


def in_event_loop(folder: str) -> None:
    """Train in a coroutine, while the loop has a wake-up descriptor and a handler of its own."""

    async def main() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, say, "usr1")
        run = run_in(folder).start()
        say("training")
        for epoch in range(10**9):
            run.begin("train", epoch=epoch)
            await asyncio.sleep(0.01)
            run.end("train")
            run.end_epoch()

    asyncio.run(main())


def with_a_later_handler(folder: str) -> None:
    """Install a handler that calls the one before, and decides itself what happens."""
    with run_in(folder) as run:
        before: Any = signal.getsignal(signal.SIGTERM)

        def leave(number: int, frame: FrameType | None) -> None:
            before(number, frame)
            time.sleep(0.5)
            os._exit(9)

        signal.signal(signal.SIGTERM, leave)
        train(run)


def with_a_handler_put_back_after_the_run(folder: str) -> None:
    """Put back what was there before, as Lightning does, after the run has ended."""
    with run_in(folder) as run:
        ours: Any = signal.getsignal(signal.SIGTERM)
        train(run, epochs=5)
    signal.signal(signal.SIGTERM, ours)
    time.sleep(60)


def with_a_forked_child(folder: str) -> None:
    with run_in(folder) as run:
        child = os.fork()
        if child == 0:
            time.sleep(60)
        time.sleep(0.1)
        os.kill(child, signal.SIGTERM)
        say("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        train(run)


def with_ignored_signals(folder: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with run_in(folder) as run:
        train(run, epochs=80)


def that_starts_and_ends_runs(folder: str) -> None:
    """Begin and end runs all the time, so that the signal meets a beginning or an end."""
    for number in range(10**9):
        with run_in(folder) as run:
            run.begin("train", epoch=0)
        if number == 1:
            say("training")


class PreemptedError(Exception):
    """What a user's own handler raises."""


def _raise(number: int, frame: FrameType | None) -> None:
    raise PreemptedError


def _interrupted(folder: str, number: signal.Signals) -> None:
    """Do nothing but call hooks, until a signal comes, and maybe a second one."""
    draw = random.Random(folder)
    if number != signal.SIGINT:
        signal.signal(number, _raise)

    def send() -> None:
        for pause_s in (0.2 + draw.random() * 0.2, draw.random() * 0.3)[: draw.randint(1, 2)]:
            time.sleep(pause_s)
            os.kill(os.getpid(), number)

    monitor = run_in(folder)
    caught = 0
    threading.Thread(target=send, daemon=True).start()
    try:
        with monitor as run:
            for _ in run.epochs(10**9):
                run.step()
                with run.phase("validate"), run.part("part"):
                    pass
                run.log_event({"event": "note"})
                run.state_dict()
    except (KeyboardInterrupt, PreemptedError):
        caught += 1
    try:
        time.sleep(0.4)
    except (KeyboardInterrupt, PreemptedError):
        caught += 1
    handler = signal.default_int_handler if number == signal.SIGINT else _raise
    say(caught > 0, monitor.summary["status"], signal.getsignal(number) is handler)


def by_ctrl_c(folder: str) -> None:
    _interrupted(folder, signal.SIGINT)


def by_alarm(folder: str) -> None:
    _interrupted(folder, signal.SIGALRM)


def by_sigterm_of_its_own(folder: str) -> None:
    _interrupted(folder, signal.SIGTERM)


if __name__ == "__main__":
    program: Callable[[str], None] = globals()[sys.argv[1]]
    program(sys.argv[2])
