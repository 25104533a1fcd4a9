"""Programs of the fault matrix, one for each framework."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from standins import nvml, slow_disk
from tests.faults.matrix.trainings import FRAMEWORKS, Results
from tests.support.side_by_side import Program


def programs(folder: Path, *, at_all_moments: bool) -> dict[str, Program]:
    """Return the programs of the frameworks that are installed.

    Args:
        folder: for the simulated driver and the disk's controls.
        at_all_moments: False: each fault comes at one moment of each framework, in each at another.
    """
    driver, disk = nvml.build(folder / "nvml"), slow_disk.build(folder)
    return {
        name: Program(
            "tests.faults.matrix.driver",
            [name, str(driver), str(disk), *([] if at_all_moments else [str(shift)])],
            {**slow_disk.SlowDisk(disk, folder, folder / name).environment, "KERAS_BACKEND": "torch"},
        )
        for shift, name in enumerate(FRAMEWORKS)
        if name == "loop" or find_spec(name)
    }


def tried_and_held(results: Results) -> tuple[int, int]:
    """Count the trainings with a fault, and those in which everything held."""
    trained = [missed for by_moment in results.values() for missed in by_moment.values() if missed is not None]
    return len(trained), sum(not missed for missed in trained)
