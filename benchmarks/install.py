"""What a tracker adds to an environment that has Lightning already: packages, and megabytes on the disk.

Reads the metadata of what is installed here; nothing is downloaded.

usage: install.py
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TRACKERS = ("trainwatt", "codecarbon", "carbontracker", "zeus")


def closure(package: str) -> set[str]:
    """A package and all that it needs, by name; raises PackageNotFoundError where it is not installed."""
    found: set[str] = set()
    waiting = [canonicalize_name(package)]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            requirements = distribution(name).requires or []
        except PackageNotFoundError:
            if not found:
                raise
            continue  # needed on other systems only
        found.add(name)
        needed = map(Requirement, requirements)
        waiting += [
            canonicalize_name(each.name) for each in needed if not each.marker or each.marker.evaluate({"extra": ""})
        ]
    return found


def megabytes(package: str) -> float:
    """Size of a package's files, without compiled Python."""
    paths = [Path(str(file.locate())) for file in distribution(package).files or [] if file.suffix != ".pyc"]
    return sum(path.stat().st_size for path in paths if path.exists()) / 1e6


def main() -> None:
    """Print the table."""
    present = closure("lightning")
    print(f"| tracker | packages added | MB |\n|{'---|' * 3}")
    for tracker in TRACKERS:
        try:
            added = closure(tracker) - present
        except PackageNotFoundError:
            print(f"| {tracker} | not installed | |")
        else:
            print(f"| {tracker} | {len(added)} | {sum(map(megabytes, added)):.1f} |")


if __name__ == "__main__":
    main()
