"""A host of another boot identity, for processes that are started with it: two hosts of one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_SOURCE = Path(__file__).with_name("boot.c")


def preloaded(folder: Path) -> dict[str, str]:
    """Variables for a process that may take a host's identity later, by `identity`; compiles a library.

    Args:
        folder: where the library is put.
    """
    library = folder / "libstandin-boot.so"
    command = ["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(library), str(_SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    return {"LD_PRELOAD": os.pathsep.join(filter(None, (str(library), os.environ.get("LD_PRELOAD"))))}


def identity(folder: Path, boot_id: str) -> dict[str, str]:
    """Variables with which a process that was started with `preloaded` is on the host of this identity."""
    file = folder / f"{boot_id}.boot"
    file.write_text(boot_id + "\n", encoding="ascii")
    return {"STANDIN_BOOT": str(file)}
