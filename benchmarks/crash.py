"""Energy that a kill loses: many measured processes, killed by SIGKILL at random moments.

The table shows how far each run folder is behind the kill, in seconds.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from standins.killed_runs import Kill, kills


def table(found: list[Kill]) -> Iterator[str]:
    """Yield the lines of the table in the benchmarks' README."""
    behind_s = sorted(kill.behind_s for kill in found if kill.behind_s is not None)
    yield "| kills | readable folders | behind the kill, median | most | ahead, most |"
    yield "|---|---|---|---|---|"
    figures = (f"{behind_s[len(behind_s) // 2]:.2f} s", f"{behind_s[-1]:.2f} s", f"{max(0.0, -behind_s[0]):.2f} s")
    yield f"| {len(found)} | {len(behind_s)} | {' | '.join(figures)} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print("\n".join(table(kills(arguments.kills, arguments.seed))))
