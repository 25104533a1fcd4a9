"""``trainwatt doctor``: list the power sources of this machine, and why others are missing."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from trainwatt.cli.shared import command, show
from trainwatt.formatting import table
from trainwatt.power.device import Device, Missing, Scope
from trainwatt.power.discovery import discover
from trainwatt.records.summary_view import how_text
from trainwatt.sampling.sampler import Sampler

if TYPE_CHECKING:
    from trainwatt.cli.shared import Commands


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(
        commands,
        "doctor",
        run,
        "list what can be measured on this machine, with its power now, and how to fix what cannot",
        "trainwatt doctor --json",
    )
    parser.add_argument("--seconds", type=_seconds, default=1.5, help="how long to measure (default: %(default)s)")
    parser.add_argument(
        "--scope",
        choices=("machine", "process"),
        default="machine",
        help="measure the whole machine, or this process's share of it (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Print the diagnosis.

    Returns:
        The exit code: 1 if no device can be measured or estimated.
    """
    diagnosis = examine(options.seconds, options.scope)
    show(options, diagnosis.text(), diagnosis.to_dict())
    return 0 if diagnosis.watts else 1


@dataclass(frozen=True)
class Diagnosis:
    """Power sources of a machine.

    Attributes:
        watts: mean power of each readable device during the examination, in watts.
        missing: sources that cannot be read.
    """

    watts: Mapping[Device, float]
    missing: tuple[Missing, ...]

    def text(self) -> str:
        """Format the devices as a table, with a paragraph for each missing source."""
        blocks = [table(list(self._rows()))] if self.watts else ["No device can be measured or estimated here."]
        blocks += [_missing_text(missing) for missing in self.missing]
        return "\n\n".join(blocks)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serializable form."""
        devices = [{**asdict(device), "watts": round(watts, 3)} for device, watts in self.watts.items()]
        return {"devices": devices, "missing": [asdict(missing) for missing in self.missing]}

    def _rows(self) -> Iterator[Sequence[str]]:
        yield "device", "now", "how"
        for device, watts in self.watts.items():
            yield f"{device.kind.upper()} {device.name}", f"{watts:.1f} W", how_text(device)


def examine(seconds: float, scope: Scope = "machine") -> Diagnosis:
    """Read every power source of this machine.

    Args:
        seconds: how long to measure.
        scope: the whole machine, or this process's share of it.
    """
    found = discover(scope=scope)
    sampler = Sampler()
    subscription = sampler.subscribe(found.meters, interval_s=min(0.5, seconds / 2))
    time.sleep(seconds)
    now_s = sampler.clock.monotonic()
    subscription.wait_until_settled(now_s, timeout_s=0.5)
    after = subscription.joules_at(now_s)
    before = subscription.joules_at(now_s - seconds / 2)
    subscription.close()
    watts = {device: (after[device.id] - before[device.id]) / (seconds / 2) for device in subscription.devices}
    return Diagnosis(watts, found.missing)


def _missing_text(missing: Missing) -> str:
    remedy = f"\n  To fix it: {missing.remedy}" if missing.remedy else ""
    return f"{missing.kind.upper()}: no {missing.source}. {missing.why}{remedy}"


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text}: expected a number of seconds above 0 and up to 3600")
    return seconds
