"""Plug factors that were measured with ``trainwatt calibrate``, kept per host beside the site settings."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainwatt.files.output_file import replace
from trainwatt.files.strict_json import dumps
from trainwatt.site import config
from trainwatt.site.factor import Factor

FILE = "trainwatt-calibration.json"

_SCHEMA = 1
_log = logging.getLogger("trainwatt")


@dataclass(frozen=True, slots=True)
class Calibration:
    """Plug factor of a host.

    Attributes:
        factor: energy at the plug over the energy read, with date and meter as its source.
        sources: sources of the energy read, by kind of device; the factor holds for runs that read the same ones.
        run: run that it was measured with; empty if it was measured live.
    """

    factor: Factor
    sources: Mapping[str, Sequence[str]]
    run: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Calibration:
        """Restore a calibration from :meth:`to_dict`.

        Raises:
            KeyError, TypeError, ValueError: if the state is not that of a calibration.
        """
        factor = Factor(**state["factor"])
        if not 0 < factor.low <= factor.value <= factor.high:
            raise ValueError(f"{factor.low!r}, {factor.value!r} and {factor.high!r} are not a factor with its range")
        return cls(factor, {kind: list(sources) for kind, sources in state["sources"].items()}, state["run"])


def load(host: str, environ: Mapping[str, str] = os.environ, root: Path = Path("/")) -> Calibration | None:
    """Return the calibration of a host; None if there is none.

    The user's own calibrations go before those of the machine. A file that cannot be read is skipped with a warning.

    Args:
        host: identity of the host, see :func:`trainwatt.power.host.boot_id.host_id`.
        environ: the environment variables.
        root: folder that contains ``etc``.
    """
    found = (_known(folder / FILE, host) for folder in config.folders(environ, root))
    return next((calibration for calibration in found if calibration), None)


def _known(file: Path, host: str) -> Calibration | None:
    try:
        hosts = _hosts(file)
        return Calibration.from_dict(hosts[host]) if host in hosts else None
    except (OSError, KeyError, TypeError, ValueError) as error:
        _log.warning("trainwatt: %s is skipped, as it cannot be read: %r", file, error)
        return None


def save(host: str, calibration: Calibration, environ: Mapping[str, str] = os.environ, root: Path = Path("/")) -> Path:
    """Store the calibration of a host, in place of an earlier one.

    Args:
        host: identity of the host.
        calibration: its calibration.
        environ: the environment variables.
        root: folder that contains ``etc``.

    Returns:
        The file.

    Raises:
        OSError: if the file cannot be written.
        ValueError: if the existing file is not one of calibrations; it is left as it is.
    """
    folder = config.folders(environ, root)[0]
    file = folder / FILE
    hosts = {**_hosts(file), host: calibration.to_dict()}
    folder.mkdir(parents=True, exist_ok=True)
    # Replaced as a whole, so that a run that starts meanwhile reads one or the other.
    replace(file, (dumps({"schema": _SCHEMA, "hosts": hosts}, indent=1) + "\n").encode())
    return file


def _hosts(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    state = json.loads(text)
    hosts = state.get("hosts") if isinstance(state, dict) else None
    if not isinstance(hosts, dict):
        raise ValueError(f"{file}: it does not hold calibrations of trainwatt")  # noqa: TRY004
    return hosts
