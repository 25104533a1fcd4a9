"""Pseudo-terminal in which tests run programs."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def typed(script: str, folder: Path, columns: int = 150, **variables: str) -> str:
    """Return the output of a Python program in a terminal, control sequences included; skip the test on Windows."""
    fcntl, pty, termios = map(pytest.importorskip, ("fcntl", "pty", "termios"))
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
        # Linux reports the closed other end as an error
        except OSError:
            pass
    os.close(main)
    text = b"".join(parts).decode()
    assert process.returncode == 0, text
    return text
