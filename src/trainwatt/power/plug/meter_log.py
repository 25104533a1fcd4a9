"""Readings of a wall meter over time, from a CSV file, and their comparison with those of a run."""

from __future__ import annotations

import csv
import logging
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trainwatt.errors import ArgumentError
from trainwatt.power.plug.node_meter import MOST_W
from trainwatt.units import J_PER_WH

_log = logging.getLogger("trainwatt")

ARGUMENT = "--wall-csv"

_FORMAT = "a CSV file with a column of times (ISO 8601, or seconds) and one of watts or Wh, such as 'time,watts'"
_TIME = re.compile(r"time|date|stamp|\bts\b|seconds", re.IGNORECASE)
# Numbers below are seconds from the begin of the run, those above are milliseconds.
_EPOCH_S, _EPOCH_MS = 1e8, 1e11
# Times after the year 5000 are none.
_LAST_S = 1e11
# A running count rises more often than it falls, by at least this factor; energy since the row before does both alike.
_RISES = 3

# The clocks of meter and machine may differ. A shift is believed if both curves then have the same shape.
_MOST_SHIFT_S = 120.0
_ALIKE, _BETTER = 0.8, 0.02
_POINTS = 2000
_SHORTEST_S = 60.0


class _Unit(NamedTuple):
    """Unit of a column, by its name: joules per unit of energy, or watts per unit of power."""

    name: re.Pattern[str]
    scale: float
    is_energy: bool


# The first that matches counts.
_UNITS = (
    _Unit(re.compile(r"kwh", re.IGNORECASE), 1000 * J_PER_WH, is_energy=True),
    _Unit(re.compile(r"joule|\(j\)|_j$", re.IGNORECASE), 1.0, is_energy=True),
    _Unit(re.compile(r"(?<!k)wh|energy", re.IGNORECASE), J_PER_WH, is_energy=True),
    _Unit(re.compile(r"kw(?!h)|kilowatt", re.IGNORECASE), 1000.0, is_energy=False),
    _Unit(re.compile(r"watt|power|\bw\b|_w$", re.IGNORECASE), 1.0, is_energy=False),
)


@dataclass(frozen=True, slots=True)
class EnergyLog:
    """Cumulative energy over time.

    Attributes:
        times_s: seconds since the Unix epoch, ascending.
        joules: joules since the first of them.
        resolution_j: smallest step of the meter; 0 if unknown.
    """

    times_s: Sequence[float]
    joules: Sequence[float]
    resolution_j: float = 0.0

    def between(self, from_s: float, to_s: float) -> float:
        """Return the joules between two times within the log; power is constant between its entries."""
        begin_j, end_j = np.interp([from_s, to_s], self.times_s, self.joules)
        return float(end_j - begin_j)


class Overlap(NamedTuple):
    """Energy of a meter and of a run in the same time.

    Attributes:
        meter_j: joules of the meter.
        run_j: joules of the run.
        seconds: length of the time.
        shift_s: seconds by which the clock of the meter is ahead.
    """

    meter_j: float
    run_j: float
    seconds: float
    shift_s: float


def overlap(meter: EnergyLog, run: EnergyLog, path: str | os.PathLike[str]) -> Overlap:
    """Compare a meter with a run in the time that both cover.

    Args:
        meter: log of the meter.
        run: energy of the run.
        path: file of the meter, for the error message.

    Raises:
        ArgumentError: if they share less than a minute and less than half of the run.
    """
    shift_s = _shift_s(meter, run)
    times_s = [time_s - shift_s for time_s in meter.times_s]
    from_s, to_s = max(times_s[0], run.times_s[0]), min(times_s[-1], run.times_s[-1])
    if to_s - from_s < min(_SHORTEST_S, (run.times_s[-1] - run.times_s[0]) / 2):
        told = " and ".join(f"{_text(log.times_s[0])} to {_text(log.times_s[-1])}" for log in (meter, run))
        raise ArgumentError(ARGUMENT, str(path), f"a log of the time of the run; the log and the run are from {told}")
    meter_j = EnergyLog(times_s, meter.joules).between(from_s, to_s)
    return Overlap(meter_j, run.between(from_s, to_s), to_s - from_s, shift_s)


def read_log(path: str | os.PathLike[str], began_s: float) -> EnergyLog:
    """Read the log of a wall meter.

    The names of the columns say what they hold: ``time``, ``date`` or ``timestamp``; ``watts``, ``power``, ``W`` or
    ``kW``; ``Wh``, ``kWh`` or ``energy`` (in Wh). If there are both power and energy, energy is used, since it misses
    nothing between two rows. Energy that hardly ever falls is the meter's running count, other energy is that since the
    row before. Rows that no machine can draw are left out, with a warning: power that is negative or above 200 kW, and
    a running count that falls or jumps, unless it goes on from there. Without names, the columns are time and watts.
    Times without a time zone are local; numbers are seconds or milliseconds since the Unix epoch, small ones are
    seconds since the begin of the run.

    Args:
        path: the file.
        began_s: begin of the run, seconds since the Unix epoch.

    Raises:
        ArgumentError: if the file cannot be read as such a log.
    """
    header, rows = _rows(path)
    time, value, unit = _columns(path, header)
    try:
        read = [(_seconds(row[time], began_s), _float(row[value])) for row in rows if len(row) > max(time, value)]
    except ValueError as error:
        raise ArgumentError(ARGUMENT, str(path), f"{_FORMAT}; {error}") from None
    known = sorted(
        (time_s, unit.scale * number) for time_s, number in read if not math.isnan(number) and 0 <= time_s < _LAST_S
    )
    log, used = _from_energy(known) if unit.is_energy else _from_power(known)
    if len(set(log.times_s)) < 2:
        raise ArgumentError(ARGUMENT, str(path), f"{_FORMAT}, with rows of at least two times")
    if used < len(known):
        _log.warning(
            "trainwatt: %s: %d of %d rows are not used: no machine can draw that", path, len(known) - used, len(known)
        )
    return log


def _rows(path: str | os.PathLike[str]) -> tuple[list[str], list[list[str]]]:
    """Return the names of the columns, empty if there are none, and the rows."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentError(ARGUMENT, str(path), f"{_FORMAT}; {error}") from None
    # Rows of binary files.
    text = text.replace("\0", "")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    delimiter = next((each for each in (";", "\t", ",") if lines and each in lines[0]), ",")
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    except csv.Error as error:
        raise ArgumentError(ARGUMENT, str(path), f"{_FORMAT}; {error}") from None
    is_header = bool(rows) and not any(map(_is_number, rows[0]))
    return (rows[0], rows[1:]) if is_header else ([], rows)


def _columns(path: str | os.PathLike[str], header: list[str]) -> tuple[int, int, _Unit]:
    """Return the columns of time and value, and the unit of the value."""
    if not header:
        return 0, 1, _UNITS[-1]
    time = next((number for number, name in enumerate(header) if _TIME.search(name)), None)
    for unit in _UNITS:
        number = next((n for n, name in enumerate(header) if n != time and unit.name.search(name)), None)
        if number is not None and time is not None:
            return time, number, unit
    raise ArgumentError(ARGUMENT, str(path), f"{_FORMAT}; its columns are {', '.join(header)}")


def _from_power(rows: Sequence[tuple[float, float]]) -> tuple[EnergyLog, int]:
    """Return the log of times and watts, and the number of rows that are used."""
    good = [(time_s, watts) for time_s, watts in rows if 0 <= watts <= MOST_W]
    steps = ((b_s - a_s) * (a_w + b_w) / 2 for (a_s, a_w), (b_s, b_w) in pairwise(good))
    return EnergyLog([time_s for time_s, _ in good], np.cumsum([0.0, *steps])[: len(good)].tolist()), len(good)


def _from_energy(rows: Sequence[tuple[float, float]]) -> tuple[EnergyLog, int]:
    """Return the log of times and joules, and the number of rows that are used."""
    steps = [after - before for (_, before), (_, after) in pairwise(rows)]
    if sum(step > 0 for step in steps) <= _RISES * sum(step < 0 for step in steps):
        return _from_energy_since(rows)
    return _from_running_count(rows)


def _from_energy_since(rows: Sequence[tuple[float, float]]) -> tuple[EnergyLog, int]:
    """Return the log of times and the joules since the row before."""
    times_s, joules, before_s = [rows[0][0]] if rows else [], [0.0], -math.inf
    for time_s, step_j in rows[1:]:
        before_s = max(before_s, times_s[-1])
        if 0 <= step_j <= MOST_W * (time_s - before_s):
            times_s.append(time_s)
            joules.append(joules[-1] + step_j)
    return EnergyLog(times_s, joules[: len(times_s)]), len(times_s)


def _from_running_count(rows: Sequence[tuple[float, float]]) -> tuple[EnergyLog, int]:
    """Return the log of times and a meter's running joules, whatever it showed between.

    A row that cannot follow the last one is left out. If the next one follows from it, the meter was reset; what was
    drawn between the last row before and the first one after is not known, and is taken at the mean power of the log.
    """
    times_s, joules, unknown_s = [rows[0][0]], [0.0], [0.0]
    last, refused = rows[0], None
    for row in rows[1:]:
        if _follows(last, row):
            step_j, gap_s = row[1] - last[1], 0.0
        elif refused is not None and _follows(refused, row):
            step_j, gap_s = row[1] - refused[1], refused[0] - last[0]
        else:
            refused = row
            continue
        last, refused = row, None
        times_s.append(row[0])
        joules.append(joules[-1] + step_j)
        unknown_s.append(unknown_s[-1] + gap_s)
    known_s = times_s[-1] - times_s[0] - unknown_s[-1]
    mean_w = joules[-1] / known_s if known_s > 0 else 0.0
    filled = [each + mean_w * gap_s for each, gap_s in zip(joules, unknown_s, strict=True)]
    smallest_j = min((after - before for before, after in pairwise(filled) if after > before), default=0.0)
    return EnergyLog(times_s, filled, smallest_j), len(times_s)


def _follows(before: tuple[float, float], after: tuple[float, float]) -> bool:
    return 0 <= after[1] - before[1] <= MOST_W * (after[0] - before[0])


def _shift_s(meter: EnergyLog, run: EnergyLog) -> float:
    """Return by how much the clock of the meter is ahead: the shift at which both powers correlate best, mostly 0."""
    from_s, to_s = run.times_s[0], run.times_s[-1]
    step_s = max(1.0, (to_s - from_s) / _POINTS)
    edges = np.arange(from_s, to_s + step_s / 2, step_s)
    if len(edges) < 10:
        return 0.0
    ours = np.diff(np.interp(edges, run.times_s, run.joules))
    best_s, best, at_zero = 0.0, -1.0, -1.0
    count = int(min(_MOST_SHIFT_S, (to_s - from_s) / 4) // step_s)
    for shift_s in sorted((number * step_s for number in range(-count, count + 1)), key=abs):
        theirs = np.diff(np.interp(edges + shift_s, meter.times_s, meter.joules, left=np.nan, right=np.nan))
        alike = _correlation(ours, theirs)
        at_zero = alike if shift_s == 0 else at_zero
        if alike > best + 1e-9:
            best_s, best = shift_s, alike
    return best_s if best >= _ALIKE and best >= at_zero + _BETTER else 0.0


def _correlation(ours: np.typing.NDArray[np.float64], theirs: np.typing.NDArray[np.float64]) -> float:
    """Return the correlation where both are known; -1 if they share too little, or one of them is constant."""
    known = np.isfinite(theirs)
    if known.sum() < len(ours) / 2 or not ours[known].std() > 0 or not theirs[known].std() > 0:
        return -1.0
    return float(np.corrcoef(ours[known], theirs[known])[0, 1])


def _seconds(text: str, began_s: float) -> float:
    if not _is_number(text):
        return datetime.fromisoformat(re.sub("Z$", "+00:00", text)).timestamp()
    number = _float(text)
    if number < _EPOCH_S:
        return began_s + number
    return number / 1000 if number > _EPOCH_MS else number


def _is_number(text: str) -> bool:
    try:
        _float(text)
    except ValueError:
        return False
    return True


def _float(text: str) -> float:
    """Parse a number with a comma or a point; an empty cell is a gap."""
    return float(text.replace(",", ".")) if text else math.nan


def _text(time_s: float) -> str:
    return datetime.fromtimestamp(time_s).astimezone().strftime("%Y-%m-%d %H:%M:%S%z")
