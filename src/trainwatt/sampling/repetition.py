"""Repetition of a load: a training repeats itself, so its past tells what it draws before the next reading."""

from __future__ import annotations

from collections.abc import Sequence

# Cells of the recent past that are searched.
RECENT = 128
# Fewer cells do not show a repetition.
_LEAST = 12
# The load must have repeated itself for half a period at least, beyond the first.
_TURNS = 1.5
# Repeating a load must be better by this factor than holding its last power.
_BETTER = 0.5
# A longer period must be better by this factor than a shorter one.
_NO_WORSE = 0.9
# A counter's cells are as long as its update interval. Where they are not, the readings are too far apart.
_EVEN = 0.05
# The last cells must repeat themselves too: the load may have changed.
_LAST = 3
_COMPARED = 64


def period_s(times_s: Sequence[float], joules: Sequence[float]) -> float | None:
    """Return the period after which the recent load repeats itself; None if holding its last power is as good.

    The power in each cell is compared with the power some cells earlier, for every distance. This is the average
    magnitude difference function of Ross et al., IEEE Trans. Acoust., Speech, Signal Process. 22, 1974.

    Args:
        times_s: Times of the updates of a counter, in seconds.
        joules: Its cumulative joules at these times.
    """
    if len(times_s) <= _LEAST:
        return None
    import numpy as np  # noqa: PLC0415

    known_s, known_j = np.asarray(times_s[-RECENT - 1 :]), np.asarray(joules[-RECENT - 1 :])
    apart_s = np.diff(known_s)
    cell_s = float(np.median(apart_s))
    cells = int((known_s[-1] - known_s[0]) / cell_s + _EVEN)
    if cells < _LEAST or np.percentile(np.abs(apart_s / cell_s - np.round(apart_s / cell_s)), 90) > _EVEN:
        return None
    ends_s = known_s[-1] - cell_s * np.arange(cells, -1, -1)
    watts = np.diff(np.interp(ends_s, known_s, known_j)) / cell_s
    held_w = float(np.abs(np.diff(watts))[-_COMPARED:].mean())
    best_w, best = _BETTER * held_w / _NO_WORSE, 0
    for distance in range(2, int(cells / _TURNS)):
        apart_w = np.abs(watts[distance:] - watts[:-distance])[-_COMPARED:]
        mean_w = float(apart_w.mean())
        if mean_w < _NO_WORSE * best_w and apart_w[-_LAST:].mean() <= held_w:
            best_w, best = mean_w, distance
    return best * cell_s if best else None
