"""Simulated procfs and cgroup files of a Linux machine, in a temporary folder."""

from __future__ import annotations

import os
from pathlib import Path

GENOA_VM = {"vendor_id": "AuthenticAMD", "cpu family": "25", "model": "17", "model name": "AMD EPYC", "stepping": "1"}
ROME_SERVER = {
    "vendor_id": "AuthenticAMD",
    "cpu family": "23",
    "model": "49",
    "model name": "AMD EPYC 7742 64-Core Processor",
    "stepping": "0",
}


class LinuxHost:
    """Linux machine with a given load on its CPUs.

    Args:
        folder: an empty folder; `proc_root` and `sys_root` are created in it.
        cpus: number of logical CPUs.
        sockets: number of sockets; logical CPUs are assigned to them in turn.
        facts: further lines of each block of ``/proc/cpuinfo``.
        virtual: True if the CPU flags include that of a hypervisor.
    """

    def __init__(
        self,
        folder: Path,
        *,
        cpus: int = 4,
        sockets: int = 1,
        facts: dict[str, str] | None = None,
        virtual: bool = False,
    ) -> None:
        self.proc_root = folder / "proc"
        self.sys_root = folder / "sys"
        self._cgroups = self.sys_root / "fs/cgroup"
        self._busy_s = [0.0] * cpus
        self.write("sys/kernel/random/boot_id", "0a1b2c3d-0000-4000-8000-000000000001\n")
        self.write("self/cgroup", "0::/\n")
        lines = {**(ROME_SERVER if facts is None else facts), "flags": "fpu hypervisor" if virtual else "fpu"}
        self.write("cpuinfo", "\n".join(_block(cpu, cpu % sockets, lines) for cpu in range(cpus)))
        self.allow(f"0-{cpus - 1}")
        self._write_stat()

    def write(self, name: str, text: str) -> None:
        """Write a file of procfs."""
        _write(self.proc_root / name, text)

    def write_cgroup(self, name: str, text: str) -> None:
        """Write a file below ``/sys/fs/cgroup``."""
        _write(self._cgroups / name, text)

    def allow(self, cpus: str) -> None:
        """Set the CPUs on which this process may run, as a job scheduler limits them."""
        self.write("self/task/1/status", f"Name:\tpython\nCpus_allowed_list:\t{cpus}\n")

    def work(self, busy_s: float, *, cpu: int = 0) -> None:
        """Add busy seconds to a CPU."""
        self._busy_s[cpu] += busy_s
        self._write_stat()

    def _write_stat(self) -> None:
        rows = [f"cpu  {_stat(sum(self._busy_s))}"]
        rows += [f"cpu{cpu} {_stat(busy_s)}" for cpu, busy_s in enumerate(self._busy_s)]
        self.write("stat", "\n".join([*rows, "intr 0", "ctxt 1"]).ljust(4096, "\n"))


def _stat(busy_s: float) -> str:
    """Return user, nice, system, idle, iowait, irq, softirq, steal, guest and guest_nice, in ticks.

    Iowait and steal grow with the load but are not part of it; guest is included in user.
    """
    busy = round(busy_s * os.sysconf("SC_CLK_TCK"))
    user, system = busy - busy // 4, busy // 4
    return f"{user} 0 {system} 5000 {3 * busy} 0 0 {2 * busy} {user // 2} 0"


def _block(cpu: int, socket: int, lines: dict[str, str]) -> str:
    rows = {"processor": str(cpu), "physical id": str(socket), **lines}
    return "".join(f"{key}\t: {value}\n" for key, value in rows.items())


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="ascii")
