"""A terminal to run programs in."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

ROOT = Path(__file__).parents[2]


def typed(script: str, folder: Path, columns: int = 150, **variables: str) -> str:
    """What a Python program prints to a terminal, with the terminal's own sequences."""
    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environ = os.environ | {"TERM": "xterm-256color", "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"} | variables
    command = [sys.executable, "-W", "ignore", "-c", script]
    with subprocess.Popen(command, cwd=folder, env=environ, stdout=terminal, stderr=terminal) as process:
        os.close(terminal)
        parts = []
        try:
            while part := os.read(main, 65536):
                parts.append(part)
        except OSError:  # Linux's way to say that the other side is closed
            pass
    os.close(main)
    text = b"".join(parts).decode()
    assert process.returncode == 0, text
    return text
