"""Random trainings in virtual time, and what they take by an accounting of its own.

The accounting is slow and obviously right: it knows the true power of each device, and when each process has run.
It shares no code with the ledger, the attempts or the aggregation of processes.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from standins.waves import Constant, Ramp, Square, Wave, bursts
from trainwatt.accounting.timeline import Phase
from trainwatt.distributed.process_group import ProcessGroup
from trainwatt.power.device import Counter, Device, Found
from trainwatt.projection.plan import Plan
from trainwatt.records.run_folder import read_events
from trainwatt.testing import ScriptedCounter, ScriptedGauge, VirtualClock, VirtualSampler
from trainwatt.tracking.session import Session
from trainwatt.tracking.settings import Settings

ERROR = 0.06
STEPS = 5
# Grams of CO2e per kWh, as in Sweden, France, Germany and Poland.
INTENSITIES = (30.0, 45.0, 340.0, 600.0)
MISREAD_J = (0.0, 2.0**32 - 1, 2.0**64 - 1, 1e5, -5.0)


class Meter(ScriptedCounter):
    """Counter that misreads once."""

    misread_s: float = math.inf
    misread_j: float = 0.0

    def joules(self) -> float:
        joules = super().joules()
        if self.clock.now_s < self.misread_s:
            return joules
        self.misread_s = math.inf
        return self.misread_j


@dataclass
class Gpu:
    """Simulated GPU with known energy."""

    device: Device
    wave: Wave
    refresh_s: float
    phase_s: float
    wraps_at_j: float | None
    is_gauge: bool
    most_w: float
    reset_s: float = math.inf
    misread_s: float = math.inf
    misread_j: float = 0.0

    def meter(self, clock: VirtualClock) -> Counter | ScriptedGauge:
        """Return a meter of its own for a process."""
        if self.is_gauge:
            return ScriptedGauge(clock, self.wave.energy_j, 0.1, self.device)
        meter = Meter(
            clock,
            self.wave.energy_j,
            self.refresh_s,
            self.phase_s,
            wraps_at_j=self.wraps_at_j,
            max_gap_s=10.0 if self.wraps_at_j else math.inf,
            reset_s=self.reset_s,
            device=self.device,
        )
        meter.misread_s, meter.misread_j = self.misread_s, self.misread_j
        return meter

    def truth_j(self, stretches: Iterable[tuple[float, float]]) -> float:
        """Return the true energy over the union of some times."""
        joules, at_s = 0.0, -math.inf
        for from_s, to_s in sorted(stretches):
            if to_s > max(at_s, from_s):
                joules += self.wave.energy_j(to_s) - self.wave.energy_j(max(at_s, from_s))
                at_s = max(at_s, to_s)
        return joules


def gpu(random_: random.Random, number: int) -> Gpu:
    """Return a random GPU."""
    low_w, high_w = random_.uniform(30, 120), random_.uniform(150, 600)
    wave = random_.choice(
        (
            Constant(high_w),
            Square(low_w, high_w, random_.uniform(0.3, 9.0), random_.uniform(0.2, 0.8)),
            Ramp(low_w, high_w, 100.0, 200.0),
            bursts(low_w, high_w),
        )
    )
    is_gauge = random_.random() < 0.2
    name = "NVIDIA H100 80GB HBM3"
    return Gpu(
        Device(f"gpu:GPU-{number}", "gpu", name, "measured", "a meter", 1 - ERROR, 1 + ERROR, max_w=700.0),
        wave,
        refresh_s=random_.choice((0.0, 0.02, 0.1)),
        phase_s=random_.uniform(0, 0.1),
        # as a package's counter: not less than what is drawn in three readings
        wraps_at_j=random_.choice((None, None, 65_532.0)),
        is_gauge=is_gauge,
        most_w=high_w,
    )


class World(VirtualSampler):
    """Sampler of a process, on one clock with those of others."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock)
        self.others: list[VirtualSampler] = []

    def advance(self, seconds: float, late_s: float = 0.0) -> None:
        """Let all processes read their meters for a while."""
        until_s = self.clock.monotonic() + seconds
        while (due_s := min(sampler.tick() for sampler in (self, *self.others)) + late_s) < until_s:
            self.to(due_s)
        self.to(until_s)

    def to(self, time_s: float) -> None:
        """Set the clock."""
        assert isinstance(self.clock, VirtualClock)
        self.clock.now_s = max(self.clock.now_s, time_s)


@dataclass
class Attempt:
    """What the accounting knows of an attempt."""

    g_per_kwh: float
    readers: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    phases_s: dict[Phase, list[tuple[float, float]]] = field(default_factory=dict)
    lead: list[str] = field(default_factory=list)
    faulty: set[str] = field(default_factory=set)


@dataclass
class Outcome:
    """A training: its last summary, and the accounts."""

    summary: dict[str, Any]
    totals_j: list[float]
    events: list[dict[str, Any]]
    attempts: list[Attempt]
    gpus: dict[str, Gpu]
    epochs: int

    def truth_j(self) -> float:
        """Return the energy of all attempts."""
        return sum(self.of_attempt_j(attempt) for attempt in self.attempts)

    def of_attempt_j(self, attempt: Attempt) -> float:
        """Return the energy of all devices of an attempt, each device over the union of its readers' times."""
        return sum(self.gpus[name].truth_j(times) for name, times in attempt.readers.items())

    def unknown_j(self, attempt: Attempt) -> float:
        """Return the energy in the gap that a fault leaves, which nobody can know: two seconds at most."""
        return sum(2 * self.gpus[name].most_w for name in attempt.faulty)

    def co2e_kg(self, pue: float) -> float:
        """Return the emissions, each attempt at its own place."""
        return sum(self.of_attempt_j(attempt) / 3.6e6 * pue * attempt.g_per_kwh / 1000 for attempt in self.attempts)


def train(seed: int, folder: Path) -> Outcome:
    """Run a random training of one to three attempts.

    Args:
        seed: of the random numbers.
        folder: for the run folders.
    """
    random_ = random.Random(seed)
    clock = VirtualClock(start_s=1000.0)
    gpus = {each.device.id: each for each in (gpu(random_, number) for number in range(random_.randint(1, 3)))}
    attempts: list[Attempt] = []
    totals_j: list[float] = []
    states: list[dict[str, Any]] = []
    summary: dict[str, Any] = {}
    events: list[dict[str, Any]] = []
    epochs = 0
    count = random_.choice((1, 1, 2, 3))
    for number in range(count):
        attempt = Attempt(random_.choice(INTENSITIES))
        last = number == count - 1
        state = random_.choice(states) if states else None
        for each in gpus.values():
            if _break(each, random_, clock.now_s):
                attempt.faulty.add(each.device.id)
        run = _Run(attempt, gpus, clock, random_, folder, f"run-{number}", state)
        epochs = run.go(totals_j, states)
        summary = run.finish("finished" if last else random_.choice(("failed", "interrupted")))
        attempts.append(attempt)
        events = list(read_events(folder / f"run-{number}"))
        clock.advance(random_.uniform(10, 1000))
    return Outcome(summary, totals_j, events, attempts, gpus, epochs)


def _break(each: Gpu, random_: random.Random, now_s: float) -> bool:
    """Let a meter fail in one way, or not; return True if it may."""
    each.reset_s = each.misread_s = math.inf
    kind = random_.random()
    if each.is_gauge or each.wraps_at_j:
        return False
    if kind < 0.15:
        each.reset_s = now_s + random_.uniform(1, 8)
    elif kind < 0.3:
        each.misread_s, each.misread_j = now_s + random_.uniform(1, 8), random_.choice(MISREAD_J)
    return kind < 0.3


class _Run:
    """One attempt, of one to three processes."""

    def __init__(
        self,
        attempt: Attempt,
        gpus: dict[str, Gpu],
        clock: VirtualClock,
        random_: random.Random,
        folder: Path,
        name: str,
        state: dict[str, Any] | None,
    ) -> None:
        self._attempt, self._gpus, self._clock, self._random = attempt, gpus, clock, random_
        self._world = World(clock)
        size = random_.choice((1, 1, 2, 3))
        self._sessions: list[tuple[Session, list[str], float]] = []
        for rank in range(size):
            # Rank 0 reads all or some; the others read some of the same.
            names = random_.sample(sorted(gpus), random_.randint(1, len(gpus)))
            sampler = self._world if rank == 0 else World(clock)
            if rank:
                self._world.others.append(sampler)
            settings = Settings.check(
                output_dir=folder if rank == 0 else None,
                run_name=name if rank == 0 else None,
                carbon_intensity=attempt.g_per_kwh,
                pue=1.2,
                verbose=False,
                devices="gpu",
            )
            meters = tuple(gpus[each].meter(clock) for each in names)
            session = Session(
                settings,
                found=Found(meters),
                sampler=sampler,
                processes=ProcessGroup(rank, size) if size > 1 else ProcessGroup(),
            )
            self._sessions.append((session, names, clock.now_s))
        self._attempt.lead = self._sessions[0][1]
        if state is not None:
            self._lead.load_state_dict(state)

    @property
    def _lead(self) -> Session:
        return self._sessions[0][0]

    def go(self, totals_j: list[float], states: list[dict[str, Any]]) -> int:
        """Train some folds of some epochs, and return their number.

        Args:
            totals_j: gets every total that is shown.
            states: gets checkpoints.
        """
        epochs, own = 0, []
        self._world.advance(self._random.uniform(0.5, 3))
        for _ in range(self._random.choice((1, 1, 2))):
            length = self._random.randint(1, 3)
            self._lead.plan(Plan(epochs=length), from_now=True)
            for epoch in range(length):
                self._epoch(epoch, totals_j)
                epochs += 1
                own.append(self._lead.state_dict())
                # As a learning rate finder does, or a user after NaN.
                if self._random.random() < 0.15:
                    self._lead.load_state_dict(self._random.choice(own))
        states += own
        return epochs

    def finish(self, status: str) -> dict[str, Any]:
        """End all processes, one after another, and return the summary of the job."""
        records = []
        for session, names, began_s in reversed(self._sessions):
            for name in names:
                self._attempt.readers.setdefault(name, []).append((began_s, self._clock.now_s))
            if session is self._lead:
                session.merge(records)
            session.finish(status)  # type: ignore[arg-type]
            records.append(session.state())
        return self._lead.summary()

    def _epoch(self, epoch: int, totals_j: list[float]) -> None:
        with self._phase("train", epoch):
            for _ in range(STEPS):
                self._world.advance(self._random.uniform(0.1, 0.7))
                for session, *_ in self._sessions:
                    session.step()
                if self._random.random() < 0.3 and (snapshot := self._lead.step_snapshot()):
                    totals_j.append(snapshot.total.total_j)
        if self._random.random() < 0.5:
            with self._phase("validate"):
                self._world.advance(self._random.uniform(0.5, 2))
        self._exchange()
        closed, *_ = [session.end_epoch() for session, *_ in self._sessions]
        assert closed
        totals_j.append(closed.total.total_j)

    @contextmanager
    def _phase(self, phase: Phase, epoch: int | None = None) -> Iterator[None]:
        """Surround a phase that all processes are in."""
        begin_s = self._clock.now_s
        for session, *_ in self._sessions:
            session.begin(phase, epoch=epoch)
        yield
        for session, *_ in self._sessions:
            session.end(phase)
        self._attempt.phases_s.setdefault(phase, []).append((begin_s, self._clock.now_s))

    def _exchange(self) -> None:
        states: Sequence[Any] = [session.state() for session, *_ in self._sessions]
        if len(states) > 1:
            for session, *_ in self._sessions:
                session.merge(states)
