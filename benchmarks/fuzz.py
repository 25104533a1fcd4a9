"""Damaged run folders and checkpoints: tried, tracebacks, inputs changed.

Every command that reads run folders gets folders of which one file was mutated, and every kind of checkpoint is resumed
from after a mutation. Both last figures must be 0.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from standins import fuzzing


def table(rows: dict[str, tuple[fuzzing.Outcome, float]]) -> Iterator[str]:
    """Yield the lines of a table with a row for each kind of input."""
    yield "| inputs | tried | tracebacks | inputs changed | seconds |"
    yield "|---|---|---|---|---|"
    for name, (outcome, seconds) in rows.items():
        figures = (outcome.tried, len(outcome.failures), len(outcome.changed), f"{seconds:.0f}")
        yield f"| {name} | {' | '.join(map(str, figures))} |"


def main() -> int:
    """Run both kinds, print the table, and return 1 if an input raised or was changed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", type=int, default=2600, help="damaged run folders (default: %(default)s)")
    parser.add_argument("--checkpoints", type=int, default=400, help="damaged checkpoints (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1000)
    arguments = parser.parse_args()
    rows = {}
    for name, fuzz, tries in (
        ("run folders", fuzzing.fuzz_commands, arguments.commands),
        ("checkpoints", fuzzing.fuzz_checkpoints, arguments.checkpoints),
    ):
        with tempfile.TemporaryDirectory() as folder:
            began_s = time.perf_counter()
            outcome = fuzz(Path(folder), tries, arguments.seed)
            rows[name] = (outcome, time.perf_counter() - began_s)
        for each in (*outcome.failures, *outcome.changed):
            print(each, file=sys.stderr)
    print("\n".join(table(rows)))
    return int(any(outcome.failures or outcome.changed for outcome, _ in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
