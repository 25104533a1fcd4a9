"""Disk that is slow, hangs or fails below a folder, for a process of its own."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

_SOURCE = Path(__file__).with_name("slow_disk.c")

# All that changes a file system: open for writing, write, sync, rename, mkdir, unlink.
WRITES = "owsrmu"
# Also stat and open for reading, as on a network share whose server is gone.
ALL = WRITES + "ti"


def build(folder: Path) -> Path:
    """Compile the library that interposes the calls.

    Args:
        folder: folder of the compiled library.
    """
    library = folder / "libstandin-slow-disk.so"
    command = ["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(library), str(_SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    return library


@dataclass(frozen=True, slots=True)
class SlowDisk:
    """Control of the disk of a process that was started with :attr:`environment`; healthy at first.

    Each method replaces what an earlier one has set, at once and also for calls that hang.

    Attributes:
        library: from :func:`build`.
        folder: the disk: calls on paths in it, and on the folder itself, are acted on. It need not exist.
        control: file through which the process is told, outside ``folder``.
    """

    library: Path
    folder: Path
    control: Path

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables for the process."""
        preload = os.pathsep.join(filter(None, (str(self.library), os.environ.get("LD_PRELOAD"))))
        return {"LD_PRELOAD": preload, "STANDIN_DISK": str(self.control)}

    def delay(self, seconds: float, calls: str = WRITES) -> None:
        """Let each call take so much longer.

        Args:
            seconds: the delay of each call.
            calls: letters of the calls, see ``slow_disk.c``.
        """
        self._set(f"{self.folder}\t{calls}\tdelay\t{seconds}\n")

    def hang(self, calls: str = WRITES) -> None:
        """Let calls hang until another method is called; meanwhile their threads take no signal."""
        self._set(f"{self.folder}\t{calls}\thang\t0\n")

    def fail(self, errno: int, calls: str = WRITES) -> None:
        """Let calls fail, such as with ``errno.ENOSPC`` or ``errno.EROFS``."""
        self._set(f"{self.folder}\t{calls}\tfail\t{errno}\n")

    def heal(self) -> None:
        """Let all calls pass."""
        self._set("")

    def hits(self) -> list[tuple[str, str]]:
        """Return the calls that were acted on so far: letter and path, oldest first."""
        try:
            lines = self.control.with_name(self.control.name + ".hits").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        return [(line[0], line[2:]) for line in lines if line]

    def wait_for_hits(self, count: int = 1, patience_s: float = 30.0) -> None:
        """Wait until so many calls were acted on.

        Raises:
            TimeoutError: if they were not.
        """
        until_s = time.monotonic() + patience_s
        while len(self.hits()) < count:
            if time.monotonic() > until_s:
                raise TimeoutError(f"{len(self.hits())} of {count} calls on {self.folder}")
            time.sleep(0.005)

    def _set(self, text: str) -> None:
        new = self.control.with_name(self.control.name + ".set")
        new.write_text(text, encoding="utf-8")
        new.replace(self.control)
