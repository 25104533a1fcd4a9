"""Faults that happen to a training, at every moment and in every framework: tried and held.

Held means: losses and weights are bit for bit those of a training without trainwatt, nothing is raised that the fault
does not raise itself, the summary has all its keys, status and energy are right, the run folder holds the same, and no
more than two warnings are logged.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.faults.matrix.programs import programs, tried_and_held

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Run the matrix and print its table."""
    total: Counter[str] = Counter()
    print("| framework | faults | tried | held |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        for framework, program in programs(Path(name), at_all_moments=True).items():
            folder = Path(name) / f"of-{framework}"
            folder.mkdir()
            subprocess.run(
                [sys.executable, "-m", program.module, str(folder), *program.arguments],
                env={**os.environ, **program.variables, "TF_CPP_MIN_LOG_LEVEL": "3"},
                cwd=ROOT,
                check=True,
            )
            results = json.loads((folder / "results.json").read_text())
            tried, held = tried_and_held(results)
            total.update(tried=tried, held=held)
            print(f"| {framework} | {len(results)} | {tried} | {held} |")
            for fault, by_moment in results.items():
                for moment, missed in by_moment.items():
                    if missed:
                        print(f"{fault}, {moment}: {'; '.join(missed)}", file=sys.stderr)
    print(f"| all | | {total['tried']} | {total['held']} |")


if __name__ == "__main__":
    main()
