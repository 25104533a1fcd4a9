"""Other boot id for a process, so that one machine looks like several hosts."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_SOURCE = Path(__file__).with_name("boot.c")


def preloaded(folder: Path) -> dict[str, str]:
    """Compile the library that overrides the boot id of a process.

    Args:
        folder: folder of the compiled library.

    Returns:
        Environment variables for the process. Its boot id changes only with those of `identity`.
    """
    library = folder / "libstandin-boot.so"
    command = ["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(library), str(_SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    return {"LD_PRELOAD": os.pathsep.join(filter(None, (str(library), os.environ.get("LD_PRELOAD"))))}


def identity(folder: Path, boot_id: str) -> dict[str, str]:
    """Return the environment variables that give a process, started with those of `preloaded`, a boot id."""
    file = folder / f"{boot_id}.boot"
    file.write_text(boot_id + "\n", encoding="ascii")
    return {"STANDIN_BOOT": str(file)}
