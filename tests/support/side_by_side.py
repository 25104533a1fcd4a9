"""Programs that run in processes of their own, because each imports a framework; tests read their results.

Two run at a time, or one per worker if pytest runs in parallel.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
CORES = 2


class Program(NamedTuple):
    """Module of the tests that runs in a process of its own and writes ``results.json`` into its folder.

    Attributes:
        module: dotted name of the module.
        arguments: command-line arguments after the folder.
        variables: additional environment variables.
    """

    module: str
    arguments: Sequence[str]
    variables: Mapping[str, str]


def wanted(request: pytest.FixtureRequest, parameter: str) -> list[str]:
    """Return the values of a parameter in the selected tests, in order."""
    values = [item.callspec.params.get(parameter) for item in request.session.items if hasattr(item, "callspec")]
    return list(dict.fromkeys(str(value) for value in values if value is not None))


@contextmanager
def side_by_side(programs: Mapping[str, Program], folders: pytest.TempPathFactory) -> Iterator[dict[str, Future[Any]]]:
    """Start the programs in order; yield a future of each program's results."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    with ThreadPoolExecutor(max(1, CORES // workers)) as pool:
        yield {
            name: pool.submit(_results, program, folders.mktemp(program.module.rpartition(".")[2]))
            for name, program in programs.items()
        }


def _results(program: Program, folder: Path) -> Any:
    run = subprocess.run(
        [sys.executable, "-m", program.module, str(folder), *program.arguments],
        env={**os.environ, **program.variables, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads((folder / "results.json").read_text())
