"""Records of measured processes that get a signal at random moments, on fast and slow disks.

SIGKILL, SIGTERM, Ctrl-C and SIGHUP come during the training or while the end of the record is being written, some of
them twice. The table shows how many records are whole and say what happened, and how far they are behind, in seconds.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import groupby

from standins.killed_runs import Kill, kills

# A record is written every second.
_MOST_S = 1.0


def table(found: list[Kill]) -> Iterator[str]:
    """Yield the lines of the table in the benchmarks' README."""
    yield '| signal | during | tried | whole, right status | "running" | behind, median | most | ahead, most |'
    yield "|---|---|---|---|---|---|---|---|"
    ordered = sorted(found, key=_group)
    for (signal, moment), group in groupby(ordered, key=_group):
        yield f"| {signal} | {moment} | {' | '.join(_figures(list(group)))} |"
    yield f"| all | | {' | '.join(_figures(found))} |"
    held = sum(kill.is_held(_MOST_S) for kill in found)
    yield f"\ntried {len(found)}, held {held}: whole, right status, at most {_MOST_S:.0f} s behind"


def _group(kill: Kill) -> tuple[str, str]:
    return kill.tried.number.name, kill.tried.moment


def _figures(found: list[Kill]) -> list[str]:
    behind_s = sorted(kill.behind_s for kill in found)
    right, running = (sum(each) for each in zip(*_verdicts(found), strict=True))
    times_s = (behind_s[len(behind_s) // 2], behind_s[-1], max(0.0, -behind_s[0]))
    return [str(len(found)), str(right), str(running), *(f"{each:.2f} s" for each in times_s)]


def _verdicts(found: list[Kill]) -> Iterator[tuple[bool, bool]]:
    """Yield if a record is whole and says what happened, and if it says that it is still running."""
    return ((kill.has_right_status, kill.status == "running") for kill in found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    results = kills(arguments.kills, arguments.seed)
    print("\n".join(table(results)))
    for kill in results:
        if not kill.is_held(_MOST_S):
            print(kill)
