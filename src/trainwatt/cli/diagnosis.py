"""What can be measured on this machine, by which source, at which watts now; and why not the rest."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from trainwatt.formatting import table
from trainwatt.power.device import Device, Missing, Scope
from trainwatt.power.discovery import discover
from trainwatt.records.summary_view import how_text
from trainwatt.sampling.sampler import Sampler


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Attributes:
        watts: mean power of each device that can be read, while it was examined.
        missing: the sources that cannot be read.
    """

    watts: Mapping[Device, float]
    missing: tuple[Missing, ...]

    def text(self) -> str:
        """A table, and a paragraph for each source that is missing."""
        blocks = [table(list(self._rows()))] if self.watts else ["Nothing can be measured or estimated here."]
        blocks += [_missing_text(missing) for missing in self.missing]
        return "\n\n".join(blocks)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able form."""
        devices = [{**asdict(device), "watts": round(watts, 3)} for device, watts in self.watts.items()]
        return {"devices": devices, "missing": [asdict(missing) for missing in self.missing]}

    def _rows(self) -> Iterator[Sequence[str]]:
        yield "device", "now", "how"
        for device, watts in self.watts.items():
            yield f"{device.kind.upper()} {device.name}", f"{watts:.1f} W", how_text(device)


def examine(seconds: float, scope: Scope = "machine") -> Diagnosis:
    """Read every source of this machine for so many seconds.

    Args:
        seconds: how long.
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
    remedy = f"\n  To mend it: {missing.remedy}" if missing.remedy else ""
    return f"{missing.kind.upper()}: no {missing.source}. {missing.why}{remedy}"
